"""Product of two tensors."""

from collections.abc import Sequence

import numpy as np

from superlip.graph import ir
from superlip.rtl.isa import VectorOp

from .arithmetic import requantize
from .lowering import Lowering, LoweringError
from .operation import Op
from .params import Words, lane_params
from .spec import Tensor, register
from .vector import VectorSpec

__all__ = ["MulSpec"]


@register(ir.Mul)
class MulSpec(VectorSpec[ir.Mul]):
    """A product, rescaled as a convolution's sum is."""

    vector_op = VectorOp.MUL

    def lower(self, lowering: Lowering) -> None:
        if len({lowering.graph.values[name].shape for name in self.node.inputs}) != 1:
            raise LoweringError(
                f"{self.node.name}: a product of tensors of different shapes does not run on the accelerator"
            )
        super().lower(lowering)

    def params(self, op: Op, tn: int) -> list[Words]:
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, self.node.scale, np.float32))]

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        a, b = (x.astype(np.int32) - s.zero_point for x, s in zip(inputs, sources, strict=True))
        return requantize(a * b, node.scale, result.zero_point, node.low, node.high, result.element)
