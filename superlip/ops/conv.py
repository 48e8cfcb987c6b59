"""Convolutions and dense layers."""

import math
from collections.abc import Sequence

from superlip.graph import ir

from .arithmetic import convolve, lookup, requantize
from .spec import OpSpec, Tensor, Window, register

__all__ = ["ConvSpec"]


@register(ir.Conv)
class ConvSpec(OpSpec[ir.Conv]):
    """A convolution: MATMUL makes the sums, VECTOR rescales them."""

    is_conv = True

    @property
    def window(self) -> Window:
        node = self.node
        kh, kw = node.weights.shape[2:]
        return Window((kh, kw), node.strides, node.pads, node.dilations)

    @property
    def weight_bytes(self) -> int:
        return self.node.weights.size

    def work(self, result: ir.Value) -> int:
        return math.prod(result.shape) * math.prod(self.node.weights.shape[1:])

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node = self.node
        acc = convolve(
            inputs[0],
            node.weights,
            node.bias,
            strides=node.strides,
            pads=node.pads,
            dilations=node.dilations,
            groups=node.groups,
            pad_value=sources[0].zero_point,
        )
        zero_point = result.zero_point if node.table is None else node.table_zero_point
        y = requantize(acc, node.scale.reshape(1, -1, 1, 1), zero_point, node.low, node.high)
        return y if node.table is None else lookup(node.table, y)
