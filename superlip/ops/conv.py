"""Convolutions and dense layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from superlip.element import ElementType
from superlip.graph import ir
from superlip.rtl.isa import DEPTHWISE_KERNEL

from .arithmetic import convolve, is_rising, requantize
from .layout import Part, Placement
from .spec import OpSpec, Tensor, Window, register

if TYPE_CHECKING:
    from .lowering import Lowering
    from .operation import Op

__all__ = ["ConvSpec"]


@register(ir.Conv)
class ConvSpec(OpSpec[ir.Conv]):
    """A convolution: MATMUL makes the sums, VECTOR rescales them."""

    is_conv = True

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
        y = requantize(acc, node.scale.reshape(1, -1, 1, 1), zero_point, node.low, node.high, result.element)
        return y if node.table is None else result.element.look_up(node.table, y)

    @property
    def window(self) -> Window:
        node = self.node
        kh, kw = node.weights.shape[2:]
        return Window((kh, kw), node.strides, node.pads, node.dilations)

    @property
    def weight_bytes(self) -> int:
        return self.node.weights.nbytes

    def macs(self, result: ir.Value) -> int:
        return math.prod(result.shape) * math.prod(self.node.weights.shape[1:])

    def lower(self, lowering: Lowering) -> None:
        lowering.convolution(self.node)

    def can_write(self, offset: int, tn: int) -> bool:
        return True

    @property
    def takes_table(self) -> bool:
        return self.node.table is None

    def keeps_order(self, element: ElementType) -> bool:
        """Requantization, clip and a rising table keep the order of sums that don't wrap."""
        node = self.node
        return is_rising(node.table) and bool((node.scale > 0).all()) and self._never_wraps(element)

    def _never_wraps(self, element: ElementType) -> bool:
        """Whether no sum leaves int32, before its bias is added or behind.

        Additions modulo 2**32 may come in any order; the maximum of sums and the addition of a bias only without
        wrapping.
        """
        weights = self.node.weights.reshape(len(self.node.weights), -1).astype(np.int64)
        bias = self.node.bias.astype(np.int64)
        low, high = element.bounds
        lowest = np.minimum(low * weights, high * weights).sum(axis=1)
        highest = np.maximum(low * weights, high * weights).sum(axis=1)
        int32 = np.iinfo(np.int32)
        return bool(
            np.minimum(lowest, lowest + bias).min() >= int32.min
            and np.maximum(highest, highest + bias).max() <= int32.max
        )

    @property
    def groups(self) -> int:
        return self.node.groups

    @property
    def folds(self) -> bool:
        node = self.node
        return node.weights.shape[3] > 1 and node.strides[1] == node.dilations[1] == node.groups == 1

    def unfolded(self) -> ir.Node | None:
        node = self.node
        if node.groups > 1 and node.weights.shape[1] == 1:
            return None
        weights = np.ascontiguousarray(node.weights.reshape(len(node.weights), -1, 1, 1))
        return replace(node, weights=weights, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1))

    def several(self, places: Sequence[tuple[int, int]], steps: tuple[int, int]) -> ir.Node | None:
        node = self.node
        if node.groups > 1 or node.dilations != (1, 1):
            return None
        filters, channels, kh, kw = node.weights.shape
        (sy, sx), count = node.strides, len(places)
        starts = [(y * sy, x * sx) for y, x in places]
        size = kh + max(y for y, _ in starts), kw + max(x for _, x in starts)
        weights = np.zeros((count, filters, channels, *size), node.weights.dtype)
        for number, (y, x) in enumerate(starts):
            weights[number, ..., y : y + kh, x : x + kw] = node.weights
        return replace(
            node, weights=weights.reshape(-1, channels, *size), bias=np.tile(node.bias, count),
            scale=np.tile(node.scale, count), strides=(sy * steps[0], sx * steps[1]),
        )  # fmt: skip

    def depthwise(self) -> ir.Node | None:
        node = self.node
        filters, channels, *kernel = node.weights.shape
        plain = channels == 1 and node.groups == filters and node.dilations == (1, 1)
        if not plain or kernel != [DEPTHWISE_KERNEL] * 2 or not {*node.strides} <= {1, 2}:
            return None
        return ir.Depthwise(**{field.name: getattr(node, field.name) for field in fields(node)})

    def beside(self, count: int) -> ir.Node | None:
        node = self.node
        weights, bias, scale = (np.concatenate([x] * count) for x in (node.weights, node.bias, node.scale))
        _, left, _, right = node.pads
        return replace(
            node, weights=weights, bias=bias, scale=scale, groups=count * node.groups, pads=(0, left, 0, right)
        )

    def padded(self, pads: tuple[int, int, int, int]) -> ir.Node:
        return replace(self.node, pads=pads)

    def of_pairs(self, source: str, pairs: int, cols: int) -> ir.Node | None:
        node = self.node
        if node.groups > 1 or node.strides[1] != 2 or node.dilations[1] != 1:
            return None
        filters, channels, kh, kw = node.weights.shape
        top, left, bottom, _ = node.pads
        columns = np.arange(kw) - left  # of the window of the first result
        first, end = int(columns[0]) // 2, int(columns[-1]) // 2 + 1
        weights = np.zeros((filters, 2, channels, kh, end - first), node.weights.dtype)
        for k, column in enumerate(columns):
            weights[:, column % 2, :, :, column // 2 - first] = node.weights[..., k]
        return replace(
            node, inputs=(source,), weights=weights.reshape(filters, -1, kh, end - first), strides=(node.strides[0], 1),
            pads=(top, -first, bottom, cols - 1 + end - pairs),
        )  # fmt: skip

    def resting(self, channels: slice, result: ir.Value) -> ir.Node | None:
        node = self.node
        weights, bias = node.weights.copy(), node.bias.copy()
        weights[channels], bias[channels] = 0, 0
        still = replace(node, weights=weights, bias=bias)
        zero_point = result.zero_point if node.table is None else node.table_zero_point
        rest = np.array([min(max(zero_point, node.low), node.high)], result.element.dtype)
        rest = rest if node.table is None else result.element.look_up(node.table, rest)
        return still if rest[0] == result.zero_point else None

    def channels_read(self, source: Placement, first: int, end: int) -> Placement:
        """All channels of the groups."""
        filters, channels = len(self.node.weights) // self.node.groups, self.node.weights.shape[1]
        first, end = first // filters, (end - 1) // filters + 1
        return source.part(first * channels, (end - first) * channels)

    def needs(self, op: Op, part: Part) -> list[Part]:
        (place,) = op.inputs
        read = self.channels_read(place, *op.output.held(part.group0, part.group1))
        return [Part(read.first_group, read.end_group, *op.rows_of(place, part.row0, part.row1))]

    def words_read(self, op: Op) -> int:
        """Sums: those of a window, where a pooling is fused."""
        return math.prod(op.pooling)

    @property
    def loads(self) -> dict[str, int]:
        return {"load_params": 1, "load_table": int(self.node.table is not None)}
