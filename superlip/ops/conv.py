"""Convolutions and dense layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from superlip.graph import ir

from .arithmetic import convolve, lookup, requantize
from .layout import Part
from .spec import OpSpec, Tensor, Window, register

if TYPE_CHECKING:
    from .operation import Op

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
    def loads(self) -> dict[str, int]:
        return {"load_params": 1, "load_table": int(self.node.table is not None)}

    def words_read(self, op: Op) -> int:
        """Sums: those of a window, where a pooling is fused."""
        return math.prod(op.pooling)

    def needs(self, op: Op, part: Part) -> list[Part]:
        """All channels, whatever the groups."""
        return [Part(place.first_group, place.end_group, *op.rows_of(place, part)) for place in op.inputs]

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
