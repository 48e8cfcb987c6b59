"""Words and cycles: the formulas with which estimate, order and compiler reckon, each of them once.

What a unit does in a cycle is the contract of its component in ``rtl``; what DRAM and links do is the target's. The
constants are estimates: the simulated RTL has the last word (docs/performance.md).
"""

from collections.abc import Iterable

from superlip.boards import Target
from superlip.ops.operation import Op
from superlip.rtl.config import FEED_WORDS
from superlip.rtl.link.frame import HEADER_BYTES

__all__ = [
    "RESULT_LATENCY", "block_cycles", "dram_cycles", "dram_words", "fusing_pays", "link_cycles", "matmul_cycles",
    "pass_pixels", "start_cycles", "vector_cycles",
]  # fmt: skip

LAYER_START = 30
"""Cycles from the end of a layer to the first results of one that needs all of it: the start of an instruction, the
depth of the array (``PEArray.latency``) and of VECTOR (``Vector.latency``), in part behind the last results before."""

RESULT_LATENCY = 40
"""Cycles from the last sum of a chunk to its results in the buffer, known to who waits for them: the array (13 with 64
channels), VECTOR's instruction and pipeline (3 + 17), and the posts between them."""

GROUP_START = 12
"""Cycles that VECTOR loses with each channel group of a layer: PARAM_WORDS (8) to load its parameters, and a part of
the way to them, which ``rtl/vector.py`` gives as some ten."""

FRAME_FLITS = 2
"""Flits of a frame beside its header and words: the CRC, and one for what credits and part-filled headers take."""

FUSING_PAYS = 0.7
"""Part of MATMUL's cycles from which on VECTOR counts as the slower one: it begins later and waits for parameters."""


def pass_pixels(op: Op, row0: int, row1: int, col0: int = 0, col1: int | None = None, fold: int = 1) -> int:
    """Pixels that MATMUL sends in one pass for a block of a convolution's grid; with ``fold`` 1 its accumulators, too.

    With a fold, each row begins with ``fold`` - 1 pixels that are only read (``rtl/matmul.py``).
    """
    row0, row1, first, end = op.sums(row0, row1, col0, col1)
    return (row1 - row0) * (end - first + fold - 1)


def matmul_cycles(sets: int, pixels: int, chunks: int, tm: int) -> int:
    """Cycles of ``sets`` weight sets that pass over ``pixels`` pixels each, in ``chunks`` chunks.

    MATMUL sends a pixel a cycle; a pass over a chunk takes at least the cycles in which FEED loads the next set.
    """
    return sets * max(pixels, tm // FEED_WORDS * chunks)


def block_cycles(op: Op, rows: int, cols: int) -> int:
    """Cycles that VECTOR takes for a block of results in one channel group: it reads a word in each."""
    return op.spec.block_reads(op, rows, cols)


def vector_cycles(op: Op, blocks: Iterable[int], groups: int) -> int:
    """Cycles that VECTOR takes for ``groups`` channel groups of whole rows, so many of them at once."""
    return groups * (sum(block_cycles(op, rows, op.grid[1]) for rows in blocks) + GROUP_START)


def fusing_pays(sums: int, results: int, window: int, passes: int) -> bool:
    """Whether VECTOR, were a pooling not fused into a convolution, would be slower than MATMUL.

    Parameters
    ----------
    sums, results : int
        Pixels of the convolution and of the pooling.
    window : int
        Pixels of the pooling's window.
    passes : int
        Of the convolution over its pixels.
    """
    return sums + results * window > FUSING_PAYS * passes * sums


def dram_cycles(bytes_: float, target: Target) -> float:
    """Cycles in which a board's DRAM moves so many bytes, either way, without what bursts lose."""
    return bytes_ / target.dram.bytes_per_cycle


def dram_words(cycles: float, target: Target) -> float:
    """Words that a board's DRAM moves in so many cycles."""
    return cycles * target.dram.bytes_per_cycle / target.node.tn


def link_cycles(bytes_: float, target: Target) -> float:
    """Cycles in which a link carries so many bytes one way, in frames of the longest kind."""
    node = target.node
    payload = node.frame_words * node.tn
    rate = target.link.bytes_per_cycle * payload / (payload + HEADER_BYTES + FRAME_FLITS * node.link_bytes)
    return bytes_ / rate


def start_cycles(exchanged: bool, target: Target) -> int:
    """Cycles with which a layer begins, where part of its input comes over a link or none does."""
    return LAYER_START + (target.link.latency + LAYER_START if exchanged else 0)
