"""What a model does to its image in floating point before anything is quantized: the host does it, too.

Normalization, a change of type, the order of axes: nodes in a row from the input on, each with constants for its other
operands. They are cut off, and the network begins behind them.
"""

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from superlip.graph.apart import Weights, skeleton
from superlip.graph.given import Front, Given
from superlip.graph.images import ImageInput

from .functions import ELEMENTWISE
from .onnxtools import constants, fixed_shape, shapes
from .views import LAYOUT_OPS

__all__ = ["cut_front"]

_OPS = ELEMENTWISE | LAYOUT_OPS | {"Cast", "BatchNormalization"}


def cut_front(
    model: ModelProto, *, is_quantized: bool, weights: Weights | None = None
) -> tuple[Front, list[str]] | None:
    """Cut off what comes in front of the first QuantizeLinear, or of a float model whose input has another type.

    Parameters
    ----------
    model : ModelProto
        Normalized and validated; changed in place.
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only.

    Returns
    -------
    (Front, names of its nodes), or None where there is nothing to cut: the model is as it was
    """
    graph = model.graph
    if len(graph.input) != 1:
        return None
    info = graph.input[0]
    is_float = info.type.tensor_type.elem_type == TensorProto.FLOAT
    nodes, last, readers = _chain(model, info.name, weights)
    if is_quantized != is_float or not nodes or all(node.op_type in LAYOUT_OPS for node in nodes):
        return None
    if is_quantized and {node.op_type for node in readers} != {"QuantizeLinear"}:
        return None
    found = onnx.shape_inference.infer_shapes(skeleton(model), data_prop=True).graph.value_info
    kinds = {value.name: value.type.tensor_type.elem_type for value in found}
    sizes = shapes(model)
    if kinds.get(last) != TensorProto.FLOAT or last not in sizes or sizes[last][:1] != (1,):
        return None
    dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name
    takes = ImageInput(info.name, fixed_shape(info)[1:], dtype)
    taken = {name for node in nodes for name in node.input}
    own = {name: array for name, array in (weights or {}).items() if name in taken}
    front = Front(Given(_model_of(model, nodes, last), info.name, weights=own), takes, last)
    inside = {node.name for node in nodes}
    kept = [node for node in graph.node if node.name not in inside]
    del graph.node[:], graph.input[:]
    graph.node.extend(kept)
    graph.input.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, sizes[last]))
    return front, [node.name for node in nodes]


def _chain(model: ModelProto, name: str, weights: Weights | None) -> tuple[list[NodeProto], str, list[NodeProto]]:
    """Nodes in a row from a tensor on, each alone with what is before it; the last one's result, and who takes that."""
    known = constants(model.graph, weights)
    outputs = {info.name for info in model.graph.output}
    nodes: list[NodeProto] = []
    while True:
        readers = [node for node in model.graph.node if name in node.input]
        if len(readers) != 1 or name in outputs or readers[0].op_type not in _OPS:
            return nodes, name, readers
        (node,) = readers
        others = [operand for operand in node.input if operand and operand != name]
        if list(node.input).count(name) != 1 or len(node.output) != 1 or not all(other in known for other in others):
            return nodes, name, readers
        nodes.append(node)
        name = node.output[0]


def _model_of(model: ModelProto, nodes: list[NodeProto], result: str) -> bytes:
    """Serialized model of the nodes, from the input to ``result``."""
    cut = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    cut.graph.name = "front"
    used = {name for node in nodes for name in node.input}
    cut.graph.node.extend(n for n in model.graph.node if n.op_type == "Constant" and n.output[0] in used)
    cut.graph.node.extend(nodes)
    cut.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    cut.graph.input.extend(model.graph.input)
    cut.graph.output.append(onnx.ValueInfoProto(name=result))
    return cut.SerializeToString()
