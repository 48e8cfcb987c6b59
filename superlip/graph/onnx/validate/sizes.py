"""Sizes of all that a model makes of one image, from shapes alone."""

import math

import onnx
from onnx import ModelProto

from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import label, static_shape

from .tensors import LARGEST_TENSOR, too_large

__all__ = ["Shapes", "check_sizes", "inferred"]

Shapes = dict[str, tuple[int | None, ...]]
"""By tensor name; sizes that are no int are unknown."""

LARGEST_SUM = 1 << 29
"""Elements of all tensors that are made of one image: 2 GiB in float32, when their ranges are measured."""


def inferred(light: ModelProto) -> Shapes:
    """Shapes by tensor name, by ONNX's shape inference; entries that are no int are unknown."""
    try:
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception:  # an inconsistent model: ONNX Runtime says what is wrong
        return {}
    found: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in (*graph.value_info, *graph.input, *graph.output):
        if shape := static_shape(info):
            found[info.name] = shape
    return found


def check_sizes(light: ModelProto, shapes: Shapes) -> None:
    """No tensor of the image is too large, or empty."""
    producer = {output: label(node) for node in light.graph.node for output in node.output}
    for name in (*(i.name for i in light.graph.input), *producer):
        shape = tuple(size for size in shapes.get(name, ()) if isinstance(size, int))
        what = f"{producer[name]}: its result {name!r}" if name in producer else f"input {name!r}"
        if any(size < 0 for size in shape):
            raise ModelError(f"{what} has a negative dimension: {shape}")
        if math.prod(size or 1 for size in shape) > LARGEST_TENSOR:  # 0 hides nothing: a product of parts may overflow
            raise ModelError(too_large(what, shape))
    _check_sum(light, shapes)
    _check_empty(light, shapes)


def _check_sum(light, shapes):
    every = {name: shapes.get(name, ()) for node in light.graph.node for name in node.output}
    sizes = [math.prod(shape) for shape in every.values() if all(isinstance(size, int) for size in shape)]
    if sum(sizes) > LARGEST_SUM:
        raise ModelError(
            f"input {light.graph.input[0].name!r} of shape {shapes.get(light.graph.input[0].name)} makes results of "
            f"{sum(sizes):,} elements; at most {LARGEST_SUM:,} (2 GiB in float32) are supported: use smaller images"
        )


def _check_empty(light, shapes):
    depends = {info.name for info in light.graph.input} - {tensor.name for tensor in light.graph.initializer}
    for node in light.graph.node:
        if not depends.intersection(node.input):
            continue
        depends.update(node.output)
        for name in node.output:
            if 0 in shapes.get(name, ()):
                raise ModelError(f"{label(node)}: its result {name!r} has no elements: shape {shapes[name]}")
