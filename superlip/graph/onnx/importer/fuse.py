"""Behind the import: element-wise tables go into the nodes in front of them, and what nobody takes goes."""

from dataclasses import replace

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
        if node.function is None or uses[node.inputs[0]] != 1 or node.inputs[0] not in makers:
            continue
        maker = graph.nodes[makers[node.inputs[0]]]
        fused = _fused(maker, node.function, graph.values[maker.output], graph.values[node.output])
        if fused is None:
            continue
        names = maker.onnx_names + node.onnx_names
        graph.nodes[makers[maker.output]] = replace(fused, output=node.output, onnx_names=names)
        makers[node.output] = makers[maker.output]
        removed.add(position)
        del graph.values[maker.output]
    graph.nodes[:] = [n for i, n in enumerate(graph.nodes) if i not in removed]


def _fused(maker: ir.Node, table: ir.Elements, before: ir.Value, after: ir.Value) -> ir.Node | None:
    """A node with a table behind it, whose result was the value ``before`` and is then ``after``; None if it can't."""
    clamp = clamp_of(table, before.element)
    is_same = (before.scale, before.zero_point) == (after.scale, after.zero_point)
    clipped = maker.clipped(*clamp) if clamp is not None and is_same else None
    return clipped or maker.through(table, before)


def remove_unused(graph: ir.Graph) -> None:
    """Drop nodes whose result nobody takes."""
    needed = {*graph.outputs, *(part.value for part in graph.parts)}
    kept = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes[:] = kept[::-1]
    for name in [n for n in graph.values if n not in needed and n != graph.input]:
        del graph.values[name]
