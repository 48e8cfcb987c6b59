"""The model's image inputs as values of the quantized graph, quantized where the model does that first."""

import numpy as np
from onnx import TensorProto, ValueInfoProto

from superlip.graph import ir
from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import attributes, fixed_shape, tensor_type
from superlip.graph.onnx.views import LAYOUT_OPS, View, image_shape

from .importer import Importer
from .states import ModelInput, Params, Unsupported

__all__ = ["input_view", "join_inputs", "set_input", "take_inputs"]


def take_inputs(importer: Importer) -> None:
    """Find the model's image inputs, and the value of each where something says its scale before the walk begins."""
    graph = importer.model.graph
    initializers = {i.name for i in graph.initializer}
    for info in graph.input:
        if info.name not in initializers:
            try:
                _take_input(importer, info)
            except Unsupported as error:
                raise ModelError(f"input {info.name!r}: {error}") from None


def _take_input(importer: Importer, info: ValueInfoProto) -> None:
    kind = info.type.tensor_type.elem_type
    own = {tensor_type(dtype): dtype for dtype in importer.element.types}
    name, dtype = info.name, str(own.get(kind, np.dtype(np.float32)))
    taken = importer.inputs[name] = ModelInput(name, fixed_shape(info), dtype, _channels_first(importer, name))
    if kind in own:
        params = _input_params(importer, name, own[kind] == importer.element.unsigned)
        set_input(importer, taken, name, params)
        importer.views[name] = input_view(taken)
    elif kind != TensorProto.FLOAT:
        raise ModelError(f"input {name!r} must be float, {' or '.join(map(str, importer.element.types))}")
    else:
        _look_through(importer, taken)


def _look_through(importer: Importer, taken: ModelInput) -> None:
    """Quantize the input before the layout nodes and max poolings that come in front of its QuantizeLinear.

    Rounding is monotonic, so it makes no difference to what they move or select.
    """
    seen, tensors = set(), [taken.name]
    found = None
    while tensors:
        tensor = tensors.pop()
        for node in importer.model.graph.node:
            if tensor not in node.input or node.name in seen:
                continue
            seen.add(node.name)
            if node.op_type == "QuantizeLinear" and tensor == taken.name:
                return
            if node.op_type == "QuantizeLinear":
                found = found or node
            elif node.op_type in LAYOUT_OPS or node.op_type == "MaxPool":
                tensors.extend(node.output)
    if found is not None:
        set_input(importer, taken, taken.name, importer.params_made(found))
        importer.floats[taken.name] = input_view(taken)


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


def input_view(taken: ModelInput) -> View:
    """View of an input's value in the model's own order of axes."""
    if taken.value is None:
        raise ValueError(f"input {taken.name!r} has no value yet")
    if not taken.order:
        return View(taken.value, taken.shape)
    own = taken.shape[1:]
    numbers = np.arange(np.prod(own)).reshape([own[a] for a in taken.order])
    return View(taken.value, taken.shape, numbers.transpose(np.argsort(taken.order))[None])


def set_input(importer: Importer, taken: ModelInput, value: str, params: Params) -> None:
    """Make ``value`` the elements of an input."""
    own = taken.shape[1:]
    shape = image_shape((1, *(own[a] for a in taken.order or range(len(own)))))
    taken.value = value
    importer.values[value] = ir.Value(
        value, shape, float(params.scale), params.zero_point, params.is_unsigned, element=params.element
    )


def join_inputs(importer: Importer) -> tuple[str, tuple[ir.InputPart, ...]]:
    """The value that is the graph's input, and its parts where the model has several: `Part` nodes come first.

    Raises
    ------
    ModelError
        If an input is never quantized.
    """
    parts, nodes, first = [], [], 0
    for taken in importer.inputs.values():
        if taken.value is None:
            raise ModelError(f"the model's input {taken.name!r} is never quantized: no layer would be accelerated")
        if len(importer.inputs) == 1:
            return taken.value, ()
        parts.append(ir.InputPart(taken.takes, taken.value, taken.order))
        whole = importer.unique("inputs") if not nodes else nodes[0].inputs[0]
        name = importer.unique_node(f"{taken.name}/part")
        nodes.append(ir.Part(name=name, inputs=(whole,), output=taken.value, first=first))
        first += int(np.prod(importer.values[taken.value].shape))
    importer.values[whole] = ir.Value(whole, (first, 1, 1), 1.0, 0, element=importer.element)
    importer.nodes[:0] = nodes
    return whole, tuple(parts)


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
