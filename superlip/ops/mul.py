"""Product of two tensors."""

from collections.abc import Sequence

import numpy as np

from superlip.graph import ir

from .arithmetic import requantize
from .spec import OpSpec, Tensor, register

__all__ = ["MulSpec"]


@register(ir.Mul)
class MulSpec(OpSpec[ir.Mul]):
    """A product, rescaled as a convolution's sum is."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        a, b = (x.astype(np.int32) - s.zero_point for x, s in zip(inputs, sources, strict=True))
        return requantize(a * b, node.scale, result.zero_point, node.low, node.high)
