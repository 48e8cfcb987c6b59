"""Parameters and tables of VECTOR as words of the activation buffer."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superlip.element import INT8
from superlip.graph.ir import Elements
from superlip.rtl.isa import PARAM_WORDS, table_words

__all__ = ["Words", "add_params", "lane_params", "table_block"]

Words = Elements
"""Words of a buffer or of DRAM, shape (words, tn)."""


def _lanes(pairs: NDArray[np.int32]) -> Words:
    """Eight bytes a lane, lanes in order, as PARAM_WORDS words."""
    return np.ascontiguousarray(pairs).view(INT8.dtype).reshape(PARAM_WORDS, -1)


def lane_params(bias: NDArray[np.int32], scale: ArrayLike) -> Words:
    """Parameter words of REQUANTIZE, SUM and MUL: ``bias`` int32 and ``scale`` float32, shape (tn,)."""
    pairs = np.empty((len(bias), 2), "<i4")
    pairs[:, 0] = bias
    pairs[:, 1] = np.asarray(scale, "<f4").view("<i4")
    return _lanes(pairs)


def add_params(mult_a: int, mult_b: int, tn: int) -> Words:
    """Parameter words of ADD."""
    return _lanes(np.tile(np.array([mult_a, mult_b], "<i4"), (tn, 1)))


def table_block(table: Elements, tn: int) -> Words:
    """Words of a table, shape (patterns,)."""
    padded = np.zeros(table_words(tn) * tn, table.dtype)
    padded[: len(table)] = table
    return padded.reshape(-1, tn)
