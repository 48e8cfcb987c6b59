"""Behind the import: element-wise tables go into the nodes in front of them, and what nobody takes goes."""

from dataclasses import replace
from typing import Any

from superlip.graph import ir

from .tables import clamp_of

__all__ = ["fuse_tables", "remove_unused"]


def fuse_tables(graph: ir.Graph) -> None:
    """Put element-wise tables into the node whose only consumer they are: a clip, or the table of a Conv."""
    uses: dict[str, int] = {}
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


def _fused(maker: ir.Node, node: ir.Table, values: dict[str, ir.Value]) -> ir.Node | None:
    """``maker`` with the table behind it taken in; None where it can't be."""
    common: dict[str, Any] = {"output": node.output, "onnx_names": maker.onnx_names + node.onnx_names}
    before, after = values[maker.output], values[node.output]
    own = maker.table if isinstance(maker, ir.Conv | ir.Table) else None
    if isinstance(maker, ir.Clipped) and own is None:
        clamp = clamp_of(node.table, before.element)
        if clamp is not None and (before.scale, before.zero_point) == (after.scale, after.zero_point):
            low, high = (min(max(bound, maker.low), maker.high) for bound in clamp)
            return replace(maker, low=low, high=high, **common)
    if isinstance(maker, ir.Conv) and own is None:
        return replace(maker, table=node.table, table_zero_point=before.zero_point, **common)
    if isinstance(maker, ir.Conv | ir.Table) and own is not None:
        return replace(maker, table=before.element.look_up(node.table, own), **common)
    return None


def remove_unused(graph: ir.Graph) -> None:
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
