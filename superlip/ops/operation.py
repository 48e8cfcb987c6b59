"""An operation of the node: a node of the graph at work on words."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superlip.element import ElementType
from superlip.graph import ir

from .layout import Part, Placement
from .spec import OpSpec, Window, spec_of
from .vector import VectorSpec

__all__ = ["Op"]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation of the node.

    It computes a grid of output pixels, (r, c) in ``grid``, and writes each to row ``origin[0] + r * step[0]``, column
    ``origin[1] + c * step[1]`` of the output's storage.

    Parameters
    ----------
    name : str
    node : ir.Conv, ir.Pool, ir.Add, ir.Mul or ir.Table
    inputs, output
        Placements of the operands.
    zero_points : tuple of int
        Of the inputs and of the output (last).
    grid : (rows, cols)
    step, origin : (y, x)
    pool : ir.Pool or None
        A maximum pooling that is fused into a convolution; ``grid`` is then the pooling's.
    sums_size : (rows, cols) or None
        The convolution's own grid, where a pooling is fused.
    macs : int
        Multiply-accumulates of the model's operation (0 for what the model doesn't count as such).
    fold : int
        Kernel columns that one pass of a convolution does over the last channel group of its input, whose words hold
        their channels as many times.
    copies : int
        How often the words of the output's last channel group hold its channels, ``tn // copies`` lanes apart, for
        convolutions that fold.
    pixels : int
        Results of a convolution that it makes at once, in lane groups, for VECTOR to write the largest of: channel
        ``p * channels + c`` of the node is channel c of pixel p (`OpSpec.several`). A power of two.
    """

    name: str
    node: ir.Node
    inputs: tuple[Placement, ...]
    output: Placement
    zero_points: tuple[int, ...]
    grid: tuple[int, int]
    step: tuple[int, int] = (1, 1)
    origin: tuple[int, int] = (0, 0)
    pool: ir.Pool | None = None
    sums_size: tuple[int, int] | None = None
    macs: int = 0
    fold: int = 1
    copies: int = 1
    pixels: int = 1

    @cached_property
    def spec(self) -> OpSpec[Any]:
        """What superlip knows of the node's operator."""
        return spec_of(self.node)

    @property
    def conv(self) -> ir.Conv:
        """The node, of an operation that ``is_conv``."""
        assert isinstance(self.node, ir.Conv)
        return self.node

    @property
    def kernel_passes(self) -> int:
        """Passes of a convolution over all its n-tiles; of a grouped one, over those of a group."""
        conv, source = self.conv, self.inputs[0]
        kh, kw = conv.weights.shape[2:]
        n_tiles = source.end_group - source.first_group
        if conv.groups > 1:  # a tile reads only the n-tiles of its groups
            n_tiles = max(1, -(-conv.weights.shape[1] // source.storage.tn))
        return kh * ((n_tiles - 1) * kw + -(-kw // self.fold))

    def lanes(self, group: int) -> NDArray[np.bool_]:
        """Lanes of a group's words that hold channels, where copies leave some that don't: ndarray bool, (tn,)."""
        place, tn = self.output, self.output.storage.tn
        held = tn if self.copies == 1 or group < place.end_group - 1 else (place.channels - 1) % tn + 1
        return np.arange(tn) % (tn // self.copies if held < tn else tn) < held

    def channel(self, group: int, lane: int) -> int:
        """Channel of the output that a lane of a group's words holds, or is a result of."""
        place, groups = self.output, self._lane_groups(group)
        if groups > 1:
            first = self._tile(group)[0]
            lane = first + (lane - first) % (place.storage.tn // groups)
        return place.storage.held(group)[0] + lane - place.offset

    def filters(self, group: int) -> NDArray[np.int_]:
        """Of a convolution: channel of the node whose sums each lane has for a group's words; -1 for none. Shape (tn,).

        Lane groups that hold channels several times, or several pixels of them, follow each other ``tn`` / groups lanes
        apart, and begin again behind the last lane.
        """
        tn, groups = self.output.storage.tn, self._lane_groups(group)
        first, _, channel0, channel1 = self._tile(group)
        filters = np.full(tn, -1)
        for number in range(groups):
            pixel = number * self.pixels // groups
            lanes = first + number * (tn // groups) + np.arange(channel1 - channel0)
            filters[lanes % tn] = pixel * (len(self.conv.weights) // self.pixels) + np.arange(channel0, channel1)
        return filters

    def is_copied(self, group: int) -> bool:
        """Whether a group's words hold its channels several times."""
        return self.copies > 1 and group == self.output.end_group - 1

    def _lane_groups(self, group: int) -> int:
        """Lane groups that the array's results for a group's words are in: at least as many copies as pixels."""
        return max(self.copies if self.is_copied(group) else 1, self.pixels)

    def _tile(self, group: int) -> tuple[int, int, int, int]:
        """(first lane, end lane, first channel, end channel) of the output in a group's words."""
        return next((a, b, c, d) for at, a, b, c, d in self.output.tiles() if at == group)

    @property
    def is_conv(self) -> bool:
        """Whether MATMUL runs it, with weights."""
        return self.spec.is_conv

    @property
    def element(self) -> ElementType:
        """What the lanes of the output's words hold."""
        return self.output.storage.element

    @property
    def is_plain(self) -> bool:
        """Whether every pixel of the output's storage rows is written, so that rows can be divided."""
        return self.step == (1, 1) and self.origin == (0, 0)

    @property
    def window(self) -> Window:
        """Pixels of the input that a result of the node is made of."""
        return self.spec.window

    @property
    def pooling(self) -> tuple[int, int]:
        """Kernel (y, x) of the fused pooling: (1, 1) without one."""
        return self.pool.kernel if self.pool is not None else (1, 1)

    @property
    def vector(self) -> VectorSpec[Any]:
        """``spec``, of an operation that is no convolution."""
        assert isinstance(self.spec, VectorSpec)
        return self.spec

    def sums(self, row0: int, row1: int, col0: int = 0, col1: int | None = None) -> tuple[int, int, int, int]:
        """Rows and columns (a, b, c, d) of the convolution's sums that a block of the grid is made of."""
        col1 = self.grid[1] if col1 is None else col1
        if self.pool is None or self.sums_size is None:
            return row0, row1, col0, col1
        (ky, kx), (sy, sx), (top, left, *_) = self.pool.kernel, self.pool.strides, self.pool.pads
        height, width = self.sums_size
        return (
            max(0, row0 * sy - top), min(height, (row1 - 1) * sy - top + ky),
            max(0, col0 * sx - left), min(width, (col1 - 1) * sx - left + kx),
        )  # fmt: skip

    def input_rows(self, row0: int, row1: int) -> tuple[int, int]:
        """Rows of the input (clipped to it) that grid rows [row0, row1) need."""
        (kh, _), (sy, _), (top, *_), (dy, _) = self.window
        row0, row1, *_ = self.sums(row0, row1)
        low = row0 * sy - top
        high = (row1 - 1) * sy - top + (kh - 1) * dy + 1
        height = max(place.storage.height for place in self.inputs)
        return max(0, min(low, height)), max(0, min(high, height))

    def needs(self, part: Part) -> list[Part]:
        """What each input must provide for a part of the output."""
        return [Part(0, 0, 0, 0) for _ in self.inputs] if part.empty else self.spec.needs(self, part)

    def rows_of(self, place: Placement, row0: int, row1: int) -> tuple[int, int]:
        """Rows of one of the inputs that grid rows [row0, row1) need; one that has a single row is the same for all."""
        rows = self.input_rows(row0, row1)
        return rows if place.storage.height > 1 or rows[1] <= 1 else (0, 1)
