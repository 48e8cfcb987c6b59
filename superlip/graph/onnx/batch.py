"""A model with a fixed batch as the model of one image."""

import math

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from superlip.graph.apart import skeleton
from superlip.graph.errors import ModelError, one_line

from .onnxtools import constants, static_shape

__all__ = ["set_batch"]

_TARGETS = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Operators with an operand that says the shape of their result."""
_OF_SHAPES = frozenset(["Shape", "Size"])
"""Operators that look at their operand's shape alone."""


def set_batch(model: ModelProto) -> None:
    """Let a model take one image at a time, in place, also where its nodes name a batch.

    Parameters
    ----------
    model : ModelProto
        Its inputs are images, of one batch.

    Raises
    ------
    ModelError
        If a node mixes the images of its batch, or inputs have different ones; the text names it.
    """
    images = list(model.graph.input)
    batches = {(static_shape(image) or (None,))[0]: image.name for image in images}
    batch = max((size for size in batches if size is not None), default=None)
    if batch is not None and batch > 1 and len(batches) > 1:
        found = ", ".join(f"{name!r} {'open' if size is None else size}" for size, name in batches.items())
        raise ModelError(f"the model's inputs have different batches ({found}): export it with a batch of 1 for all")
    for image in images:
        image.type.tensor_type.shape.dim[0].dim_value = 1
    if batch == 1:
        return
    for output in model.graph.output:  # shapes that mention the old batch
        if output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.ClearField("shape")
    if batch is not None and batch > 1:
        _fold(model, images, batch)


def _fold(model, images, batch):
    """Put 1 where constants name the batch, and compare the sizes of all tensors before and after."""
    sizes = [image.type.tensor_type.shape.dim[0] for image in images]
    for size in sizes:
        size.dim_value = batch
    before = _shapes(model, strict=False)
    for size in sizes:
        size.dim_value = 1
    _change_targets(model.graph, before, batch)
    try:
        after = _shapes(model, strict=True)
    except Exception as error:
        raise ModelError(f"the model has a fixed batch of {batch} and can't be run with 1: {one_line(error)}") from None
    for node in model.graph.node:
        if not _is_of_one_image(node, before, after, batch):
            raise ModelError(
                f"{node.op_type} {node.name!r} mixes the images of the model's fixed batch of {batch}: export the "
                f"model with a batch of 1, or with one that is not fixed"
            )


def _is_of_one_image(node, before, after, batch):
    """Whether a node's result is a batch-th of what it was, or as large as before where its operands are."""
    sizes = _sizes(node.output[0], before, after)
    if node.op_type == "Reshape" and None not in (sizes[1], after.get(node.input[0])):
        return sizes[1] == math.prod(after[node.input[0]])  # reshaping changes no size
    if None in sizes or sizes[0] == sizes[1] * batch:
        return True
    operands = [_sizes(name, before, after) for name in node.input if name in before and name in after]
    return sizes[0] == sizes[1] and (node.op_type in _OF_SHAPES or all(one == other for one, other in operands))


def _sizes(name, before, after):
    """Elements of a tensor in a batch and in one image, each None where it is not known."""
    return [math.prod(found[name]) if name in found else None for found in (before, after)]


def _change_targets(graph, shapes, batch):
    found = constants(graph)
    for node in graph.node:
        position = _TARGETS.get(node.op_type)
        if position is None or len(node.input) <= position or node.input[position] not in found:
            continue
        target = found[node.input[position]].copy()
        if target.ndim == 1 and target.size and target[0] == batch and _has_batch(node, shapes, batch):
            target[0] = 1
            name = f"{node.name}/one_image"
            graph.initializer.append(numpy_helper.from_array(np.asarray(target), name))
            node.input[position] = name


def _has_batch(node, shapes, batch):
    """A reshape keeps the batch apart where its operand does; other operators make a new one."""
    return node.op_type != "Reshape" or shapes.get(node.input[0], (None,))[0] == batch


def _shapes(model, *, strict):
    graph = onnx.shape_inference.infer_shapes(skeleton(model), data_prop=True, strict_mode=strict).graph
    shapes = {info.name: static_shape(info) for info in (*graph.input, *graph.value_info, *graph.output)}
    return {name: shape for name, shape in shapes.items() if shape and None not in shape}
