"""Operators of float models between DequantizeLinear and QuantizeLinear."""

import numpy as np

from superlip.graph import ir
from superlip.graph.onnx.functions import ELEMENTWISE
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import image_shape

from . import emit
from .float_functions import batch_norm, binary, elementwise, prelu, sum_of_two
from .states import Pending, Unsupported
from .weights import biased, dense_weights, int8_weights, quantized_weights

__all__ = ["FLOAT_OPS"]


def _conv(importer, node):
    view = importer.view(node.input[0])
    found = quantized_weights(importer, node.input[1])
    if view is None or found is None:
        return None
    weights, scale, zero, axis = found
    if scale.size > 1 and axis % weights.ndim != 0:
        raise Unsupported("Conv weights quantized along another axis than the output channels")
    weights = int8_weights(weights, zero, node.name)
    given = attributes(node)
    size = emit.geometry(given, view.shape, weights.shape[2:], "Conv")["size"]
    bias_name = node.input[2] if len(node.input) > 2 else ""

    def finish(params, tensor, low, high, names):
        operand = importer.materialize(view)
        source = importer.values[operand]
        return emit.conv(
            importer, names, (operand, source), view.shape, *biased(importer, bias_name, source, weights, scale), given,
            params, tensor, (low, high),
        )  # fmt: skip

    return Pending(finish, (1, len(weights), *size), (node.name,))


def _gemm(importer, node):
    view = importer.view(node.input[0])
    found = quantized_weights(importer, node.input[1])
    if view is None or found is None:
        return None
    weights, scale, zero, axis = found
    given = attributes(node)
    if given.get("transA", 0):
        raise Unsupported("Gemm with transA; export the operand as it is multiplied")
    scale = scale * np.float32(given.get("alpha", 1.0))
    if (scale <= 0).any():
        raise Unsupported(f"alpha={given['alpha']}: only factors above 0; put the sign in the weights")
    if weights.ndim != 2 or int(np.prod(view.shape[:-1])) != 1:
        raise Unsupported(f"{node.op_type} of a tensor of shape {view.shape}: only one vector by a matrix")
    transposed = bool(given.get("transB", 0))
    if scale.size > 1 and axis % 2 != (0 if transposed else 1):
        raise Unsupported("weights quantized along another axis than the outputs")
    if zero is not None and zero.size > 1 and not transposed:
        weights = int8_weights(dense_weights(weights, transposed), zero, node.name)
    else:
        weights = dense_weights(int8_weights(weights, zero, node.name), transposed)
    bias_name = node.input[2] if len(node.input) > 2 else ""
    shape = (*view.shape[:-1], len(weights))

    def finish(params, tensor, low, high, names):
        source = importer.values[view.value]
        found = biased(importer, bias_name, source, weights, scale, given.get("beta", 1.0))
        return emit.dense(importer, names, view, *found, params, tensor, (low, high), shape)

    return Pending(finish, shape, (node.name,))


def _max_pool(importer, node):
    view = importer.view(node.input[0])
    return None if view is None else emit.max_pool(importer, node, view, attributes(node))


def _average_pool(importer, node):
    view = importer.view(node.input[0])
    if view is None:
        return None
    given = attributes(node)
    size = emit.geometry(given, view.shape, given["kernel_shape"], "AveragePool")["size"]

    def finish(params, tensor, low, high, names):
        return emit.average_pool(importer, names, view, given, params, tensor, (low, high))

    return Pending(finish, (*view.shape[:2], *size), (node.name,))


def _global_pool(importer, node):
    view = importer.view(node.input[0])
    if view is None:
        return None
    if node.op_type == "ReduceMean":
        given = attributes(node)
        axes = given.get("axes", importer.const(node.input[1]) if len(node.input) > 1 else None)
        rank = len(view.shape)
        if axes is None or sorted(int(a) % rank for a in np.ravel(axes)) != list(range(2, rank)) or rank < 3:
            raise Unsupported("ReduceMean over other axes than rows and columns")
        shape = (*view.shape[:2], *((1,) * (rank - 2) if given.get("keepdims", 1) else ()))
    else:
        shape = (*view.shape[:2], *(1 for _ in view.shape[2:]))
    if node.op_type == "GlobalMaxPool":
        value = importer.materialize(view)
        kernel = importer.values[value].shape[1:]
        return importer.emit(
            ir.Pool, (node.name,), (value,), node.output[0], image_shape(shape), shape, importer.params_of(view),
            kind="max", kernel=kernel,
        )  # fmt: skip

    def finish(params, tensor, low, high, names):
        return emit.global_average_pool(importer, names, view, params, tensor, (low, high), shape)

    return Pending(finish, shape, (node.name,))


def _concat(importer, node):
    views = [importer.view(name) for name in node.input]
    if None in views:
        return None
    if len(views) == 1:
        return views[0]
    axis = attributes(node).get("axis", 1)
    whole = emit.joined_view(importer, views, axis, node.name)
    if whole is not None:
        return whole
    values = emit.concat_axis(importer, views, axis)
    params = [importer.params_of(v) for v in views]
    shape = list(views[0].shape)
    shape[1] = sum(v.shape[1] for v in views)
    image = (sum(importer.values[v].shape[0] for v in values), *importer.values[values[0]].shape[1:])
    if all(p == params[0] for p in params):
        return importer.emit(
            ir.Concat, (node.name,), values, node.output[0], image, shape, params[0], tables=(None,) * len(values)
        )

    def finish(result, tensor, low, high, names):
        return emit.concat(importer, names, views, values, tensor, image, shape, result, (low, high))

    return Pending(finish, shape, (node.name,))


FLOAT_OPS = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _gemm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "ReduceMean": _global_pool,
    "Concat": _concat,
    "BatchNormalization": batch_norm,
    "Sum": sum_of_two,
    **{op: elementwise for op in ELEMENTWISE},
    "PRelu": prelu,
    **{op: binary for op in ("Add", "Mul", "Sub", "Div", "Pow", "Min", "Max")},
}
