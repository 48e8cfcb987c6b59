"""Outputs of a network by the golden, as the model itself would give them."""

from collections.abc import Callable, Mapping

from numpy.typing import ArrayLike, NDArray

from superlip.graph import ir

from .run import dequantize, quantize_input, run

__all__ = ["own_outputs", "predict_graph"]


def predict_graph(
    graph: ir.Graph, images: ArrayLike, *, progress: Callable[[float], None] | None = None
) -> dict[str, NDArray]:
    """The model's outputs for some images, bit-equal to those of the RTL.

    Parameters
    ----------
    graph : ir.Graph
    images : ndarray, shape (B, ...)
        As the model takes them.
    progress : callable of float, optional

    Returns
    -------
    dict of str to ndarray, shape (B, ...): see ``own_outputs``
    """
    return own_outputs(graph, run(graph, quantize_input(graph, images), progress=progress))


def own_outputs(graph: ir.Graph, values: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Values of the quantized graph as the model's outputs.

    Parameters
    ----------
    graph : ir.Graph
    values : dict of str to ndarray
        With all of ``graph.outputs``: elements, shape (B, C, H, W), or what the host computed.

    Returns
    -------
    dict of str to ndarray, shape (B, ...)
        By the model's output names (of a graph that comes from no model: by its own), each image's in the shape that
        the model gives it: float32, or the model's own integers where its output has them.
    """
    outputs = {}
    for name, tensor in zip(graph.outputs, graph.onnx_outputs or graph.outputs, strict=True):
        value, array = graph.values[name], values[name]
        if tensor in graph.integer_outputs:
            array = value.element.to_own(array, value.is_unsigned)
        else:
            array = dequantize(graph, name, array)
        shape = graph.onnx_output_shapes.get(tensor, array.shape)
        outputs[tensor] = array.reshape(len(array), *shape[1:]) if shape[:1] == (1,) else array
    return outputs
