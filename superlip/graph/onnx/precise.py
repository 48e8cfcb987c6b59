"""Weights in float32, computed in float64: some outputs at a time, as in float64 they are twice as large."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["row_blocks", "scaled"]

_ELEMENTS = 1 << 18
"""Of a block of rows: 2 MiB in float64, which stays in the cache."""


def row_blocks(array: NDArray) -> Iterator[slice]:
    """Slices of an array's first axis that have a few elements each, all of it together."""
    rows = max(1, _ELEMENTS * len(array) // max(1, array.size))
    for first in range(0, len(array), rows):
        yield slice(first, first + rows)


def scaled(weights: NDArray[np.float32], factors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights times factors, rounded once.

    Parameters
    ----------
    weights : ndarray float32, shape (M, ...)
    factors : ndarray float64, shape (M, ...), each size that of the weights or 1
    """
    result = np.empty(weights.shape, np.float32)
    for rows in row_blocks(weights):
        result[rows] = weights[rows] * factors[rows]
    return result
