"""Models in half precision as models of float32: superlip quantizes from there, whatever the file's numbers are."""

from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper

from superlip.graph.apart import is_apart

__all__ = ["widen"]

_DTYPE = ("to", "dtype", "output_dtype")
"""Attributes that name the type of a result."""


def widen(model: ModelProto, weights: dict[str, NDArray] | None = None) -> bool:
    """Turn all of a model's float16 to float32, in place; whether there was any.

    Parameters
    ----------
    model : ModelProto
        Local functions inlined.
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only; changed in place.
    """
    graph, found = model.graph, False
    for info in (*graph.input, *graph.output):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT16:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
            found = True
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT16:
            if weights is not None and is_apart(tensor):
                weights[tensor.name] = weights[tensor.name].astype("float32")
                tensor.data_type = TensorProto.FLOAT
            else:
                wide = numpy_helper.to_array(tensor).astype("float32")
                tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
            found = True
    for node in graph.node:
        for attribute in node.attribute:
            is_type = attribute.type == AttributeProto.INT and attribute.name in _DTYPE
            if is_type and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
                found = True
    if found:
        del graph.value_info[:]
    return found
