"""The convolutions of a network as the published model sees them."""

from superlip.graph import ir
from superlip.ops import spec_of

from .shapes import Layer, PaperError

__all__ = ["layers_of"]


def layers_of(graph: ir.Graph, *, dense: bool = True, b: int = 1) -> list[Layer]:
    """Shapes of the convolutions of a graph, in its order; of what is planned already: ``design.network.graph``.

    Strides, borders and dilations are left out, as the model has none of them. A dense layer is a convolution whose
    result is a single pixel, K its rows and columns before.

    Parameters
    ----------
    graph : ir.Graph
    dense : bool
        Whether convolutions with a result of a single pixel are among them.
    b : int
        Images of a batch.

    Raises
    ------
    PaperError
        If there are none.
    """
    layers = []
    for node in graph.nodes:
        spec = spec_of(node)
        if not spec.is_conv:
            continue
        (n, *_), (m, r, c) = graph.values[node.inputs[0]].shape, graph.values[node.output].shape
        if dense or (r, c) != (1, 1):
            layers.append(Layer(m=m, n=n, r=r, c=c, k=spec.window.kernel, b=b, groups=spec.groups, name=node.name))
    if not layers:
        raise PaperError(f"{graph.name} has no convolution{'' if dense else ' but dense layers'} to take the shape of")
    return layers
