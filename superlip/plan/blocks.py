"""Blocks of weights: how the weights of a convolution are cut, without the weights themselves.

One output word (tm channels) of a convolution is a *tile*; the weights that its sums need are *sets*, one for each
n-tile, kernel row and step of kernel columns. As many sets as a quarter of the weight buffer holds are a *block*: what
is loaded, kept and fed together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from superlip.ops.operation import Op
from superlip.rtl.config import FEED_WORDS
from superlip.rtl.isa import PARAM_WORDS, table_words

from .allocate import DoesNotFit

__all__ = ["Block", "Tile", "block_limit", "conv_tiles", "parameter_words", "portions"]

PORTION_SETS = 16
"""Weight sets, of tm words, in a portion: FEED begins with the first while others are still loaded."""


@dataclass(frozen=True)
class Block:
    """Weight sets of a part of a tile's input: n-tiles [n0, n1), kernel rows [ky0, ky1), all kernel columns.

    The kernel columns are done in ``columns`` steps, ``fold`` of them in each. Sets are in order n, ky, column, each of
    ``rows`` words, which FEED takes FEED_WORDS at a time.
    """

    n0: int
    n1: int
    ky0: int
    ky1: int
    columns: int
    rows: int
    fold: int = 1

    @property
    def sets(self) -> int:
        """Weight sets: passes over the pixels."""
        return (self.n1 - self.n0) * (self.ky1 - self.ky0) * self.columns

    @property
    def words(self) -> int:
        """Words in the weight buffer."""
        return self.sets * self.rows


@dataclass(frozen=True)
class Tile:
    """One output word of a convolution, written in lanes [first_lane, end_lane) of its group.

    ``first_channel`` and ``end_channel`` are those of the output that begin at ``first_lane``; `Op.filters` says which
    weights each lane has. ``blocks`` are in the order of accumulation.
    """

    group: int
    first_lane: int
    end_lane: int
    first_channel: int
    end_channel: int
    blocks: tuple[Block, ...]

    @property
    def words(self) -> int:
        """Words of weights."""
        return sum(block.words for block in self.blocks)


def block_limit(weight_words: int) -> int:
    """Words of a block, about: a quarter of the weight buffer, so that others are loaded while one is in use."""
    return weight_words // 4


def conv_tiles(op: Op, weight_words: int) -> list[Tile]:
    """All tiles of a convolution, in order of the destination's groups.

    Parameters
    ----------
    op : Op
    weight_words : int
        Of the weight buffer.

    Raises
    ------
    DoesNotFit
        If one kernel row of an n-tile is more than a block may be.
    """
    source, fold, limit = op.inputs[0], op.fold, block_limit(weight_words)
    *_, kh, kw = op.conv.weights.shape
    folded = -(-kw // fold)
    tiles = []
    for group, lane0, lane1, m0, m1 in op.output.tiles():
        read = op.spec.channels_read(source, m0, m1)
        n0, n1 = read.first_group, read.end_group
        rows = int(np.flatnonzero(op.filters(group) >= 0)[-1]) + 1
        words = -(-rows // FEED_WORDS) * FEED_WORDS
        plain = n1 - n0 - (fold > 1)
        blocks = [Block(n0 + a, n0 + b, ky0, ky1, kw, words) for a, b, ky0, ky1 in _cut(plain, kh, kw * words, limit)]
        if fold > 1:
            blocks += [
                Block(n1 - 1, n1, a, b, folded, words, fold) for _, _, a, b in _cut(1, kh, folded * words, limit)
            ]
        tiles.append(Tile(group, lane0, rows if op.is_copied(group) else lane1, m0, m1, tuple(blocks)))
    return tiles


def _cut(n_tiles: int, kh: int, row_words: int, limit: int) -> Iterator[tuple[int, int, int, int]]:
    """(n0, n1, ky0, ky1) of about ``limit`` words each: whole n-tiles where one fits, as many in each and at most one
    more than fit; kernel rows otherwise, at most as many as fit."""
    if not n_tiles:
        return
    per_n = kh * row_words
    if per_n <= limit:
        step = -(-n_tiles // -(-n_tiles * per_n // limit))
        yield from ((n, min(n + step, n_tiles), 0, kh) for n in range(0, n_tiles, step))
        return
    if row_words > limit:
        raise DoesNotFit(f"one kernel row needs {row_words} words of weights at once; the weight buffer gives {limit}")
    step = limit // row_words
    yield from ((n, n + 1, ky, min(ky + step, kh)) for n in range(n_tiles) for ky in range(0, kh, step))


def portions(block: Block, tm: int) -> list[tuple[int, int]]:
    """(first word, words) of the portions in which a block is loaded, and at first fed, one by one; whole sets."""
    step = max(1, PORTION_SETS * tm // block.rows) * block.rows
    return [(at, min(step, block.words - at)) for at in range(0, block.words, step)]


def parameter_words(op: Op, tiles: list[Tile] | None, tn: int) -> dict[int, int]:
    """Words of an operation's parameter blocks, by key: of a convolution its output group, else what its steps name."""
    if tiles is None:
        return {key: len(words) for key, words in enumerate(op.vector.params(op, tn))}
    words = PARAM_WORDS + (0 if op.conv.table is None else table_words(tn))
    return {tile.group: words for tile in tiles}
