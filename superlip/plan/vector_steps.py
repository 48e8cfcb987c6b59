"""Cuts the operations that have no weights in the blocks that VECTOR does at once."""

import itertools
from dataclasses import dataclass

import numpy as np

from superlip.graph import ir
from superlip.rtl.isa import PARAM_WORDS, table_words

__all__ = ["VectorStep", "count_blocks", "vector_parameter_words", "vector_steps"]


@dataclass(frozen=True, eq=False)
class VectorStep:
    """One group and one block of rows and columns: what VECTOR gets apart from addresses.

    ``params`` is the index of the parameter block (`vector_params`), or None.
    """

    group: int
    row0: int
    row1: int
    col0: int
    col1: int
    params: int | None


def vector_steps(op, part, row0, row1):
    """Steps for rows [row0, row1) of the part's groups, group by group."""
    width = op.output.storage.width
    if isinstance(op.node, ir.Pool) and op.node.kind == "average":
        blocks = count_blocks(op, row0, row1)
        counts = sorted({count for *_, count in count_blocks(op, 0, op.output.storage.height)})
        blocks = [(*block, counts.index(count)) for *block, count in blocks]
    else:
        params = None if isinstance(op.node, ir.Pool) else 0
        blocks = [(row0, row1, 0, width, params)]
    return [VectorStep(group, *block) for group in range(part.group0, part.group1) for block in blocks]


def vector_parameter_words(op, tn):
    """Words of the parameter blocks of an operation without weights, by the index that its steps name."""
    if isinstance(op.node, ir.Table):
        return {0: table_words(tn)}
    if not isinstance(op.node, ir.Pool):
        return {0: PARAM_WORDS}
    if op.node.kind == "max":
        return {}
    counts = {count for *_, count in count_blocks(op, 0, op.output.storage.height)}
    return dict.fromkeys(range(len(counts)), PARAM_WORDS)


def count_blocks(op, row0, row1):
    """Blocks of output pixels whose windows count the same number of pixels: (row0, row1, col0, col1, count)."""
    node, source, dest = op.node, op.inputs[0].storage, op.output.storage
    (kh, kw), (sy, sx), (top, left, *_) = node.kernel, node.strides, node.pads
    if node.count_include_pad:
        return [(row0, row1, 0, dest.width, kh * kw)]

    def runs(first, end, stride, pad, kernel, size):
        out = np.arange(first, end)
        low, high = out * stride - pad, out * stride - pad + kernel
        count = np.minimum(high, size) - np.maximum(low, 0)
        edges = [0, *(np.flatnonzero(np.diff(count)) + 1), len(count)]
        return [(first + a, first + b, int(count[a])) for a, b in itertools.pairwise(edges) if a < b]

    return [
        (r0, r1, c0, c1, rows * cols)
        for r0, r1, rows in runs(row0, row1, sy, top, kh, source.height)
        for c0, c1, cols in runs(0, dest.width, sx, left, kw, source.width)
    ]
