"""The model's image input as a value of the quantized graph, quantized where the model does that first."""

import numpy as np
from onnx import TensorProto

from superlip.graph import ir
from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import attributes, fixed_shape, tensor_type
from superlip.graph.onnx.views import LAYOUT_OPS, View, image_shape

from .importer import Importer
from .states import Params

__all__ = ["input_view", "set_input", "take_input"]


def take_input(importer: Importer) -> None:
    """Find the model's image input, and its value where something says its scale before the walk begins."""
    graph = importer.model.graph
    initializers = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in initializers]
    if len(inputs) != 1:
        raise ModelError(f"the model has {len(inputs)} inputs; one image input is supported")
    info = inputs[0]
    shape = fixed_shape(info)
    importer.input, importer.input_shape = info.name, shape
    kind = info.type.tensor_type.elem_type
    own = {tensor_type(dtype): dtype for dtype in importer.element.types}
    importer.input_type = str(own.get(kind, np.dtype(np.float32)))
    importer.input_order = _channels_first(importer, info.name)
    if kind in own:
        params = _input_params(importer, info.name, own[kind] == importer.element.unsigned)
        set_input(importer, info.name, params)
        importer.views[info.name] = input_view(importer, info.name)
    elif kind != TensorProto.FLOAT:
        raise ModelError(f"input {info.name!r} must be float, {' or '.join(map(str, importer.element.types))}")
    else:
        _look_through(importer, info.name)


def _look_through(importer: Importer, name: str) -> None:
    """Quantize the input before the layout nodes and max poolings that come in front of its QuantizeLinear.

    Rounding is monotonic, so it makes no difference to what they move or select.
    """
    seen, tensors = set(), [name]
    found = None
    while tensors:
        tensor = tensors.pop()
        for node in importer.model.graph.node:
            if tensor not in node.input or node.name in seen:
                continue
            seen.add(node.name)
            if node.op_type == "QuantizeLinear" and tensor == name:
                return
            if node.op_type == "QuantizeLinear":
                found = found or node
            elif node.op_type in LAYOUT_OPS or node.op_type == "MaxPool":
                tensors.extend(node.output)
    if found is not None:
        set_input(importer, name, importer.params_made(found))
        importer.floats[name] = input_view(importer, name)


def _channels_first(importer: Importer, name: str) -> tuple[int, ...]:
    """Axes of an input, without the batch, that are C, H, W: what every reader of it transposes it to; or ()."""
    readers, orders = [name], set()
    while readers:
        tensor = readers.pop()
        for node in importer.model.graph.node:
            if tensor not in node.input:
                continue
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                readers.extend(node.output)
            else:
                perm = attributes(node).get("perm", ()) if node.op_type == "Transpose" else ()
                orders.add(tuple(p - 1 for p in perm[1:]) if perm and perm[0] == 0 else ())
    return orders.pop() if len(orders) == 1 else ()


def input_view(importer: Importer, value: str) -> View:
    """View of the input's value in the model's own order of axes."""
    if not importer.input_order:
        return View(value, importer.input_shape)
    own = importer.input_shape[1:]
    numbers = np.arange(np.prod(own)).reshape([own[a] for a in importer.input_order])
    return View(value, importer.input_shape, numbers.transpose(np.argsort(importer.input_order))[None])


def set_input(importer: Importer, name: str, params: Params) -> None:
    """Make the value ``name`` the input of the quantized graph."""
    own = importer.input_shape[1:]
    shape = image_shape((1, *(own[a] for a in importer.input_order or range(len(own)))))
    importer.value_input = name
    importer.values[name] = ir.Value(
        name, shape, float(params.scale), params.zero_point, params.is_unsigned, element=params.element
    )


def _input_params(importer: Importer, name: str, is_unsigned: bool) -> Params:
    """Scale and zero point that the first operator to name them gives to an integer input."""
    same = {name}
    for node in importer.model.graph.node:
        if node.input and node.input[0] in same and (node.op_type in LAYOUT_OPS or node.op_type == "MaxPool"):
            same.update(node.output)
        if not node.op_type.startswith(("DequantizeLinear", "QLinear", "QGemm")):
            continue
        for operand, scale, zero in zip(node.input, node.input[1:], [*node.input[2:], ""], strict=False):
            if operand in same and importer.const(scale) is not None:
                return importer.params(scale, zero, is_unsigned)
    return Params(np.float32(1), -importer.element.own_offset(is_unsigned), is_unsigned, importer.element)
