"""Product of two tensors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from superlip.graph import ir
from superlip.rtl.isa import VectorOp

from .arithmetic import requantize
from .layout import View
from .lowering import Lowering, LoweringError
from .operation import Op
from .params import Words, lane_params
from .spec import Tensor, register
from .vector import VectorSpec, VectorStep

__all__ = ["MulSpec"]


@register(ir.Mul)
class MulSpec(VectorSpec[ir.Mul]):
    """A product, rescaled as a convolution's sum is; of two tensors of one size, or of one and a gate (C, 1, 1)."""

    vector_op = VectorOp.MUL

    def lower(self, lowering: Lowering) -> None:
        """A gate, with one number a channel, becomes the first operand: VECTOR can read that without moving on."""
        first, second = (lowering.graph.values[name].shape for name in self.node.inputs)
        if first == second:
            super().lower(lowering)
        elif second == (first[0], 1, 1):
            lowering.elementwise(replace(self.node, inputs=self.node.inputs[::-1]))
        else:
            raise LoweringError(
                f"{self.node.name}: a product of tensors of shape {first} and {second} does not run on the accelerator"
            )

    def body(self, op: Op, step: VectorStep, views: Sequence[View]) -> dict[str, int]:
        body = super().body(op, step, views)
        if op.inputs[0].size != op.inputs[1].size:
            body |= {"y0": 0, "x0": 0, "stride_y": 0, "stride_x": 0}
        return body

    def params(self, op: Op, tn: int) -> list[Words]:
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, self.node.scale, np.float32))]

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        a, b = (x.astype(np.int32) - s.zero_point for x, s in zip(inputs, sources, strict=True))
        return requantize(a * b, node.scale, result.zero_point, node.low, node.high, result.element)
