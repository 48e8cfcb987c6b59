"""What the host computes: behind the accelerator where nothing accelerated needs it, else between its operations."""

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.lowering import LoweringError

__all__ = ["divide_host"]


def divide_host(graph: ir.Graph) -> tuple[list[ir.Node], list[ir.Host]]:
    """Divide the nodes of a graph.

    Returns
    -------
    nodes, behind
        Those of the accelerator with the host's nodes that one of them needs; the host's nodes behind. What the
        accelerator can't run is a host node in both. A result in the model's own numbers stays on the host, and is
        computed again at the end, where it is needed there, too.

    Raises
    ------
    LoweringError
        If the accelerator needs a result of the host that is no int8 tensor.
    """
    nodes: list[ir.Node] = []
    behind: list[ir.Host] = []
    accelerated: set[str] = set()  # what the accelerator takes
    between: set[str] = set()  # what the host takes for that
    last: set[str] = set()  # what the host takes at the end
    for node in reversed(graph.nodes):
        on_host = spec_of(node).on_host(graph.values)
        if on_host is None:
            nodes.append(node)
            accelerated.update(node.inputs)
            continue
        is_kept = graph.values[node.output].is_float
        if node.output in accelerated and is_kept:
            raise LoweringError(f"{node.name}: its result is no integer tensor, and the accelerator needs it")
        is_between = node.output in accelerated or node.output in between
        if is_between:
            nodes.append(on_host)
            between.update(node.inputs)
        if not is_between or (is_kept and node.output in last):
            behind.append(on_host)
            last.update(node.inputs)
    return _early(nodes[::-1], graph), behind[::-1]


def _early(nodes: list[ir.Node], graph: ir.Graph) -> list[ir.Node]:
    """The nodes, the host's among them as early as can be: those that may run at one stop come together."""
    known = {graph.input}
    ordered: list[ir.Node] = []
    waiting = [node for node in nodes if _is_of_host(node, graph)]
    for node in [None, *nodes]:
        if node is not None and not _is_of_host(node, graph):
            ordered.append(node)
            known.add(node.output)
        for host in [host for host in waiting if known.issuperset(host.inputs)]:
            waiting.remove(host)
            ordered.append(host)
            known.add(host.output)
    return ordered


def _is_of_host(node: ir.Node, graph: ir.Graph) -> bool:
    return spec_of(node).on_host(graph.values) is not None
