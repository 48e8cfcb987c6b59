"""Small helpers over onnx protobufs."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from superlip.graph.errors import ModelError

__all__ = [
    "attributes", "constants", "name_nodes", "operator", "opset", "shapes", "small_model", "static_shape",
    "typed",
]  # fmt: skip


def attributes(node):
    """Attributes of a node as a dict of Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def operator(node):
    """An operator's full name: ``domain::operator``, without the domain where it is ONNX's own."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def constants(graph):
    """Initializers and Constant nodes of a graph, as numpy arrays by name."""
    found = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = constant_value(node)
    return found


def constant_value(node):
    """Value of a Constant node."""
    for a in node.attribute:
        value = helper.get_attribute_value(a)
        if a.name == "value":
            return numpy_helper.to_array(value)
        if a.name in ("value_float", "value_floats"):
            return typed(value, "float32")
        if a.name in ("value_int", "value_ints"):
            return typed(value, "int64")
    raise ModelError(f"Constant node {node.name!r} holds no number")


def typed(value, dtype):
    """numpy array of ``value``."""
    return np.asarray(value, dtype)


def static_shape(value_info):
    """Shape of a value info: a tuple of int, None where a dimension is symbolic; None without a shape."""
    tensor = value_info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)


def shapes(model):
    """Static shapes by tensor name, by ONNX shape inference; tensors without one are left out."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # what onnx raises on an inconsistent model is not documented; the caller reports missing shapes
        graph = model.graph
    found = {i.name: tuple(i.dims) for i in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        shape = static_shape(info)
        if shape is not None and None not in shape:
            found[info.name] = shape
    return found


def name_nodes(graph):
    """Give every node a unique name, in place."""
    used = {n.name for n in graph.node if n.name}
    seen = set()
    for position, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            base = node.name or node.op_type
            node.name = next(
                n for n in (f"{base}_{position + i}" for i in range(len(graph.node) + len(used) + 1)) if n not in used
            )
            used.add(node.name)
        seen.add(node.name)


def opset(model):
    """Opset imports of a model as a dict of domain to version."""
    return {o.domain: o.version for o in model.opset_import}


def small_model(nodes, inputs, outputs, initializers, opsets, ir_version=10):
    """Serialized model of a few nodes.

    Parameters
    ----------
    nodes : list of NodeProto
    inputs : list of (name, tensor type, shape)
    outputs : list of name or ValueInfoProto
    initializers : dict of str to ndarray
    opsets : dict of str to int
    """
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs],
        [numpy_helper.from_array(a, name) for name, a in initializers.items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version).SerializeToString()


def reshape_model(source, result, *, is_float=False):
    """Serialized model that gives the bytes of a tensor (1, *source) as (1, *result)."""
    node = helper.make_node("Reshape", ["image", "shape"], ["result"])
    kind = onnx.TensorProto.FLOAT if is_float else onnx.TensorProto.INT8
    shape = np.array([1, *result], np.int64)
    return small_model([node], [("image", kind, [1, *source])], ["result"], {"shape": shape}, {"": 17})
