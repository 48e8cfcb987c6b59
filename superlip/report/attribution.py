"""Where the cycles of an image went: each of them belongs to one layer and one column of the report.

Layers overlap, so MATMUL is the reference, that of the board that ended last: a cycle is busy if it sent a pixel, and
else is what it waited for. A cycle belongs to the layer whose MATMUL instruction sent the pixel or could not begin;
only what MATMUL waits for

* while VECTOR works on a layer without weights (pooling, addition) is that layer's;
* while LOAD brings the image is the input's.
"""

import numpy as np

from superlip.compile.design import Design
from superlip.sim.result import RunResult

__all__ = ["COLUMNS", "attribute"]

COLUMNS = ("busy", "weights", "ifm", "accumulators", "link", "fill_drain")
"""Sent a pixel; waited for weights (from DRAM, or for FEED to bring them to the array); for its input (from DRAM, or
from VECTOR, which makes it); for accumulators that VECTOR has not emptied; for another board, its words or weights; had
no instruction: at the beginning and the end of a program, and while instructions are fetched."""


def attribute(design: Design, result: RunResult, image: int) -> np.ndarray:
    """Cycles of an image by layer and column.

    Parameters
    ----------
    design : superlip.api.Design
    result : superlip.sim.result.RunResult
    image : int
        Of those that ended well.

    Returns
    -------
    ndarray int64, shape (operations + 1, len(COLUMNS))
        Row 0 is the input, row i + 1 operation i. The sum is ``result.cycles[image]``.
    """
    from superlip.sim.result import NO_TAG, Cause  # noqa: PLC0415 - the simulator is an extra

    columns = {
        Cause.PIXEL: "busy", Cause.FEEDING: "weights", Cause.WEIGHTS_DRAM: "weights", Cause.WEIGHTS_LINK: "link",
        Cause.LOADED: "ifm", Cause.VECTORS: "accumulators", Cause.LINK: "link", Cause.OTHERS: "fill_drain",
        Cause.NOTHING: "fill_drain",
    }  # fmt: skip
    ops = design.network.ops
    board = int(result.node_cycles[image].argmax())
    for_input = design.compiled.boards[board].for_input
    found = np.zeros((len(ops) + 1, len(COLUMNS)), np.int64)
    lost = result.lost[(result.lost["image"] == image) & (result.lost["node"] == board)]
    for record in lost:
        cause, layer, other = Cause(record["cause"]), int(record["tag"]), int(record["other"])
        column = columns[cause]
        if cause is Cause.VECTORS and for_input[record["segment"]][record["instruction"]]:
            column = "ifm"
        if cause is Cause.LOADED:
            layer = 0 if other == 0 else layer
        elif other not in (0, NO_TAG) and not ops[other - 1].is_conv:
            layer = other
        found[layer, COLUMNS.index(column)] += int(record["cycles"])
    return found
