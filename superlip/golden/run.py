"""Whole graphs through the golden."""

import numpy as np

from .ops import apply

__all__ = ["run", "quantize_input", "dequantize"]


def run(graph, images, progress=None):
    """Compute every value of a graph.

    Parameters
    ----------
    graph : ir.Graph
    images : ndarray, shape (B, C, H, W) or (C, H, W)
        int8: as the graph's input. Floating point: quantized first.
    progress : callable of float, optional
        Told the part that is done.

    Returns
    -------
    dict of str to ndarray
        By value name, shape (B, C, H, W), int8; host values as the host gives them.
    """
    if np.asarray(images).dtype != np.int8:
        images = quantize_input(graph, images)
    images = _batch(graph, images)
    results = {graph.input: images}
    work = np.cumsum([_work(graph, node) for node in graph.nodes])
    for node, done in zip(graph.nodes, work, strict=True):
        results[node.output] = apply(node, [results[name] for name in node.inputs], graph.values)
        if progress is not None:
            progress(float(done / work[-1]))
    return results


def _work(graph, node):
    """About how long a node takes: products, or values."""
    values = np.prod(graph.values[node.output].shape)
    return values * (node.weights[0].size if hasattr(node, "weights") else 4)


def quantize_input(graph, images):
    """Float images to the graph's int8 input: clip(rint(x / scale) + zero_point), as QuantizeLinear does.

    uint8 arrays are taken as numbers of the model's own type (the model's uint8 input less 128).
    """
    value = graph.values[graph.input]
    images = np.asarray(images)
    if images.dtype == np.int8:
        return _batch(graph, images)
    if images.dtype == np.uint8 and value.is_unsigned:
        return _batch(graph, (images ^ 0x80).view(np.int8))
    scaled = np.rint(images.astype(np.float32) / np.float32(value.scale))
    return _batch(graph, np.clip(scaled + np.float32(value.zero_point), -128, 127).astype(np.int8))


def dequantize(graph, name, array):
    """int8 of the value ``name`` to float32: (q - zero_point) * scale; host values are returned as they are."""
    value = graph.values[name]
    if value.is_float:
        return array
    return (array.astype(np.int32) - value.zero_point).astype(np.float32) * np.float32(value.scale)


def _batch(graph, images):
    shape = graph.values[graph.input].shape
    if images.ndim == 3 and images.shape == shape:
        images = images[None]
    if images.shape[1:] != shape and images.ndim != 4 and images[0].size == np.prod(shape):
        images = images.reshape(-1, *shape)
    if images.shape[1:] != shape:
        raise ValueError(f"{graph.name} takes images of shape (B, {', '.join(map(str, shape))}), not {images.shape}")
    return np.ascontiguousarray(images)
