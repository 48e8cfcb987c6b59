"""Weights, parameters and tables as words."""

from dataclasses import dataclass

import numpy as np

from superlip.rtl.isa import PARAM_WORDS, table_words

__all__ = ["Block", "ConvTile", "conv_tiles", "add_params", "lane_params", "table_block"]


@dataclass(frozen=True, eq=False)
class Block:
    """Weight sets of a part of an output-channel tile's input: n-tiles [n0, n1), kernel rows [ky0, ky1).

    ``words`` : ndarray int8, shape (sets * rows, tn), sets in order n, ky, kx; kx in steps of ``fold``.
    """

    n0: int
    n1: int
    ky0: int
    ky1: int
    rows: int
    words: np.ndarray
    fold: int = 1

    @property
    def sets(self):
        return len(self.words) // self.rows


@dataclass(frozen=True, eq=False)
class ConvTile:
    """One output word (tm channels) of a convolution: blocks of weights, in accumulation order, and parameters.

    ``params`` : ndarray int8, shape (PARAM_WORDS, tn).
    """

    group: int
    first_lane: int
    end_lane: int
    blocks: tuple[Block, ...]
    params: np.ndarray


def conv_tiles(op, weight_words, weights=None):
    """All tiles of a convolution.

    Parameters
    ----------
    op : superlip.ops.operation.Op
    weight_words : int
        Of the weight buffer: a block takes a quarter of it at most.
    weights : ndarray int8, optional
        Instead of the operation's own.

    Returns
    -------
    list of ConvTile, in order of the destination's groups
    """
    conv, source, dest, fold, copies = op.node, op.inputs[0], op.output, op.fold, op.copies
    tn, limit = dest.storage.tn, weight_words // 4
    weights = conv.weights if weights is None else weights
    m_per_group = len(weights) // conv.groups
    n_per_group, kh, kw = weights.shape[1:]
    tiles = []
    for group, lane0, lane1, m0, m1 in dest.tiles():
        first = source.offset + (m0 // m_per_group) * n_per_group
        last = source.offset + ((m1 - 1) // m_per_group + 1) * n_per_group
        n0, n1 = first // tn, -(-last // tn)
        dense = np.zeros((lane1, (n1 - n0) * tn, kh, kw), np.int8)
        for m in range(m0, m1):
            at = source.offset + (m // m_per_group) * n_per_group - n0 * tn
            dense[lane0 + m - m0, at : at + n_per_group] = weights[m]
        bias, scale = np.zeros(tn, np.int32), np.zeros(tn, np.float32)
        bias[lane0:lane1] = conv.bias[m0:m1]
        scale[lane0:lane1] = conv.scale[m0:m1]
        if copies > 1 and group == dest.end_group - 1:
            bias, scale = (np.resize(v[: tn // copies], tn) for v in (bias, scale))
            rows = np.zeros((copies, tn // copies, *dense.shape[1:]), np.int8)
            rows[:, :lane1] = dense
            dense = rows.reshape(tn, *dense.shape[1:])[: lane1 + (copies - 1) * (tn // copies)]
        # (row, n, lane, ky, kx) -> (n, ky, kx, row, lane)
        end = len(dense)
        sets = dense.reshape(end, n1 - n0, tn, kh, kw).transpose(1, 3, 4, 0, 2)
        plain = n1 - n0 - (fold > 1)
        blocks = [
            Block(n0 + a, n0 + b, ky0, ky1, end, np.ascontiguousarray(sets[a:b, ky0:ky1]).reshape(-1, tn))
            for a, b, ky0, ky1 in (_cut(plain, kh, kw * end, limit) if plain else [])
        ]
        if fold > 1:
            folded = _fold(sets[plain], fold)
            blocks += [
                Block(n1 - 1, n1, ky0, ky1, end, np.ascontiguousarray(folded[ky0:ky1]).reshape(-1, tn), fold)
                for _, _, ky0, ky1 in _cut(1, kh, folded.shape[1] * end, limit)
            ]
        tiles.append(ConvTile(group, lane0, end, tuple(blocks), lane_params(bias, scale)))
    return tiles


def _fold(sets, fold):
    """Weight sets of an n-tile, shape (kh, kw, rows, tn), for words that hold its channels ``fold`` times.

    Returns (kh, kw / fold, rows, tn): set x has the weights of kernel column x * fold + g in lane group g.
    """
    kh, kw, rows, tn = sets.shape
    passes, lanes = -(-kw // fold), tn // fold
    columns = np.zeros((kh, passes * fold, rows, lanes), np.int8)
    columns[:, :kw] = sets[..., :lanes]
    return columns.reshape(kh, passes, fold, rows, lanes).transpose(0, 1, 3, 2, 4).reshape(kh, passes, rows, tn)


def _cut(n_tiles, kh, row_words, limit):
    """(n0, n1, ky0, ky1) pieces of at most ``limit`` words: whole n-tiles where one fits, kernel rows otherwise."""
    per_n = kh * row_words
    if per_n <= limit:
        pieces = -(-n_tiles * per_n // limit)
        step = -(-n_tiles // pieces)
        return [(n, min(n + step, n_tiles), 0, kh) for n in range(0, n_tiles, step)]
    if row_words > limit:
        raise ValueError(f"one kernel row needs {row_words} words of weights at once; the weight buffer gives {limit}")
    step = limit // row_words
    return [(n, n + 1, ky, min(ky + step, kh)) for n in range(n_tiles) for ky in range(0, kh, step)]


def _lanes(pairs):
    """Eight bytes a lane, lanes in order, as PARAM_WORDS words."""
    return np.ascontiguousarray(pairs).view(np.int8).reshape(PARAM_WORDS, -1)


def lane_params(bias, scale):
    """Parameter words of REQUANTIZE, SUM and MUL: ``bias`` int32 and ``scale`` float32, shape (tn,)."""
    pairs = np.empty((len(bias), 2), "<i4")
    pairs[:, 0] = bias
    pairs[:, 1] = np.asarray(scale, "<f4").view("<i4")
    return _lanes(pairs)


def add_params(mult_a, mult_b, tn):
    """Parameter words of ADD."""
    return _lanes(np.tile(np.array([mult_a, mult_b], "<i4"), (tn, 1)))


def table_block(table, tn):
    """Words of a 256-entry table (int8, by byte pattern)."""
    padded = np.zeros(table_words(tn) * tn, np.int8)
    padded[:256] = table
    return padded.reshape(-1, tn)
