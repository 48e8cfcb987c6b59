"""Operators that move elements and compute nothing."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import reshape_model
from superlip.graph.onnx.views import LARGEST_STEP, copies

from .identity import identity, identity_conv
from .lowering import Lowering, LoweringError
from .operation import Op
from .spec import OpSpec, Tensor, register

__all__ = [
    "ConcatSpec", "DepthToSpaceSpec", "HalvesSpec", "PadSpec", "PartSpec", "ReshapeSpec", "ResizeSpec", "ShuffleSpec",
    "SliceSpec", "SpaceToDepthSpec", "rows_of",
]  # fmt: skip


@register(ir.Concat)
class ConcatSpec(OpSpec[ir.Concat]):
    """A concatenation is no operation: its inputs are written where it lies, or moved there."""

    @property
    def joins(self) -> list[tuple[str, ir.Elements | None]]:
        return list(zip(self.node.inputs, self.node.tables, strict=True))

    def joining(self, inputs: tuple[str, ...], tables: tuple[ir.Elements | None, ...]) -> ir.Node:
        return replace(self.node, inputs=inputs, tables=tables)

    def can_write(self, offset: int, tn: int) -> bool:
        return True

    def lower(self, lowering: Lowering) -> None:
        place, first = lowering.place(self.node.output), 0
        for number, (name, table) in enumerate(self.joins):
            source = lowering.place(name)
            part = place.part(first, source.channels)
            first += source.channels
            if source != part:
                lowering.add(identity(f"{self.node.name}.{number}", source, part, table=table))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        parts = [
            x if table is None else source.element.look_up(table, x)
            for x, source, table in zip(inputs, sources, self.node.tables, strict=True)
        ]
        return np.concatenate(parts, axis=1)


@register(ir.Slice)
class SliceSpec(OpSpec[ir.Slice]):
    """A slice of channels is a place in its input."""

    @property
    def sliced(self) -> tuple[str, int, int]:
        return self.node.inputs[0], self.node.start, self.node.stop

    def lower(self, lowering: Lowering) -> None:
        node = self.node
        lowering.put(node.output, lowering.place(node.inputs[0]).part(node.start, node.stop - node.start))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0][:, self.node.start : self.node.stop]


@register(ir.Part)
class PartSpec(OpSpec[ir.Part]):
    """One of several inputs is no operation: the host writes it where it lies."""

    def lower(self, lowering: Lowering) -> None:
        lowering.place(self.node.output)

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        first, size = self.node.first, math.prod(result.shape)
        return inputs[0].reshape(len(inputs[0]), -1)[:, first : first + size].reshape(-1, *result.shape)


@register(ir.Halves)
class HalvesSpec(OpSpec[ir.Halves]):
    """The image in pieces is no operation: the host writes it so."""

    @property
    def pieces(self) -> tuple[tuple[int, ...], int]:
        return self.node.first, self.node.rows

    def lower(self, lowering: Lowering) -> None:
        lowering.put(self.node.output, lowering.place(self.node.inputs[0]))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node, image = self.node, inputs[0]
        return np.concatenate([rows_of(image, first, node.rows, node.value) for first in node.first], axis=1)


def rows_of(image: Tensor, first: int, rows: int, value: int) -> Tensor:
    """Rows [first, first + rows) of an image, shape (B, C, H, W), with rows of ``value`` outside of it."""
    inside = image[:, :, max(0, first) : max(0, first + rows)]
    above = min(rows, max(0, -first))
    below = rows - above - inside.shape[2]
    return np.pad(inside, ((0, 0), (0, 0), (above, below), (0, 0)), constant_values=value)


@register(ir.Reshape)
class ReshapeSpec(OpSpec[ir.Reshape]):
    """A reshape that keeps (C, H, W) is nothing; others are the host's."""

    def on_host(self, values: dict[str, ir.Value]) -> ir.Host | None:
        node = self.node
        source, result = (values[name] for name in (*node.inputs, node.output))
        if source.shape == result.shape and not source.is_float:
            return None
        return ir.Host(
            name=node.name, inputs=node.inputs, output=node.output, onnx_names=node.onnx_names,
            model=reshape_model(source.shape, result.shape, np.float32 if source.is_float else source.element.dtype),
            reason="a reshape that mixes channels and pixels",
        )  # fmt: skip

    def lower(self, lowering: Lowering) -> None:
        lowering.put(self.node.output, lowering.place(self.node.inputs[0]))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0].reshape(-1, *result.shape)


@register(ir.Pad)
class PadSpec(OpSpec[ir.Pad]):
    """Padding is an identity convolution with pads."""

    def lower(self, lowering: Lowering) -> None:
        node = self.node
        source, dest = lowering.place(node.inputs[0]), lowering.place(node.output)
        lowering.add(identity(node.name, source, dest, pads=node.pads, pad_value=node.value))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        top, left, bottom, right = self.node.pads
        edges = (0, 0), (0, 0), (top, bottom), (left, right)
        return np.pad(inputs[0], edges, constant_values=self.node.value)


@register(ir.Resize)
class ResizeSpec(OpSpec[ir.Resize]):
    """Rows and columns in a regular pattern, or in a few runs, are identity convolutions with strides."""

    spreads_pixels = True

    takes_table = True

    def can_write(self, offset: int, tn: int) -> bool:
        return True

    def lower(self, lowering: Lowering) -> None:
        node, table = self.node, lowering.table_of(self.node.output)
        rows, cols = copies(node.rows), copies(node.cols)
        if rows is None or cols is None:
            raise LoweringError(f"{node.name}: rows or columns in no regular pattern do not run on the accelerator")
        source, dest = lowering.place(node.inputs[0]), lowering.place(node.output)
        single = len(rows) == len(cols) == 1
        for y, row in enumerate(rows):
            for x, col in enumerate(cols):
                lowering.add(
                    identity(
                        node.name if single else f"{node.name}.{y}.{x}", source, dest, table=table,
                        grid=(row.number, col.number),
                        step=(row.spacing, col.spacing), origin=(row.origin, col.origin),
                        strides=(row.step, col.step), pads=(-row.first, -col.first, 0, 0),
                    )
                )  # fmt: skip

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0][:, :, self.node.rows][:, :, :, self.node.cols]


@register(ir.DepthToSpace)
class DepthToSpaceSpec(OpSpec[ir.DepthToSpace]):
    """One identity convolution for each pixel of a block."""

    spreads_pixels = True

    def lower(self, lowering: Lowering) -> None:
        node, b = self.node, self.node.block
        if b > LARGEST_STEP:
            raise LoweringError(f"{node.name}: blocks of more than {LARGEST_STEP} pixels do not run on the accelerator")
        source, dest = lowering.place(node.inputs[0]), lowering.place(node.output)
        index = np.arange(dest.channels)
        for y in range(b):
            for x in range(b):
                order = (y * b + x) * dest.channels + index if node.mode == "DCR" else index * b * b + y * b + x
                name = f"{node.name}.{y}.{x}"
                lowering.add(identity(name, source, dest, order=order, grid=source.size, step=(b, b), origin=(y, x)))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        x, b = inputs[0], self.node.block
        batch, c, h, w = x.shape
        if self.node.mode == "DCR":
            x = x.reshape(batch, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            x = x.reshape(batch, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, *result.shape)


@register(ir.SpaceToDepth)
class SpaceToDepthSpec(OpSpec[ir.SpaceToDepth]):
    """One convolution whose kernel is a block."""

    def lower(self, lowering: Lowering) -> None:
        node, b = self.node, self.node.block
        source, dest = lowering.place(node.inputs[0]), lowering.place(node.output)
        channels = np.arange(source.channels)
        weights = np.zeros((b, b, len(channels), len(channels), b, b), dest.storage.element.dtype)
        for y in range(b):
            for x in range(b):
                weights[y, x, channels, channels, y, x] = 1
        conv = identity_conv(node.name, dest, weights.reshape(-1, len(channels), b, b), strides=(b, b))
        lowering.add(Op(node.name, conv, (source,), dest, (0, 0), dest.size))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        x, b = inputs[0], self.node.block
        batch, c, h, w = x.shape
        x = x.reshape(batch, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
        return x.reshape(batch, *result.shape)


@register(ir.Shuffle)
class ShuffleSpec(OpSpec[ir.Shuffle]):
    """A permutation of channels is an identity convolution."""

    def lower(self, lowering: Lowering) -> None:
        source, dest = lowering.place(self.node.inputs[0]), lowering.place(self.node.output)
        lowering.add(identity(self.node.name, source, dest, order=self.node.order))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0][:, self.node.order]
