"""Maximum poolings over rows and columns, one axis after the other, where VECTOR reads fewer pixels so.

A window of 5 x 5 is 25 pixels; the maxima of five columns, and then of five rows of those, are ten.
"""

import math
from dataclasses import replace

from superlip.graph import ir
from superlip.ops import spec_of

from .pooling import Poolings

__all__ = ["LEAST_GAIN", "pool_axis_by_axis"]

LEAST_GAIN = 200
"""Cycles that it must save: two operations begin where one did."""


def pool_axis_by_axis(graph: ir.Graph, tn: int) -> ir.Graph:
    """The graph with such poolings in two, but those that convolutions take in; for words of ``tn`` channels."""
    poolings, values, nodes = Poolings(graph, tn), dict(graph.values), []
    for node in graph.nodes:
        pool = spec_of(node).pool_of_sums(graph.values[node.output].element)
        if pool is None or poolings.is_taken_in(pool.inputs[0], pool) or not _pays(graph, pool, tn):
            nodes.append(node)
            continue
        source, result = graph.values[pool.inputs[0]], graph.values[pool.output]
        columns = f"{pool.output}.columns"
        values[columns] = replace(result, name=columns, shape=(result.shape[0], source.shape[1], result.shape[2]))
        top, left, bottom, right = pool.pads
        (ky, kx), (sy, sx) = pool.kernel, pool.strides
        across = replace(pool, kernel=(1, kx), strides=(1, sx), pads=(0, left, 0, right))
        down = replace(pool, kernel=(ky, 1), strides=(sy, 1), pads=(top, 0, bottom, 0))
        nodes += [replace(across, name=f"{pool.name}.columns", output=columns), replace(down, inputs=(columns,))]
    return graph if len(nodes) == len(graph.nodes) else replace(graph, nodes=nodes, values=values)


def _pays(graph: ir.Graph, pool: ir.Pool, tn: int) -> bool:
    ky, kx = pool.kernel
    (channels, height, _), (_, rows, cols) = graph.values[pool.inputs[0]].shape, graph.values[pool.output].shape
    words = math.ceil(channels / tn)
    saved = words * (ky * kx * rows * cols - kx * height * cols - ky * rows * cols)
    return min(ky, kx) > 1 and saved > LEAST_GAIN
