"""Whole graphs through the golden."""

import numpy as np

from superlip.ops import apply, spec_of

__all__ = ["run", "quantize_input", "dequantize", "own_numbers", "work_of"]


def run(graph, quantized, progress=None):
    """Compute every value of a graph.

    Parameters
    ----------
    graph : ir.Graph
    quantized : ndarray int8, shape (B, C, H, W) or (C, H, W)
        The graph's input: what ``quantize_input`` makes of images.
    progress : callable of float, optional
        Told the part that is done.

    Returns
    -------
    dict of str to ndarray
        By value name, shape (B, C, H, W), int8; host values as the host gives them.
    """
    if quantized.dtype != np.int8:
        raise TypeError(f"the golden takes int8, not {quantized.dtype}: quantize_input makes it of images")
    results = {graph.input: _batch(graph, quantized)}
    work = np.cumsum([_work(graph, node) for node in graph.nodes])
    for node, done in zip(graph.nodes, work, strict=True):
        results[node.output] = apply(node, [results[name] for name in node.inputs], graph.values)
        if progress is not None:
            progress(float(done / work[-1]))
    return results


def work_of(graph):
    """About how many multiplications one image takes."""
    return float(sum(_work(graph, node) for node in graph.nodes))


def _work(graph, node):
    return spec_of(node).work(graph.values[node.output])


def quantize_input(graph, images):
    """Images as the model's own input takes them, as the graph's int8 numbers.

    Numbers for a float input, of any type, are real ones: clip(rint(x / scale) + zero_point), as QuantizeLinear does.
    For an input that is int8 or uint8 itself (``graph.onnx_input_type``), integers of that type are its own numbers
    (uint8 less 128), and floating-point ones are real numbers.

    Parameters
    ----------
    graph : ir.Graph
    images : ndarray, shape (B, C, H, W), or as the model's input has it; without B: one image

    Returns
    -------
    ndarray int8, shape (B, C, H, W)

    Raises
    ------
    ValueError
        If the shape is another, or integers are not of the input's own type.
    """
    images = np.asarray(images)
    if graph.onnx_input_type == "float32" or images.dtype.kind == "f":
        return _batch(graph, _quantize(graph.values[graph.input], images), graph.onnx_input_order)
    if images.dtype != graph.onnx_input_type:
        raise ValueError(f"{graph.name} takes images of {graph.onnx_input_type} or real numbers, not {images.dtype}")
    return _batch(graph, images if images.dtype == np.int8 else (images ^ 0x80).view(np.int8), graph.onnx_input_order)


def own_numbers(graph, images, quantized):
    """Images in the type of the model's own input."""
    if graph.onnx_input_type == "float32":
        return np.asarray(images, np.float32).reshape(quantized.shape)
    if graph.onnx_input_order:
        quantized = np.ascontiguousarray(quantized.transpose(0, *(1 + np.argsort(graph.onnx_input_order))))
    return quantized if graph.onnx_input_type == "int8" else quantized.view(np.uint8) ^ 0x80


def _quantize(value, reals):
    """Real numbers as int8 of a value."""
    scaled = np.rint(reals.astype(np.float32) / np.float32(value.scale))
    return np.clip(scaled + np.float32(value.zero_point), -128, 127).astype(np.int8)


def dequantize(graph, name, array):
    """int8 of the value ``name`` to float32: (q - zero_point) * scale; host values are returned as they are."""
    value = graph.values[name]
    if value.is_float:
        return array
    return (array.astype(np.int32) - value.zero_point).astype(np.float32) * np.float32(value.scale)


def _batch(graph, images, order=()):
    """As (B, C, H, W): the same bytes where the model's own input has fewer axes; or another ``order`` of its axes."""
    shape = graph.values[graph.input].shape
    own = graph.onnx_input_shape or shape
    shapes = (own,) if order else (shape, own)
    if images.shape in shapes:
        images = images[None]
    if images.shape[1:] not in shapes:
        raise ValueError(f"{graph.name} takes images of shape (B, {', '.join(map(str, own))}), not {images.shape}")
    if order:
        images = images.transpose(0, *(1 + axis for axis in order))
    return np.ascontiguousarray(images.reshape(-1, *shape))
