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
        accelerator can't run is a host node in both.

    Raises
    ------
    LoweringError
        If the accelerator needs a result of the host that is no int8 tensor.
    """
    nodes: list[ir.Node] = []
    behind: list[ir.Host] = []
    needed: set[str] = set()
    for node in reversed(graph.nodes):
        on_host = spec_of(node).on_host(graph.values)
        if on_host is not None and node.output not in needed:
            behind.append(on_host)
            continue
        if graph.values[node.output].is_float:
            raise LoweringError(f"{node.name}: its result is no int8 tensor, and the accelerator needs it")
        nodes.append(on_host or node)
        needed.update(node.inputs)
    return nodes[::-1], behind[::-1]
