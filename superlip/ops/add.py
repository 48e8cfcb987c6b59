"""Addition of two tensors."""

from collections.abc import Sequence

import numpy as np

from superlip.graph import ir

from .arithmetic import round_half_even_shift
from .spec import OpSpec, Tensor, register

__all__ = ["AddSpec"]


@register(ir.Add)
class AddSpec(OpSpec[ir.Add]):
    """An addition: exact integers and one rounding."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        a, b = (x.astype(np.int64) - s.zero_point for x, s in zip(inputs, sources, strict=True))
        total = round_half_even_shift(a * node.mult_a + b * node.mult_b, node.shift) + result.zero_point
        return np.clip(total, node.low, node.high).astype(np.int8)
