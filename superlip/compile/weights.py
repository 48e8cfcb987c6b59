"""Weights of convolutions as words, with their parameters."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from superlip.ops.operation import Op
from superlip.ops.params import lane_params, table_block
from superlip.plan.blocks import Tile

__all__ = ["parameter_blocks", "tile_words"]


def tile_words(op: Op, tile: Tile, weights: NDArray[np.int8] | None = None) -> list[NDArray[np.int8]]:
    """Words of the weight blocks of one tile of a convolution.

    Parameters
    ----------
    op : Op
    tile : Tile
    weights : ndarray int8, optional
        Instead of the operation's own; the same shape.

    Returns
    -------
    list of ndarray int8, shape (block.words, tn): as many as the tile has blocks
    """
    source, tn = op.inputs[0], op.output.storage.tn
    weights = op.conv.weights if weights is None else weights
    kh, kw = weights.shape[2:]
    n0, n1 = tile.blocks[0].n0, tile.blocks[-1].n1
    filters = op.filters(tile.group)[: tile.blocks[0].rows]
    channels = filters % (len(weights) // op.pixels)
    dense = np.zeros((len(filters), (n1 - n0) * tn, kh, kw), np.int8)
    for m0, m1 in _alike(tile, len(weights) // op.conv.groups):
        rows = (filters >= 0) & (channels >= m0) & (channels < m1)
        for group, lane0, lane1, first, end in op.spec.channels_read(source, m0, m1).tiles():
            at = (group - n0) * tn
            dense[rows, at + lane0 : at + lane1] = weights[filters[rows], first:end]
    # (row, n, lane, ky, kx) -> (n, ky, kx, row, lane)
    sets = dense.reshape(len(dense), n1 - n0, tn, kh, kw).transpose(1, 3, 4, 0, 2)
    folded = _fold(sets[-1], op.fold)[None] if op.fold > 1 else sets[:0]
    result = []
    for block in tile.blocks:
        mine = sets[block.n0 - n0 : block.n1 - n0] if block.fold == 1 else folded
        result.append(np.ascontiguousarray(mine[:, block.ky0 : block.ky1]).reshape(-1, tn))
    return result


def _alike(tile: Tile, filters: int) -> Iterator[tuple[int, int]]:
    """(first, end) of the tile's output channels that read the same ones; ``filters``: of a group."""
    edges = range(tile.first_channel // filters * filters + filters, tile.end_channel, filters)
    return pairwise([tile.first_channel, *edges, tile.end_channel])


def parameter_blocks(op: Op, tiles: list[Tile] | None, tn: int) -> dict[int, NDArray[np.int8]]:
    """Words of an operation's parameter blocks, by the keys of `plan.blocks.parameter_words`.

    Returns
    -------
    dict of int to ndarray int8, shape (words, tn)
    """
    if tiles is None:
        return dict(enumerate(op.vector.params(op, tn)))
    return {tile.group: _tile_params(op, tile) for tile in tiles}


def _tile_params(op: Op, tile: Tile) -> NDArray[np.int8]:
    """Bias and scale of every lane of a tile, and the table where the convolution has one."""
    conv, tn, filters = op.conv, op.output.storage.tn, op.filters(tile.group)
    bias, scale = (np.where(filters >= 0, of_filters[filters], 0) for of_filters in (conv.bias, conv.scale))
    params = lane_params(bias, scale)
    return params if conv.table is None else np.concatenate([params, table_block(conv.table, tn)])


def _fold(sets: NDArray[np.int8], fold: int) -> NDArray[np.int8]:
    """Weight sets of an n-tile, shape (kh, kw, rows, tn), for words that hold its channels ``fold`` times.

    Returns (kh, kw / fold, rows, tn): set x has the weights of kernel column x * fold + g in lane group g.
    """
    kh, kw, rows, tn = sets.shape
    passes, lanes = -(-kw // fold), tn // fold
    columns = np.zeros((kh, passes * fold, rows, lanes), np.int8)
    columns[:, :kw] = sets[..., :lanes]
    return columns.reshape(kh, passes, fold, rows, lanes).transpose(0, 1, 3, 2, 4).reshape(kh, passes, rows, tn)
