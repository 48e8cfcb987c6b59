"""Cuts a part of a layer in chunks that fit the accumulators, and in strips whose input fits a stage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from superlip.ops.layout import Part
from superlip.ops.operation import Op
from superlip.rtl.config import NodeConfig

from .allocate import DoesNotFit
from .partition import divide
from .timing import block_cycles, pass_pixels

__all__ = ["Chunk", "Strip", "chunks_of", "strips_of", "vector_chunks"]

VECTOR_TASK = 2048
"""Cycles of a task of VECTOR's own, at most: what a convolution's results may have to wait for."""

BUFFER_SHARE = 16
"""Results of a chunk take at most that part of the activation buffer."""


@dataclass(frozen=True)
class Chunk:
    """Rows [row0, row1) and columns [col0, col1) of an operation's grid."""

    row0: int
    row1: int
    col0: int
    col1: int

    @property
    def results(self) -> int:
        """Pixels of the grid."""
        return (self.row1 - self.row0) * (self.col1 - self.col0)

    def vector_cycles(self, op: Op) -> int:
        """Cycles that VECTOR takes for it."""
        return block_cycles(op, self.row1 - self.row0, self.col1 - self.col0)

    def sums(self, op: Op) -> int:
        """Accumulators it takes."""
        return pass_pixels(op, self.row0, self.row1, self.col0, self.col1)

    def pixels(self, op: Op, fold: int) -> int:
        """Pixels that a pass over it reads: those ahead of each row, which a fold needs, included."""
        return pass_pixels(op, self.row0, self.row1, self.col0, self.col1, fold)


@dataclass(frozen=True)
class Strip:
    """Chunks whose input is staged together: grid rows [row0, row1)."""

    row0: int
    row1: int
    chunks: tuple[Chunk, ...]


def _even(first: int, end: int, most: int) -> list[tuple[int, int]]:
    """As few ranges of at most ``most`` as there can be, as even as can be."""
    return [(first + a, first + b) for a, b in divide(end - first, -(-(end - first) // most))]


def chunks_of(op: Op, part: Part, accumulators: int) -> list[Chunk]:
    """Chunks of a convolution's part, row by row; whole rows where one fits ``accumulators``.

    Raises
    ------
    DoesNotFit
        If the window of a fused pooling doesn't.
    """
    cols = op.grid[1]
    (py, px), (sy, sx) = op.pooling, op.pool.strides if op.pool is not None else (1, 1)
    width = op.sums_size[1] if op.sums_size is not None else cols
    if py * px > accumulators:
        raise DoesNotFit(f"a pooling over {py} x {px} sums at once needs more than {accumulators} accumulators")
    if py * width > accumulators:
        ranges = _even(0, cols, (accumulators // py - px) // sx + 1)
        return [Chunk(row, row + 1, a, b) for row in range(part.row0, part.row1) for a, b in ranges]
    return [Chunk(a, b, 0, cols) for a, b in _even(part.row0, part.row1, (accumulators // width - py) // sy + 1)]


def vector_chunks(op: Op, part: Part, config: NodeConfig) -> list[Chunk]:
    """Chunks of an operation of VECTOR's own: whole rows, as many as are done in VECTOR_TASK cycles."""
    cols = op.grid[1]
    one, two = block_cycles(op, 1, cols), block_cycles(op, 2, cols)
    rows = min(op.vector.most_rows(config), 1 + max(0, VECTOR_TASK - one) // (two - one))
    if two < 2 * one:  # each chunk costs more than its results: as few as there can be, also where they go to DRAM
        most = max(config.acc_words // 2, config.act_words // BUFFER_SHARE)
        rows = max(1, min(rows, most // cols))
        return [Chunk(a, b, 0, cols) for a, b in _even(part.row0, part.row1, rows)]
    rows = max(1, min(rows, config.acc_words // 2 // cols))
    return [Chunk(row, min(row + rows, part.row1), 0, cols) for row in range(part.row0, part.row1, rows)]


def strips_of(chunks: Sequence[Chunk], words: Callable[[int, int], int], limit: int) -> list[Strip]:
    """Join chunks, in order, in strips of rows whose input, ``words(row0, row1)``, takes at most ``limit`` words.

    A strip has at least the chunks of one row.
    """
    strips: list[list[Chunk]] = []
    current: list[Chunk] = []
    for chunk in chunks:
        if current and chunk.row0 >= current[-1].row1 and words(current[0].row0, chunk.row1) > limit:
            strips.append(current)
            current = []
        current.append(chunk)
    strips.append(current)
    return [Strip(strip[0].row0, strip[-1].row1, tuple(strip)) for strip in strips]
