"""Outputs of a network by the golden, as the model itself would give them."""

import numpy as np

from .run import dequantize, quantize_input, run

__all__ = ["own_outputs", "predict_graph"]


def predict_graph(graph, images, *, progress=None):
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


def own_outputs(graph, values):
    """Values of the quantized graph as the model's outputs.

    Parameters
    ----------
    graph : ir.Graph
    values : dict of str to ndarray
        With all of ``graph.outputs``: int8, shape (B, C, H, W), or what the host computed.

    Returns
    -------
    dict of str to ndarray, shape (B, ...)
        By the model's output names (of a graph that comes from no model: by its own), each image's in the shape that
        the model gives it: float32, or the model's own int8 or uint8 where its output is one.
    """
    outputs = {}
    for name, tensor in zip(graph.outputs, graph.onnx_outputs or graph.outputs, strict=True):
        value, array = graph.values[name], values[name]
        if tensor in graph.integer_outputs:
            array = array.view(np.uint8) ^ 0x80 if value.is_unsigned else array
        else:
            array = dequantize(graph, name, array)
        shape = graph.onnx_output_shapes.get(tensor, array.shape)
        outputs[tensor] = array.reshape(len(array), *shape[1:]) if shape[:1] == (1,) else array
    return outputs
