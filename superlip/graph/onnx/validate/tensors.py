"""Tensors of the file: shape, type and data agree, and all are dense."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from superlip.graph.apart import Weights, is_apart
from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import label

from .graph import check_kinds

__all__ = ["LARGEST_TENSOR", "check_tensors", "constants_of", "make_plain", "too_large"]

LARGEST_TENSOR = 1 << 28
"""Elements of the largest tensor that is accepted: 1 GiB in float32."""
_ELEMENTS = {  # field of the values that are not in raw_data, values for one element
    TensorProto.FLOAT: ("float_data", 1), TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1), TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.UINT32: ("uint64_data", 1), TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.INT64: ("int64_data", 1), TensorProto.STRING: ("string_data", 1),
}  # fmt: skip
_HALF_BYTES = (TensorProto.UINT4, TensorProto.INT4)


def check_tensors(model: ModelProto) -> None:
    """Refuse constants whose shape, type and data don't agree, and what is no tensor.

    Raises
    ------
    ModelError
    """
    if any(isinstance(text, bytes) for text in _texts(model)):  # protobuf gives text that is none as bytes
        raise ModelError("the model has names that are no UTF-8 text: the file is damaged")
    for entry in model.opset_import:
        if not 0 < entry.version < 1 << 31:
            raise ModelError(f"opset {entry.version} of the domain {entry.domain!r} is none")
    for where, tensor in _tensors(model):
        _check_tensor(tensor, where)
    check_kinds(model.graph)


def make_plain(graph: GraphProto, weights: dict[str, NDArray] | None = None) -> None:
    """Sparse constants as dense ones, and zero points in the shape of their scales, in place.

    ``weights`` has the numbers of those that the graph has by name only.

    Raises
    ------
    ModelError
        If a sparse constant's indices don't fit it.
    """
    _make_dense(graph)
    _shape_zero_points(graph, weights or {})


def _texts(model):
    """Names of all kinds."""
    graph = model.graph
    yield from (graph.name, *(o.domain for o in model.opset_import))
    yield from (thing.name for thing in (*graph.input, *graph.output, *graph.initializer, *graph.value_info))
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute))


def _tensors(model):
    """(what it is, TensorProto) of every tensor in the file."""
    graph = model.graph
    for tensor in graph.initializer:
        yield f"constant {tensor.name!r}", tensor
    for sparse in graph.sparse_initializer:
        yield f"sparse constant {sparse.values.name!r}", sparse.values
        yield f"indices of the sparse constant {sparse.values.name!r}", sparse.indices
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        for attribute in node.attribute:
            tensors = [attribute.t] if attribute.HasField("t") else []
            for tensor in (*tensors, *attribute.tensors):
                yield f"{label(node)}: its attribute {attribute.name!r}", tensor


def _check_tensor(tensor, where):
    """Dimensions, type and the length of the data agree, and there is memory for it."""
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise ModelError(f"{where} has the type {tensor.data_type}, which ONNX does not know")
    kind = TensorProto.DataType.Name(tensor.data_type)
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise ModelError(f"{where} has a negative dimension: {shape}")
    if tensor.data_type == TensorProto.STRING and tensor.HasField("raw_data"):
        raise ModelError(f"{where} is of type STRING and has raw data: text has none")
    if tensor.data_location == TensorProto.EXTERNAL and not tensor.HasField("raw_data"):
        raise ModelError(f"{where} has its data in another file that was not read: load the model from its file")
    count = math.prod(shape)
    field, factor = _ELEMENTS.get(tensor.data_type, ("int32_data", 1))
    if tensor.HasField("raw_data"):
        try:
            size = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
        except (KeyError, TypeError):
            raise ModelError(f"{where} is of type {kind}, which is not supported") from None
        given, wanted, unit = len(tensor.raw_data), count * size, "bytes"
        if tensor.data_type in _HALF_BYTES:
            wanted = -(-count // 2)
    else:
        given, wanted, unit = len(getattr(tensor, field)), count * factor, "values"
        if tensor.data_type in _HALF_BYTES:
            wanted = -(-count // 2)
    if given != wanted:
        raise ModelError(f"{where} has shape {shape} of {kind.lower()}, {wanted:,} {unit}, but holds {given:,}")
    if count > LARGEST_TENSOR:
        raise ModelError(too_large(where, shape))


def too_large(what: str, shape: Sequence[int]) -> str:
    count = math.prod(size or 1 for size in shape)
    return (
        f"{what} has shape {shape}, {count:,} elements; at most {LARGEST_TENSOR:,} (1 GiB in float32) are supported in "
        f"one tensor"
    )


def _make_dense(graph):
    """Sparse constants as dense ones, in place."""
    for sparse in graph.sparse_initializer:
        name, shape = sparse.values.name, tuple(sparse.dims)
        if any(size < 0 for size in shape) or math.prod(shape) > LARGEST_TENSOR:
            raise ModelError(too_large(f"sparse constant {name!r}", shape))
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        dense = np.zeros(shape, values.dtype)
        try:
            at = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
            if (np.asarray(at) < 0).any():
                raise ValueError
            dense.reshape(-1)[at] = values
        except (ValueError, IndexError, TypeError):
            raise ModelError(f"sparse constant {name!r}: its indices don't fit its shape {shape} and values") from None
        graph.initializer.append(numpy_helper.from_array(dense, name))
    del graph.sparse_initializer[:]


def _shape_zero_points(graph, weights):
    """Zero points in the shape of their scales, in place: ONNX Runtime takes another one, if it never looks at it."""
    found = _constant_tensors(graph)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) > 2:
            scale, zero = (found.get(name) for name in node.input[1:3])
            if scale is not None and zero is not None and math.prod(scale.dims) == math.prod(zero.dims):
                zero.dims[:] = scale.dims
                if is_apart(zero):
                    weights[zero.name] = weights[zero.name].reshape(scale.dims)


def _constant_tensors(graph):
    """TensorProtos of constants by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return found


def constants_of(graph: GraphProto, weights: Weights | None = None) -> dict[str, NDArray]:
    """Constants by name, as numpy arrays; ``weights`` has those that the graph has by name only."""
    tensors = {name: t for name, t in _constant_tensors(graph).items() if t.data_type != TensorProto.STRING}
    found = {name: numpy_helper.to_array(t) for name, t in tensors.items() if not is_apart(t)}
    found |= weights or {}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            numbers = (a for a in node.attribute if a.name in ("value_float", "value_floats"))
            found.update((node.output[0], np.array(list(a.floats) or a.f, np.float32)) for a in numbers)
    return found
