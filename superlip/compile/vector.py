"""VECTOR instructions of the operations that have no weights: pooling, addition, product, table."""

import numpy as np

from superlip.graph import ir
from superlip.ops.layout import Part
from superlip.plan.partition import needs
from superlip.plan.vector_steps import count_blocks
from superlip.rtl.isa import VectorOp

from .weights import add_params, lane_params, table_block

__all__ = ["vector_body", "vector_params", "vector_reads"]


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
        counts = sorted({count for *_, count in count_blocks(op, 0, op.output.storage.height)})
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, node.scale[count], np.float32)) for count in counts]
    return []


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


def vector_reads(op, step, views):
    """Word addresses in the activation buffer that a step reads."""
    wanted = needs(op, Part(step.group, step.group + 1, step.row0, step.row1))
    return [
        view.region(need.group0, need.group1, need.row0, need.row1) for view, need in zip(views, wanted, strict=True)
    ]
