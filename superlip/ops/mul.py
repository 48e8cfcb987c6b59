"""Product of two tensors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from superlip.graph import ir
from superlip.rtl.isa import VectorOp

from .arithmetic import requantize
from .gate import GatedSpec
from .operation import Op
from .params import Words, lane_params
from .spec import Tensor, register

__all__ = ["MulSpec"]


@register(ir.Mul)
class MulSpec(GatedSpec[ir.Mul]):
    """A product, rescaled as a convolution's sum is; of two tensors of one size, or of one and a gate (C, 1, 1)."""

    vector_op = VectorOp.MUL

    def swapped(self) -> ir.Mul:
        return replace(self.node, inputs=self.node.inputs[::-1])

    def params(self, op: Op, tn: int) -> list[Words]:
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, self.node.scale, np.float32))]

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        a, b = (x.astype(np.int32) - s.zero_point for x, s in zip(inputs, sources, strict=True))
        return requantize(a * b, node.scale, result.zero_point, node.low, node.high, result.element)
