"""Maximum and average pooling."""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise

import numpy as np

from superlip.element import ElementType
from superlip.graph import ir
from superlip.rtl.isa import VectorOp

from .arithmetic import requantize
from .layout import Part
from .operation import Op
from .params import Words, lane_params
from .spec import Tensor, Window, register
from .vector import VectorSpec, VectorStep

__all__ = ["PoolSpec"]


@register(ir.Pool)
class PoolSpec(VectorSpec[ir.Pool]):
    """A pooling: VECTOR goes through the pixels of each window."""

    works_in_place = False

    @property
    def vector_op(self) -> VectorOp:
        return VectorOp.MAX if self.node.kind == "max" else VectorOp.SUM

    @property
    def window(self) -> Window:
        return Window(self.node.kernel, self.node.strides, self.node.pads)

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node, x = self.node, inputs[0]
        if node.kind == "max":
            return np.clip(reduce(np.maximum, self._pixels(x, sources[0].element.low)), node.low, node.high)
        assert node.scale is not None
        total = reduce(np.add, self._pixels(x.astype(np.int32) - sources[0].zero_point, 0))
        if node.count_include_pad:
            count = np.full((1, 1, *total.shape[2:]), node.kernel[0] * node.kernel[1])
        else:
            count = reduce(np.add, self._pixels(np.ones((1, 1, *x.shape[2:]), np.int32), 0))
        return requantize(total, node.scale[count], result.zero_point, node.low, node.high, result.element)

    def can_write(self, offset: int, tn: int) -> bool:
        """VECTOR pools all lanes of a word."""
        return offset % tn == 0

    def pool_of_sums(self, element: ElementType) -> ir.Pool | None:
        is_plain = self.node.kind == "max" and self.node.kernel != (1, 1) and self.clip(element) == element.bounds
        return self.node if is_plain else None

    def params(self, op: Op, tn: int) -> list[Words]:
        """Of an average: the scales, by the number of pixels that a window counts."""
        node = self.node
        if node.scale is None:
            return []
        scales = [np.full(tn, node.scale[count], np.float32) for count in self._counts(op)]
        return [lane_params(np.zeros(tn, np.int32), scale) for scale in scales]

    def steps(self, op: Op, part: Part, row0: int, row1: int) -> list[VectorStep]:
        if self.node.scale is None:
            return super().steps(op, part, row0, row1)
        counts = self._counts(op)
        return [
            VectorStep(group, r0, r1, c0, c1, counts.index(count))
            for group in range(part.group0, part.group1)
            for r0, r1, c0, c1, count in self._blocks(op, row0, row1)
        ]

    def _counts(self, op: Op) -> list[int]:
        """Numbers of pixels that the windows count."""
        return sorted({count for *_, count in self._blocks(op, 0, op.grid[0])})

    def _blocks(self, op: Op, row0: int, row1: int) -> list[tuple[int, int, int, int, int]]:
        """Blocks of results whose windows count the same number of pixels: (row0, row1, col0, col1, count)."""
        (kh, kw), (sy, sx), (top, left, *_), _ = self.window
        source, cols = op.inputs[0].storage, op.grid[1]
        if self.node.count_include_pad:
            return [(row0, row1, 0, cols, kh * kw)]
        return [
            (r0, r1, c0, c1, rows_counted * cols_counted)
            for r0, r1, rows_counted in _runs(row0, row1, sy, top, kh, source.height)
            for c0, c1, cols_counted in _runs(0, cols, sx, left, kw, source.width)
        ]

    def _pixels(self, x: Tensor, fill: int) -> Iterator[Tensor]:
        """For each position in the window, that pixel of every window; padding holds ``fill``."""
        top, left, bottom, right = self.node.pads
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
        (kh, kw), (sy, sx) = self.node.kernel, self.node.strides
        rows, cols = (x.shape[2] - kh) // sy + 1, (x.shape[3] - kw) // sx + 1
        for ky in range(kh):
            for kx in range(kw):
                yield x[:, :, ky : ky + sy * (rows - 1) + 1 : sy, kx : kx + sx * (cols - 1) + 1 : sx]


def _runs(first: int, end: int, stride: int, pad: int, kernel: int, size: int) -> list[tuple[int, int, int]]:
    """Runs (a, b, count) of the rows, or columns, [first, end) whose windows have ``count`` of them in the input."""
    low = np.arange(first, end) * stride - pad
    count = np.minimum(low + kernel, size) - np.maximum(low, 0)
    edges = [0, *(np.flatnonzero(np.diff(count)) + 1), len(count)]
    return [(first + int(a), first + int(b), int(count[a])) for a, b in pairwise(edges) if a < b]
