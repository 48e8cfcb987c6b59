"""Rows that lie together: what one instruction, or one range of bytes, covers."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Run", "runs_of", "stretches"]


@dataclass(frozen=True)
class Run:
    """``count`` times ``length`` rows, ``stride`` apart, from row ``first`` on."""

    first: int
    count: int
    length: int
    stride: int

    @property
    def rows(self) -> NDArray[np.int_]:
        """All its rows."""
        return (self.first + np.arange(self.count)[:, None] * self.stride + np.arange(self.length)).ravel()

    def words(self, width: int) -> NDArray[np.int_]:
        """Words of its rows in a plane of rows of ``width`` words, counted from its first."""
        starts = np.arange(self.count)[:, None] * self.stride * width
        return (starts + np.arange(self.length * width)).ravel()


def stretches(rows: ArrayLike) -> list[tuple[int, int]]:
    """(first, end) of each stretch of consecutive numbers; ``rows`` increase."""
    rows = np.asarray(rows, int)
    if not len(rows):
        return []
    edges = np.flatnonzero(np.diff(rows) != 1)
    return [(int(a), int(b) + 1) for a, b in zip(rows[[0, *(edges + 1)]], rows[[*edges, -1]], strict=True)]


def runs_of(rows: ArrayLike) -> list[Run]:
    """Increasing rows as runs: a single one, if its stretches are alike, or one for each stretch."""
    found = stretches(rows)
    lengths = {end - first for first, end in found}
    strides = {b - a for (a, _), (b, _) in pairwise(found)}
    if len(lengths) == 1 and len(strides) <= 1:
        return [Run(found[0][0], len(found), lengths.pop(), strides.pop() if strides else 0)]
    return [Run(first, 1, end - first, 0) for first, end in found]
