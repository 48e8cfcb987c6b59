"""Operators that take and give int8 tensors: QLinearConv and its family, and plain operators on int8."""

import numpy as np

from superlip.graph import ir
from superlip.graph.onnx.functions import affine_factors
from superlip.graph.onnx.onnxtools import attributes

from . import emit
from .float_functions import affine
from .states import Unsupported
from .tables import operator_table
from .weights import dense_weights, int8_weights

__all__ = ["QOPERATOR_OPS"]

_ANY = (-128, 127)


def _constant(importer, name, what):
    value = importer.const(name)
    if value is None:
        raise Unsupported(f"{what} must be constant")
    return value


def _inputs(node):
    """Names of a node's inputs, "" for those at its end that were left out."""
    return [*node.input, *[""] * 9]


def _operand(importer, node, position, scale, zero_point):
    """View of an int8 operand with the scale and zero point that the node says it has."""
    name = node.input[position]
    view = importer.view(name)
    if view is None:
        raise Unsupported(importer.why_not(name))
    return importer.reinterpret(view, _params(importer, scale, zero_point), name, (node.name,))


def _params(importer, scale, zero_point):
    """Params of an operand or result; without a zero point ONNX Runtime runs few of the operators."""
    if not zero_point:
        raise Unsupported(
            "a zero point is missing; write it, even where it is 0: it says whether int8 or uint8 is meant"
        )
    return importer.params(scale, zero_point)


def _qlinear_conv(importer, node):
    i = _inputs(node)
    view = _operand(importer, node, 0, i[1], i[2])
    weights = int8_weights(
        _constant(importer, i[3], "weights"), _constant(importer, i[5], "weight zero point"), node.name
    )
    bias = _constant(importer, i[8], "bias") if i[8] else None
    operand = importer.materialize(view)
    given = attributes(node)
    if given.get("channels_last", 0):
        raise Unsupported("QLinearConv with channels_last")
    importer.views[node.output[0]] = emit.conv(
        importer, (node.name,), (operand, importer.values[operand]), view.shape, weights,
        _constant(importer, i[4], "weight scale"), bias, given, _params(importer, i[6], i[7]), node.output[0], _ANY,
    )  # fmt: skip


def _qgemm(importer, node):
    i = _inputs(node)
    view = _operand(importer, node, 0, i[1], i[2])
    given = attributes(node)
    if given.get("transA", 0):
        raise Unsupported("QGemm with transA")
    if not i[7]:
        raise Unsupported("QGemm with a float result")
    _dense(importer, node, view, i[3], i[4], i[5], i[6], bool(given.get("transB", 0)), i[7], i[8],
           given.get("alpha", 1.0))  # fmt: skip


def _qlinear_matmul(importer, node):
    i = _inputs(node)
    view = _operand(importer, node, 0, i[1], i[2])
    _dense(importer, node, view, i[3], i[4], i[5], "", False, i[6], i[7], 1.0)


def _dense(importer, node, view, weights, scale, zero, bias, transposed, out_scale, out_zero, alpha):
    matrix = _constant(importer, weights, "weights")
    if matrix.ndim != 2 or int(np.prod(view.shape[:-1])) != 1:
        raise Unsupported(f"{node.op_type} of a tensor of shape {view.shape}: only one vector by a matrix")
    matrix = int8_weights(dense_weights(matrix, transposed), importer.const(zero) if zero else None, node.name)
    scale = np.float32(alpha) * _constant(importer, scale, "weight scale").astype(np.float32)
    bias = _constant(importer, bias, "bias") if bias else None
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), (len(matrix),))
    importer.views[node.output[0]] = emit.dense(
        importer, (node.name,), view, matrix, scale, bias, _params(importer, out_scale, out_zero), node.output[0], _ANY,
        (*view.shape[:-1], len(matrix)),
    )  # fmt: skip


def _qlinear_average(importer, node):
    i = _inputs(node)
    view = _operand(importer, node, 0, i[1], i[2])
    given = attributes(node)
    if given.get("channels_last", 0):
        raise Unsupported(f"{node.op_type} with channels_last")
    params = _params(importer, i[3], i[4])
    if node.op_type == "QLinearAveragePool":
        result = emit.average_pool(importer, (node.name,), view, given, params, node.output[0], _ANY)
    else:
        shape = (*view.shape[:2], *(1 for _ in view.shape[2:]))
        result = emit.global_average_pool(importer, (node.name,), view, params, node.output[0], _ANY, shape)
    importer.views[node.output[0]] = result


def _qlinear_reduce_mean(importer, node):
    i = _inputs(node)
    view = _operand(importer, node, 0, i[1], i[2])
    given = attributes(node)
    rank = len(view.shape)
    if rank < 3 or sorted(a % rank for a in given.get("axes", ())) != list(range(2, rank)):
        raise Unsupported("QLinearReduceMean over other axes than rows and columns")
    shape = (*view.shape[:2], *((1,) * (rank - 2) if given.get("keepdims", 1) else ()))
    importer.views[node.output[0]] = emit.global_average_pool(
        importer, (node.name,), view, _params(importer, i[3], i[4]), node.output[0], _ANY, shape
    )


def _qlinear_binary(importer, node):
    i = _inputs(node)
    constant = [position for position in (0, 3) if i[position] in importer.consts]
    if constant:
        other = 3 - constant[0]
        view = _operand(importer, node, other, i[other + 1], i[other + 2])
        params = _params(importer, i[6], i[7])
        if importer.consts[i[constant[0]]].size != 1:
            _by_channel(importer, node, view, constant[0], params)
            return
        swapped = type(node).FromString(node.SerializeToString())
        if other:  # the table runs the node on its first operand
            del swapped.input[:]
            swapped.input.extend([*i[3:6], *i[0:3], *i[6:8]])
        table = operator_table(swapped, importer.consts, importer.params_of(view).is_unsigned, importer.opsets)
        importer.views[node.output[0]] = importer.apply_table(view, table, params, node.output[0], (node.name,))
        return
    first = _operand(importer, node, 0, i[1], i[2])
    second = _operand(importer, node, 3, i[4], i[5])
    params = _params(importer, i[6], i[7])
    function = emit.add if node.op_type == "QLinearAdd" else emit.mul
    importer.views[node.output[0]] = function(importer, (node.name,), first, second, params, node.output[0], _ANY)


def _by_channel(importer, node, view, constant, params):
    """QLinearAdd and QLinearMul of a view and a constant with one number a channel."""
    quantized, scale, zero = (importer.consts.get(name) for name in node.input[constant : constant + 3])
    if scale is None or scale.size != 1:
        raise Unsupported("the scale of a constant operand must be one constant number")
    real = (quantized.astype(np.float64) - (0 if zero is None else float(zero.reshape(())))) * float(scale.reshape(()))
    factors = affine_factors(node.op_type.removeprefix("QLinear"), real, len(view.shape), constant == 0)
    if factors is None:
        raise Unsupported(f"{node.op_type} with a constant of shape {quantized.shape}: one number, or one a channel")
    pending = affine(importer, node, view, *factors)
    importer.views[node.output[0]] = pending.finish(params, node.output[0], *_ANY, pending.names)


def _qlinear_table(importer, node):
    i = _inputs(node)
    view = _operand(importer, node, 0, i[1], i[2])
    params = _params(importer, i[3], i[4])
    table = operator_table(node, importer.consts, importer.params_of(view).is_unsigned, importer.opsets)
    importer.views[node.output[0]] = importer.apply_table(view, table, params, node.output[0], (node.name,))


def _qlinear_concat(importer, node):
    i = node.input
    params = _params(importer, i[0], i[1])
    views = [_operand(importer, node, p, i[p + 1], i[p + 2]) for p in range(2, len(i), 3)]
    if len(views) == 1:
        importer.views[node.output[0]] = importer.requantize(views[0], params, node.output[0], (node.name,))
        return
    whole = emit.joined_view(importer, views, attributes(node).get("axis", 1), node.name)
    if whole is not None:
        importer.views[node.output[0]] = importer.requantize(whole, params, node.output[0], (node.name,))
        return
    values = emit.concat_axis(importer, views, attributes(node).get("axis", 1))
    shape = list(views[0].shape)
    shape[1] = sum(v.shape[1] for v in views)
    image = (sum(importer.values[v].shape[0] for v in values), *importer.values[values[0]].shape[1:])
    importer.views[node.output[0]] = emit.concat(
        importer, (node.name,), views, values, node.output[0], image, shape, params, _ANY
    )


def _max_pool(importer, node):
    view = importer.view(node.input[0])
    importer.views[node.output[0]] = emit.max_pool(importer, node, view, attributes(node))


def _concat(importer, node):
    """Concat of int8 tensors moves bytes: the operands must agree in scale and zero point."""
    views = [importer.view(name) for name in node.input]
    if None in views:
        raise Unsupported(importer.why_not(node.input[views.index(None)]))
    params = [importer.params_of(v) for v in views]
    if any(p != params[0] for p in params):
        raise Unsupported("Concat of int8 tensors with different scales")
    whole = emit.joined_view(importer, views, attributes(node).get("axis", 1), node.name)
    if whole is not None:
        importer.views[node.output[0]] = whole
        return
    values = emit.concat_axis(importer, views, attributes(node).get("axis", 1))
    shape = list(views[0].shape)
    shape[1] = sum(v.shape[1] for v in views)
    image = (sum(importer.values[v].shape[0] for v in values), *importer.values[values[0]].shape[1:])
    importer.views[node.output[0]] = importer.emit(
        ir.Concat, (node.name,), values, node.output[0], image, shape, params[0], tables=(None,) * len(values)
    )


def _clip(importer, node):
    """Clip and Relu of int8 tensors, in the model's own numbers."""
    view = importer.view(node.input[0])
    params = importer.params_of(view)
    offset = 128 * params.is_unsigned
    low, high = (0, None) if node.op_type == "Relu" else (
        *(None if len(node.input) <= p or not node.input[p] else int(_constant(importer, node.input[p], "a bound"))
          for p in (1, 2)),
    )  # fmt: skip
    numbers = np.arange(256, dtype=np.uint8).view(np.int8)
    table = np.clip(numbers, -128 if low is None else low - offset, 127 if high is None else high - offset)
    importer.views[node.output[0]] = importer.apply_table(
        view, table.astype(np.int8), params, node.output[0], (node.name,)
    )


QOPERATOR_OPS = {
    "QLinearConv": _qlinear_conv,
    "QGemm": _qgemm,
    "QLinearMatMul": _qlinear_matmul,
    "QLinearAveragePool": _qlinear_average,
    "QLinearGlobalAveragePool": _qlinear_average,
    "QLinearReduceMean": _qlinear_reduce_mean,
    "QLinearAdd": _qlinear_binary,
    "QLinearMul": _qlinear_binary,
    "QLinearSigmoid": _qlinear_table,
    "QLinearLeakyRelu": _qlinear_table,
    "QLinearConcat": _qlinear_concat,
    "MaxPool": _max_pool,
    "Concat": _concat,
    "Relu": _clip,
    "Clip": _clip,
}
