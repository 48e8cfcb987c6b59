"""Behind the import: element-wise tables go into the nodes in front of them, and what nobody takes goes."""

from dataclasses import replace

import numpy as np

from superlip.graph import ir

from .tables import clamp_of

__all__ = ["fuse_tables", "remove_unused"]


def fuse_tables(graph):
    """Put element-wise tables into the node whose only consumer they are: a clip, or the table of a Conv."""
    uses = {}
    for node in graph.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    for name in graph.outputs:
        uses[name] = uses.get(name, 0) + 1
    makers = {n.output: i for i, n in enumerate(graph.nodes)}
    removed = set()
    for position, node in enumerate(graph.nodes):
        if not isinstance(node, ir.Table) or uses[node.inputs[0]] != 1 or node.inputs[0] not in makers:
            continue
        maker = graph.nodes[makers[node.inputs[0]]]
        fused = _fused(maker, node, graph.values)
        if fused is None:
            continue
        graph.nodes[makers[maker.output]] = fused
        makers[node.output] = makers[maker.output]
        removed.add(position)
        del graph.values[maker.output]
    graph.nodes[:] = [n for i, n in enumerate(graph.nodes) if i not in removed]


def _fused(maker, node, values):
    common = {"output": node.output, "onnx_names": maker.onnx_names + node.onnx_names}
    before, after = values[maker.output], values[node.output]
    clamp = clamp_of(node.table)
    is_plain = getattr(maker, "table", None) is None
    if (
        clamp is not None
        and isinstance(maker, ir.Conv | ir.Pool | ir.Add | ir.Mul)
        and is_plain
        and (before.scale, before.zero_point) == (after.scale, after.zero_point)
    ):
        low, high = (min(max(bound, maker.low), maker.high) for bound in clamp)
        return replace(maker, low=low, high=high, **common)
    if isinstance(maker, ir.Conv):
        if is_plain:
            return replace(maker, table=node.table, table_zero_point=before.zero_point, **common)
        return replace(maker, table=node.table[maker.table.view(np.uint8)], **common)
    if isinstance(maker, ir.Table):
        return replace(maker, table=node.table[maker.table.view(np.uint8)], **common)
    return None


def remove_unused(graph):
    """Drop nodes whose result nobody takes."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes[:] = kept[::-1]
    for name in [n for n in graph.values if n not in needed and n != graph.input]:
        del graph.values[name]
