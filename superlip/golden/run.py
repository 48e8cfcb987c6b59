"""Whole graphs through the golden."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superlip.graph import ir
from superlip.graph.images import input_of
from superlip.ops import apply, spec_of

__all__ = ["run", "quantize_input", "dequantize", "own_numbers", "work_of"]


def run(graph: ir.Graph, quantized: NDArray, progress: Callable[[float], None] | None = None) -> dict[str, NDArray]:
    """Compute every value of a graph.

    Parameters
    ----------
    graph : ir.Graph
    quantized : ndarray of elements, shape (B, C, H, W) or (C, H, W)
        The graph's input: what ``quantize_input`` makes of images.
    progress : callable of float, optional
        Told the part that is done.

    Returns
    -------
    dict of str to ndarray
        By value name, shape (B, C, H, W), elements; host values as the host gives them.
    """
    element = graph.values[graph.input].element
    if quantized.dtype != element.dtype:
        raise TypeError(f"the golden takes {element}, not {quantized.dtype}: quantize_input makes it of images")
    results = {graph.input: _batch(graph, quantized)}
    work = np.cumsum([_work(graph, node) for node in graph.nodes])
    for node, done in zip(graph.nodes, work, strict=True):
        results[node.output] = apply(node, [results[name] for name in node.inputs], graph.values)
        if progress is not None:
            progress(float(done / work[-1]))
    return results


def work_of(graph: ir.Graph) -> float:
    """About how many multiplications one image takes."""
    return float(sum(_work(graph, node) for node in graph.nodes))


def _work(graph: ir.Graph, node: ir.Node) -> float:
    return spec_of(node).work(graph.values[node.output])


def quantize_input(graph: ir.Graph, images: ArrayLike) -> NDArray:
    """Images as the model's own input takes them, as the graph's elements.

    Numbers for a float input, of any type, are real ones: clip(rint(x / scale) + zero_point), as QuantizeLinear does.
    For an input of integers (``graph.onnx_input_type``), integers of that type are its own numbers, and floating-point
    ones are real numbers.

    Parameters
    ----------
    graph : ir.Graph
    images : ndarray, shape (B, C, H, W), or as the model's input has it; without B: one image

    Returns
    -------
    ndarray of elements, shape (B, C, H, W)

    Raises
    ------
    ValueError
        If the shape is another, or integers are not of the input's own type.
    """
    given, value = np.asarray(images), graph.values[graph.input]
    if graph.front is not None:
        given = graph.front(given)
    if graph.parts:
        return _quantize_parts(graph, given)
    if graph.onnx_input_type == "float32" or given.dtype.kind == "f":
        return _batch(graph, value.quantize(given), graph.onnx_input_order)
    if given.dtype != graph.onnx_input_type:
        raise ValueError(f"{graph.name} takes images of {graph.onnx_input_type} or real numbers, not {given.dtype}")
    return _batch(graph, value.element.from_own(given), graph.onnx_input_order)


def _quantize_parts(graph: ir.Graph, images: NDArray) -> NDArray:
    """Images of several inputs, (B, F) or (F,), as elements, shape (B, F, 1, 1), each part in its value's order."""
    takes = input_of(graph)
    if images.shape[-1:] != takes.shape or images.ndim > 2:
        raise ValueError(f"{graph.name} takes images of shape (B, {takes.shape[0]}), not {images.shape}: {takes}")
    columns = []
    for part, own in zip(graph.parts, takes.split(np.atleast_2d(images)), strict=True):
        value = graph.values[part.value]
        elements = value.quantize(own) if part.takes.dtype == "float32" else value.element.from_own(own)
        if part.order:
            elements = elements.transpose(0, *(1 + axis for axis in part.order))
        columns.append(elements.reshape(len(own), -1))
    return np.concatenate(columns, axis=1)[:, :, None, None]


def own_numbers(graph: ir.Graph, images: ArrayLike, quantized: NDArray) -> NDArray:
    """Images as ``graph.model`` takes them: in the type of its input; of several inputs as they are, flat."""
    if graph.front is not None:
        return graph.front(images)
    if graph.parts:
        return np.atleast_2d(images)
    if graph.onnx_input_type == "float32":
        return np.asarray(images, np.float32).reshape(quantized.shape)
    if graph.onnx_input_order:
        quantized = np.ascontiguousarray(quantized.transpose(0, *(1 + np.argsort(graph.onnx_input_order))))
    element = graph.values[graph.input].element
    return element.to_own(quantized, graph.onnx_input_type == element.unsigned)


def dequantize(graph: ir.Graph, name: str, array: NDArray) -> NDArray:
    """Elements of the value ``name`` as real numbers; host values are returned as they are."""
    value = graph.values[name]
    return array if value.is_float else value.dequantize(array)


def _batch(graph: ir.Graph, images: NDArray, order: tuple[int, ...] = ()) -> NDArray:
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
