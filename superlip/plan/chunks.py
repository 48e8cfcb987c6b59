"""Cuts a part of a layer in chunks that fit the accumulators, and in strips whose input fits a stage."""

from dataclasses import dataclass
from itertools import pairwise

from .timing import pass_pixels

__all__ = ["Chunk", "Strip", "chunks_of", "strips_of"]


@dataclass(frozen=True)
class Chunk:
    """Rows [row0, row1) and columns [col0, col1) of an operation's grid."""

    row0: int
    row1: int
    col0: int
    col1: int

    @property
    def results(self):
        """Pixels of the grid."""
        return (self.row1 - self.row0) * (self.col1 - self.col0)

    def sums(self, op):
        """Accumulators it takes."""
        return pass_pixels(op, self.row0, self.row1, self.col0, self.col1)

    def pixels(self, op, fold):
        """Pixels that a pass over it reads: those ahead of each row, which a fold needs, included."""
        return pass_pixels(op, self.row0, self.row1, self.col0, self.col1, fold)


@dataclass(frozen=True)
class Strip:
    """Chunks whose input is staged together: grid rows [row0, row1)."""

    row0: int
    row1: int
    chunks: tuple[Chunk, ...]


def _even(first, end, most):
    """Edges of as few pieces of at most ``most`` as there can be, as even as can be."""
    count = -(-(end - first) // most)
    return [first + (end - first) * i // count for i in range(count + 1)]


def chunks_of(op, part, accumulators):
    """Chunks of a convolution's part, row by row; whole rows where one fits ``accumulators``."""
    cols = op.grid[1]
    (py, px), (sy, sx) = op.pooling, op.pool.strides if op.pool is not None else (1, 1)
    width = op.sums_size[1] if op.pool is not None else cols
    if py * width > accumulators:
        edges = _even(0, cols, (accumulators // py - px) // sx + 1)
        return [Chunk(row, row + 1, a, b) for row in range(part.row0, part.row1) for a, b in pairwise(edges)]
    edges = _even(part.row0, part.row1, (accumulators // width - py) // sy + 1)
    return [Chunk(a, b, 0, cols) for a, b in pairwise(edges)]


def strips_of(chunks, fits):
    """Join chunks, in order, in strips as long as ``fits(row0, row1)`` says that the rows' input has room.

    A strip has at least the chunks of one row. Returns a list of Strip.
    """
    strips, current = [], []
    for chunk in chunks:
        if current and chunk.row0 >= current[-1].row1 and not fits(current[0].row0, chunk.row1):
            strips.append(current)
            current = []
        current.append(chunk)
    strips.append(current)
    return [Strip(chunks[0].row0, chunks[-1].row1, tuple(chunks)) for chunks in strips]
