"""VECTOR instructions of the operations that have no weights: pooling, addition, product, table."""

import itertools
from dataclasses import dataclass

import numpy as np

from superlip.graph import ir
from superlip.ops.layout import Part
from superlip.plan.partition import needs
from superlip.rtl.isa import VectorOp

from .weights import add_params, lane_params, table_block

__all__ = ["VectorStep", "vector_body", "vector_cycles", "vector_params", "vector_reads", "vector_steps"]


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


def vector_params(op, tn):
    """Parameter blocks of an operation (list of ndarray int8, shape (words, tn)), by the index in its steps."""
    node = op.node
    if isinstance(node, ir.Add):
        return [add_params(node.mult_a, node.mult_b, tn)]
    if isinstance(node, ir.Mul):
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, node.scale, np.float32))]
    if isinstance(node, ir.Table):
        return [table_block(node.table, tn)]
    if node.kind == "average":
        counts = sorted({count for *_, count in _count_blocks(op, 0, op.output.storage.height)})
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, node.scale[count], np.float32)) for count in counts]
    return []


def vector_steps(op, part, row0, row1):
    """Steps for rows [row0, row1) of the part's groups, group by group."""
    width = op.output.storage.width
    if isinstance(op.node, ir.Pool) and op.node.kind == "average":
        blocks = _count_blocks(op, row0, row1)
        counts = sorted({count for *_, count in _count_blocks(op, 0, op.output.storage.height)})
        blocks = [(*block, counts.index(count)) for *block, count in blocks]
    else:
        params = None if isinstance(op.node, ir.Pool) else 0
        blocks = [(row0, row1, 0, width, params)]
    return [VectorStep(group, *block) for group in range(part.group0, part.group1) for block in blocks]


def _count_blocks(op, row0, row1):
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


def vector_body(op, step, views):
    """Fields of the instruction but those of its destination; ``views`` are those of the inputs."""
    node, source, dest = op.node, op.inputs[0], op.output
    shift = source.first_group - dest.first_group
    (kh, kw), (sy, sx), (top, left, *_), _ = op.window
    view = views[0]
    body = {
        "source": view.address(step.group + shift, view.row0),
        "pitch": view.width,
        # Rows that are not held are rows outside the image: the height ends where the image ends.
        "height": view.rows,
        "width": view.width,
        "y0": step.row0 * sy - top - view.row0,
        "x0": step.col0 * sx - left,
        "stride_y": sy,
        "stride_x": sx,
        "kh": kh,
        "kw": kw,
        "zp_a": op.zero_points[0],
        "zp_out": op.zero_points[-1],
        "low": getattr(node, "low", -128),
        "high": getattr(node, "high", 127),
    }
    if isinstance(node, ir.Table):
        return body | {"op": VectorOp.MAX, "use_table": 1}
    if isinstance(node, ir.Pool):
        return body | {"op": VectorOp.MAX if node.kind == "max" else VectorOp.SUM}
    b = op.inputs[1]
    group = step.group + b.first_group - dest.first_group
    return body | {
        "op": VectorOp.ADD if isinstance(node, ir.Add) else VectorOp.MUL,
        "source_b": views[1].address(group, step.row0, step.col0),
        "pitch_b": views[1].width,
        "zp_b": op.zero_points[1],
        "shift": getattr(node, "shift", 0),
    }


def vector_cycles(op):
    """Cycles that VECTOR takes for a word of the result."""
    (kh, kw), *_ = op.window
    return kh * kw if isinstance(op.node, ir.Pool) else len(op.inputs)


def vector_reads(op, step, views):
    """Word addresses in the activation buffer that a step reads."""
    wanted = needs(op, Part(step.group, step.group + 1, step.row0, step.row1))
    return [
        view.region(need.group0, need.group1, need.row0, need.row1) for view, need in zip(views, wanted, strict=True)
    ]
