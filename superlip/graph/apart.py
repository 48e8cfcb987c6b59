"""Large constants beside a model: its protobuf has their names, types and shapes, numpy arrays have the numbers.

A protobuf copies what it holds whenever it changes hands; arrays are shared by all that is made of one model.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

__all__ = ["SMALL", "Weights", "is_apart", "skeleton", "take_apart", "tensors_of", "whole"]

Weights = Mapping[str, NDArray]
"""Constants by name, read only."""

SMALL = 1024
"""Constants up to this many elements stay in the model: they may be shapes, axes or scales, and decide over shapes."""

_PLAIN = frozenset([
    TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32,
    TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
])  # fmt: skip
"""Types whose numbers are taken out of a model."""


def take_apart(model: ModelProto) -> tuple[ModelProto, dict[str, NDArray]]:
    """(the model without the numbers of its large constants, these by name); the model given stays as it is."""
    light = ModelProto()
    _copy_fields(model, light, "graph")
    _copy_fields(model.graph, light.graph, "initializer")
    weights = {}
    for given in model.graph.initializer:
        tensor = _read(given)
        if tensor.data_type in _PLAIN and math.prod(tensor.dims) > SMALL:
            weights[tensor.name] = numpy_helper.to_array(tensor)
            light.graph.initializer.append(_placeholder(tensor.name, tensor.data_type, tensor.dims))
        else:
            light.graph.initializer.append(tensor)
    return light, weights


def _read(tensor):
    """A constant that came from a file of its own, without saying so: its data are here."""
    if not is_apart(tensor):
        return tensor
    read = TensorProto()
    read.CopyFrom(tensor)
    read.ClearField("data_location")
    read.ClearField("external_data")
    return read


def _copy_fields(source: Any, target: Any, without: str) -> None:
    for field, value in source.ListFields():
        if field.name == without:
            continue
        if isinstance(value, str | bytes | int | float):
            setattr(target, field.name, value)
        elif isinstance(value, Message):
            getattr(target, field.name).CopyFrom(value)
        else:
            getattr(target, field.name).extend(value)


def skeleton(model: ModelProto) -> ModelProto:
    """The model without its large constants: they become inputs of the same shape, for whom shapes alone matter to."""
    graph = model.graph
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    light.graph.name = graph.name or "model"
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light


def is_apart(tensor: TensorProto) -> bool:
    """Whether a constant of a model is there by name, type and shape only."""
    return tensor.data_location == TensorProto.EXTERNAL


def tensors_of(constants: Mapping[str, ArrayLike]) -> Iterator[TensorProto]:
    """Constants as a model without the numbers of its large ones has them."""
    for name, numbers in constants.items():
        array = np.asarray(numbers)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype) if array.size > SMALL else TensorProto.UNDEFINED
        yield _placeholder(name, kind, array.shape) if kind in _PLAIN else numpy_helper.from_array(array, name)


def whole(light: ModelProto | bytes, weights: Weights) -> bytes:
    """The serialized model with all numbers in it."""
    model = ModelProto()
    if isinstance(light, bytes):
        model.ParseFromString(light)
    else:
        model.CopyFrom(light)
    for tensor in model.graph.initializer:
        if is_apart(tensor):
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return model.SerializeToString()


def _placeholder(name, kind, shape):
    tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="superlip")  # without one, ONNX takes the model for a broken one
    return tensor
