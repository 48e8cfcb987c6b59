"""Operators that take and give integer tensors: QLinearConv and its family, and plain operators on integers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from superlip.graph.onnx.functions import affine_factors
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import View

from . import emit, pools
from .constant_tensors import constant_tensor, is_tensor
from .float_functions import affine
from .geometry import reduced_shape
from .host import integer_on_host, is_of_host
from .importer import Importer
from .states import Params, Unsupported
from .tables import operator_table
from .weights import Quantized, dense_weights, signed_parts

__all__ = ["QOPERATOR_OPS"]


def _constant(importer: Importer, name: str, what: str) -> NDArray:
    value = importer.const(name)
    if value is None:
        raise Unsupported(f"{what} must be constant")
    return value


def _inputs(node: NodeProto) -> list[str]:
    """Names of a node's inputs, "" for those at its end that were left out."""
    return [*node.input, *[""] * 9]


def _operand(importer: Importer, node: NodeProto, position: int) -> View:
    """View of an operand with the scale and zero point that follow it among the node's inputs."""
    name, scale, zero_point = _inputs(node)[position : position + 3]
    params = _params(importer, scale, zero_point)
    if importer.view(name) is None and is_of_host(importer, name):
        return integer_on_host(importer, name, params)
    return importer.reinterpret(_present(importer, name), params, name, (node.name,))


def _params(importer: Importer, scale: str, zero_point: str) -> Params:
    """Params of an operand or result; without a zero point ONNX Runtime runs few of the operators."""
    if not zero_point:
        raise Unsupported(
            f"a zero point is missing; write it, even where it is 0: it says whether "
            f"{' or '.join(map(str, importer.element.types))} is meant"
        )
    return importer.params(scale, zero_point)


def _attributes_of(node: NodeProto) -> dict[str, Any]:
    """Attributes of an operator of images, whose channels come first."""
    given = attributes(node)
    if given.get("channels_last", 0):
        raise Unsupported(f"{node.op_type} with channels_last")
    return given


def _give(importer: Importer, node: NodeProto, view: View) -> None:
    """Let a node's result be ``view``."""
    importer.views[node.output[0]] = view


def _qlinear_conv(importer: Importer, node: NodeProto) -> None:
    i = _inputs(node)
    view, given = _operand(importer, node, 0), _attributes_of(node)
    parts = signed_parts(
        _constant(importer, i[3], "weights"), _constant(importer, i[5], "weight zero point"), importer.element
    )
    view, weights = emit.repeated(importer, (node.name,), view, parts, int(given.get("group", 1)), node.output[0])
    bias = _constant(importer, i[8], "bias") if i[8] else None
    scale, params = _constant(importer, i[4], "weight scale"), _params(importer, i[6], i[7])
    _give(importer, node, emit.conv(
        importer, (node.name,), view, weights, scale, bias, given, params, node.output[0], importer.element.bounds
    ))  # fmt: skip


def _qgemm(importer: Importer, node: NodeProto) -> None:
    i, given = _inputs(node), attributes(node)
    if given.get("transA", 0):
        raise Unsupported("QGemm with transA")
    if not i[7]:
        raise Unsupported("QGemm with a float result")
    bias = _constant(importer, i[6], "bias") if i[6] else None
    _dense(importer, node, bias, bool(given.get("transB", 0)), given.get("alpha", 1.0), i[7:9])


def _qlinear_matmul(importer: Importer, node: NodeProto) -> None:
    _dense(importer, node, None, False, 1.0, _inputs(node)[6:8])


def _dense(
    importer: Importer, node: NodeProto, bias: NDArray | None, transposed: bool, alpha: float, result: Sequence[str]
) -> None:
    """A vector by a matrix; ``result`` are the names of the result's scale and zero point."""
    view, (name, scale_name, zero) = _operand(importer, node, 0), _inputs(node)[3:6]
    matrix = _constant(importer, name, "weights")
    if matrix.ndim != 2 or int(np.prod(view.shape[:-1])) != 1:
        raise Unsupported(f"{node.op_type} of a tensor of shape {view.shape}: only one vector by a matrix")
    parts = signed_parts(dense_weights(matrix, transposed), importer.const(zero), importer.element)
    view, matrix = emit.repeated(importer, (node.name,), view, parts, 1, node.output[0])
    scale = np.float32(alpha) * _constant(importer, scale_name, "weight scale").astype(np.float32)
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), (len(matrix),))
    params = _params(importer, *result)
    _give(importer, node, emit.dense(
        importer, (node.name,), view, matrix, scale, bias, params, node.output[0], importer.element.bounds
    ))  # fmt: skip


def _qlinear_average(importer: Importer, node: NodeProto) -> None:
    i = _inputs(node)
    view, given, params = _operand(importer, node, 0), _attributes_of(node), _params(importer, i[3], i[4])
    names, tensor, clip = (node.name,), node.output[0], importer.element.bounds
    if node.op_type == "QLinearAveragePool":
        _give(importer, node, pools.average_pool(importer, names, view, given, params, tensor, clip))
    else:
        shape = (*view.shape[:2], *(1 for _ in view.shape[2:]))
        _give(importer, node, pools.global_average_pool(importer, names, view, params, tensor, clip, shape))


def _qlinear_reduce_mean(importer: Importer, node: NodeProto) -> None:
    i, given = _inputs(node), attributes(node)
    view = _operand(importer, node, 0)
    shape = reduced_shape(node.op_type, view.shape, given.get("axes", ()), bool(given.get("keepdims", 1)))
    params = _params(importer, i[3], i[4])
    _give(importer, node, pools.global_average_pool(
        importer, (node.name,), view, params, node.output[0], importer.element.bounds, shape
    ))  # fmt: skip


def _qlinear_binary(importer: Importer, node: NodeProto) -> None:
    i = _inputs(node)
    constant = next((position for position in (0, 3) if i[position] in importer.consts), None)
    if constant is not None:
        _with_constant(importer, node, constant)
        return
    first, second = _operand(importer, node, 0), _operand(importer, node, 3)
    function = emit.add if node.op_type == "QLinearAdd" else emit.mul
    _give(importer, node, function(
        importer, (node.name,), first, second, _params(importer, i[6], i[7]), node.output[0], importer.element.bounds
    ))  # fmt: skip


def _with_constant(importer: Importer, node: NodeProto, constant: int) -> None:
    """QLinearAdd and QLinearMul of a view and the constant at an input: a table, or a factor or offset a channel."""
    i, other = _inputs(node), 3 - constant
    view, params = _operand(importer, node, other), _params(importer, i[6], i[7])
    if importer.consts[i[constant]].size != 1:
        _by_channel(importer, node, view, constant, params)
        return
    swapped = type(node).FromString(node.SerializeToString())
    if other:  # the table runs the node on its first operand
        swapped.input[:] = [*i[3:6], *i[0:3], *i[6:8]]
    table = operator_table(swapped, importer.consts, importer.params_of(view), importer.opsets)
    _give(importer, node, importer.apply_table(view, table, params, node.output[0], (node.name,)))


def _by_channel(importer: Importer, node: NodeProto, view: View, constant: int, params: Params) -> None:
    """QLinearAdd and QLinearMul of a view and a constant with one number a channel."""
    quantized, scale, zero = (importer.consts.get(name) for name in node.input[constant : constant + 3])
    if quantized is None or scale is None or scale.size != 1:
        raise Unsupported("the scale of a constant operand must be one constant number")
    real = (quantized.astype(np.float64) - (0 if zero is None else float(zero.reshape(())))) * float(scale.reshape(()))
    factors = affine_factors(node.op_type.removeprefix("QLinear"), real, len(view.shape), constant == 0)
    if factors is None:
        _with_tensor(importer, node, view, constant, params)
        return
    pending = affine(importer, node, view, *factors)
    _give(importer, node, pending.finish(params, node.output[0], *importer.element.bounds, pending.names))


def _with_tensor(importer: Importer, node: NodeProto, view: View, constant: int, params: Params) -> None:
    """QLinearAdd and QLinearMul of a view and a constant with a number for each element."""
    names, tensor, clip = (node.name,), node.output[0], importer.element.bounds
    integers, scale, zero = (importer.consts.get(name) for name in node.input[constant : constant + 3])
    if integers is None or scale is None:
        raise Unsupported("the scale of a constant operand must be one constant number")
    quantized = Quantized(integers, scale, zero, 0)
    if not is_tensor(importer, quantized):
        raise Unsupported(f"{node.op_type} with a constant of {integers.dtype}: only of {importer.element}")
    whole = np.broadcast_shapes(view.shape, integers.shape)
    other = constant_tensor(importer, names, quantized, whole, f"{tensor}/constant")
    first, second = (view, other) if constant else (other, view)
    function = emit.add if node.op_type == "QLinearAdd" else emit.mul
    _give(importer, node, function(importer, names, first, second, params, tensor, clip))


def _qlinear_table(importer: Importer, node: NodeProto) -> None:
    i = _inputs(node)
    view, params = _operand(importer, node, 0), _params(importer, i[3], i[4])
    table = operator_table(node, importer.consts, importer.params_of(view), importer.opsets)
    _give(importer, node, importer.apply_table(view, table, params, node.output[0], (node.name,)))


def _qlinear_concat(importer: Importer, node: NodeProto) -> None:
    params = _params(importer, node.input[0], node.input[1])
    views = [_operand(importer, node, position) for position in range(2, len(node.input), 3)]
    _joined(importer, node, views, params)


def _max_pool(importer: Importer, node: NodeProto) -> None:
    view = _present(importer, node.input[0])
    _give(importer, node, pools.max_pool(importer, node, view, attributes(node)))


def _concat(importer: Importer, node: NodeProto) -> None:
    """Concat of integer tensors moves bytes: the operands must agree in scale and zero point."""
    views = [_present(importer, name) for name in node.input]
    params = [importer.params_of(v) for v in views]
    if any(p != params[0] for p in params):
        raise Unsupported(f"Concat of {importer.element} tensors with different scales")
    _joined(importer, node, views, params[0])


def _joined(importer: Importer, node: NodeProto, views: list[View], params: Params) -> None:
    """Views one after the other along the node's axis, as a view where they are of one value."""
    axis, tensor = attributes(node).get("axis", 1), node.output[0]
    whole = views[0] if len(views) == 1 else emit.joined_view(importer, views, axis, node.name)
    if whole is not None:
        _give(importer, node, importer.requantize(whole, params, tensor, (node.name,)))
        return
    values, along = emit.concat_axis(importer, views, axis)
    _give(importer, node, emit.concat(
        importer, (node.name,), views, values, tensor, params, importer.element.bounds, along
    ))  # fmt: skip


def _present(importer: Importer, name: str) -> View:
    view = importer.view(name)
    if view is None:
        raise Unsupported(importer.why_not(name))
    return view


def _clip(importer: Importer, node: NodeProto) -> None:
    """Clip and Relu of integer tensors, in the model's own numbers."""
    view = _present(importer, node.input[0])
    params, element = importer.params_of(view), importer.element
    low, high = element.bounds
    if node.op_type == "Relu":
        low = -params.offset
    else:
        names = _inputs(node)[1:3]
        own = [int(_constant(importer, name, "a bound")) - params.offset if name else None for name in names]
        low, high = (given if given is not None else end for given, end in zip(own, element.bounds, strict=True))
    table = np.clip(element.by_pattern(), low, high).astype(element.dtype)
    _give(importer, node, importer.apply_table(view, table, params, node.output[0], (node.name,)))


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
