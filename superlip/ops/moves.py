"""Operators that move elements and compute nothing."""

from collections.abc import Sequence

import numpy as np

from superlip.graph import ir

from .arithmetic import lookup
from .spec import OpSpec, Tensor, register

__all__ = [
    "ConcatSpec", "DepthToSpaceSpec", "PadSpec", "ReshapeSpec", "ResizeSpec", "ShuffleSpec", "SliceSpec",
    "SpaceToDepthSpec",
]  # fmt: skip


@register(ir.Concat)
class ConcatSpec(OpSpec[ir.Concat]):
    """A concatenation is no operation: its inputs are written where it lies."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        tables = self.node.tables
        parts = [x if table is None else lookup(table, x) for x, table in zip(inputs, tables, strict=True)]
        return np.concatenate(parts, axis=1)


@register(ir.Slice)
class SliceSpec(OpSpec[ir.Slice]):
    """A slice of channels is a place in its input."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0][:, self.node.start : self.node.stop]


@register(ir.Reshape)
class ReshapeSpec(OpSpec[ir.Reshape]):
    """A reshape that keeps (C, H, W) is nothing; others are the host's."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0].reshape(-1, *result.shape)


@register(ir.Pad)
class PadSpec(OpSpec[ir.Pad]):
    """Padding is an identity convolution with pads."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        top, left, bottom, right = self.node.pads
        edges = (0, 0), (0, 0), (top, bottom), (left, right)
        return np.pad(inputs[0], edges, constant_values=self.node.value)


@register(ir.Resize)
class ResizeSpec(OpSpec[ir.Resize]):
    """Nearest neighbours in a regular pattern are identity convolutions with strides."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0][:, :, self.node.rows][:, :, :, self.node.cols]


@register(ir.DepthToSpace)
class DepthToSpaceSpec(OpSpec[ir.DepthToSpace]):
    """One identity convolution for each pixel of a block."""

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

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        x, b = inputs[0], self.node.block
        batch, c, h, w = x.shape
        x = x.reshape(batch, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
        return x.reshape(batch, *result.shape)


@register(ir.Shuffle)
class ShuffleSpec(OpSpec[ir.Shuffle]):
    """A permutation of channels is an identity convolution."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return inputs[0][:, self.node.order]
