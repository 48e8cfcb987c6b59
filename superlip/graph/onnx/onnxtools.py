"""Small helpers over onnx protobufs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from superlip.graph.apart import Weights, is_apart, skeleton
from superlip.graph.errors import ModelError

__all__ = [
    "attributes", "constant_value", "constants", "fixed_shape", "initializers", "label", "name_nodes", "operator",
    "opset", "reshape_model", "shapes", "small_model", "static_shape", "tensor_type",
]  # fmt: skip


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes of a node as a dict of Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def operator(node: NodeProto) -> str:
    """An operator's full name: ``domain::operator``, without the domain where it is ONNX's own."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def label(node: NodeProto) -> str:
    """What messages call a node: its operator and its name, or what it gives where it has none."""
    return f"{node.op_type} {(node.name or ', '.join(node.output))!r}"


def constants(graph: GraphProto, weights: Weights | None = None) -> dict[str, NDArray]:
    """Initializers and Constant nodes of a graph, as numpy arrays by name.

    ``weights`` has the numbers of those that the graph has by name only; without it these are left out.
    """
    found = initializers(graph, weights)
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = constant_value(node)
    return found


def initializers(graph: GraphProto, weights: Weights | None = None) -> dict[str, NDArray]:
    """Initializers of a graph, as numpy arrays by name; ``weights`` as for ``constants``."""
    known = weights or {}
    present = [tensor for tensor in graph.initializer if tensor.name in known or not is_apart(tensor)]
    return {i.name: known[i.name] if is_apart(i) else numpy_helper.to_array(i) for i in present}


def constant_value(node: NodeProto) -> NDArray:
    """Value of a Constant node."""
    for a in node.attribute:
        value = helper.get_attribute_value(a)
        if a.name == "value":
            return numpy_helper.to_array(value)
        if a.name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if a.name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise ModelError(f"Constant node {node.name!r} holds no number")


def tensor_type(dtype: DTypeLike) -> int:
    """ONNX's number of one of numpy's types."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def static_shape(value_info: ValueInfoProto) -> tuple[int | None, ...] | None:
    """Shape of a value info: a tuple of int, None where a dimension is symbolic; None without a shape."""
    tensor = value_info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)


def fixed_shape(value_info: ValueInfoProto) -> tuple[int, ...]:
    """Shape of a value info that has one with no symbolic dimension; ModelError where it has not."""
    shape = static_shape(value_info) or (None,)
    known = tuple(size for size in shape if size is not None)
    if len(known) < len(shape):
        raise ModelError(f"{value_info.name!r} has no fixed shape")
    return known


def shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Static shapes by tensor name, by ONNX shape inference; tensors without one are left out."""
    try:
        graph = onnx.shape_inference.infer_shapes(skeleton(model), data_prop=True).graph
    except Exception:  # what onnx raises on an inconsistent model is not documented; the caller reports missing shapes
        graph = model.graph
    found = {i.name: tuple(i.dims) for i in model.graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        shape = static_shape(info)
        if shape is not None and None not in shape:
            found[info.name] = shape
    return found


def name_nodes(graph: GraphProto) -> None:
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


def opset(model: ModelProto) -> dict[str, int]:
    """Opset imports of a model as a dict of domain to version."""
    return {o.domain: o.version for o in model.opset_import}


def small_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[int]]],
    outputs: Sequence[str | ValueInfoProto],
    constants: dict[str, NDArray],
    opsets: dict[str, int],
    ir_version: int = 10,
) -> bytes:
    """Serialized model of a few nodes.

    Parameters
    ----------
    nodes : list of NodeProto
    inputs : list of (name, tensor type, shape)
    outputs : list of name or ValueInfoProto
    constants : dict of str to ndarray
    opsets : dict of str to int
    """
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version).SerializeToString()


def reshape_model(source: Sequence[int], result: Sequence[int], dtype: DTypeLike) -> bytes:
    """Serialized model that gives the bytes of a tensor (1, *source) as (1, *result)."""
    node = helper.make_node("Reshape", ["image", "shape"], ["result"])
    shape = np.array([1, *result], np.int64)
    return small_model([node], [("image", tensor_type(dtype), [1, *source])], ["result"], {"shape": shape}, {"": 17})
