"""Addition of two tensors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from superlip.graph import ir
from superlip.rtl.isa import VectorOp

from .arithmetic import round_half_even_shift
from .gate import GatedSpec
from .layout import View
from .operation import Op
from .params import Words, add_params
from .spec import Tensor, register
from .vector import VectorStep

__all__ = ["AddSpec"]


@register(ir.Add)
class AddSpec(GatedSpec[ir.Add]):
    """An addition: exact integers and one rounding."""

    vector_op = VectorOp.ADD
    constants = ("factor a", "<i4"), ("factor b", "<i4")

    def swapped(self) -> ir.Add:
        node = self.node
        return replace(node, inputs=node.inputs[::-1], mult_a=node.mult_b, mult_b=node.mult_a)

    def params(self, op: Op, tn: int) -> list[Words]:
        return [add_params(self.node.mult_a, self.node.mult_b, tn)]

    def body(self, op: Op, step: VectorStep, views: Sequence[View]) -> dict[str, int]:
        return super().body(op, step, views) | {"shift": self.node.shift}

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        a, b = (x.astype(np.int64) - s.zero_point for x, s in zip(inputs, sources, strict=True))
        total = round_half_even_shift(a * node.mult_a + b * node.mult_b, node.shift) + result.zero_point
        return np.clip(total, node.low, node.high).astype(result.element.dtype)
