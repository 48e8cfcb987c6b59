"""Work between operations of the host that is not worth a stop of the boards for it."""

from collections.abc import Collection
from math import prod

from superlip.graph.ir import Conv, Graph, Host, Node, Reshape

__all__ = ["trifles"]


def trifles(graph: Graph, own: Collection[str]) -> dict[str, str]:
    """Nodes of the model that multiply no more numbers than would be moved from and to the host for them: why, by name.

    Parameters
    ----------
    graph : Graph
        As it was imported.
    own : names
        Of the model's nodes that may go to the host.
    """
    found: dict[str, str] = {}
    for nodes in _behind_host(graph):
        inside, results = {id(node) for node in nodes}, {node.output for node in nodes}
        takers = [(name, id(node) in inside) for node in graph.nodes for name in node.inputs]
        taken = {name for node in nodes for name in node.inputs} - results
        given = results & ({name for name, is_inside in takers if not is_inside} | set(graph.outputs))
        moved = sum(prod(graph.values[name].shape) for name in taken | given)
        macs = sum(_macs(graph, node) for node in nodes)
        if macs <= moved:
            why = f"between operations of the host, {macs:,} multiplications for {moved:,} numbers that would be moved"
            names = {name for node in nodes for name in node.onnx_names}
            found |= dict.fromkeys(names.intersection(own), why)
    return found


def _behind_host(graph: Graph) -> list[list[Node]]:
    """Nodes of the accelerator that need a result of the host, those together that are joined by a value."""
    hosts: set[str] = set()
    early = {graph.input, *(part.value for part in graph.parts)}
    for node in graph.nodes:
        if _is_hosts(graph, node):
            at_once = early.issuperset(node.inputs)  # what it gives is there when the boards begin
            (early if at_once else hosts).add(node.output)
    needs, groups = set(hosts), {}
    for node in graph.nodes:
        if _is_hosts(graph, node) or needs.isdisjoint(node.inputs):
            continue
        needs.add(node.output)
        joined = {id(groups[name]): groups[name] for name in node.inputs if name in groups}
        group = [*(other for before in joined.values() for other in before), node]
        for member in group:
            groups[member.output] = group
    return list({id(group): group for group in groups.values()}.values())


def _is_hosts(graph: Graph, node: Node) -> bool:
    """Whether the host runs a node, or what reshapes it: what mixes channels and pixels."""
    is_reshape = isinstance(node, Reshape) and graph.values[node.inputs[0]].shape != graph.values[node.output].shape
    return isinstance(node, Host) or is_reshape


def _macs(graph: Graph, node: Node) -> int:
    """Multiplications of a convolution; of others none, as they take each number about once."""
    return node.weights.size * prod(graph.values[node.output].shape[1:]) if isinstance(node, Conv) else 0
