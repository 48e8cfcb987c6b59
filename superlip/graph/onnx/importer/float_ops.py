"""Operators of float models between DequantizeLinear and QuantizeLinear."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import NodeProto

from superlip.graph.onnx.functions import BOOLEAN, ELEMENTWISE
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.transposed import block_convolution
from superlip.graph.onnx.views import View

from . import emit, pools
from .float_functions import batch_norm, binary, elementwise, prelu, sum_of_two
from .geometry import concat_shape, geometry, reduced_shape
from .importer import Importer
from .states import ByChannel, Params, Pending, Unsupported
from .weights import Quantized, biased, dense_weights, quantized_weights, real_constant, signed_parts

__all__ = ["FLOAT_OPS"]


def _weighted(importer: Importer, node: NodeProto) -> tuple[View, Quantized] | None:
    """The operand and the weights of a product; None where they are other things."""
    view = importer.view(node.input[0])
    found = quantized_weights(importer, node.input[1])
    return None if view is None or found is None else (view, found)


def _bias_name(node: NodeProto) -> str:
    return node.input[2] if len(node.input) > 2 else ""


def _conv(importer: Importer, node: NodeProto) -> Pending | None:
    """Where its operand has a scale for each channel, it is of each by itself: the scale is a factor of its results."""
    state = importer.floats.get(node.input[0])
    scales = state.scales if isinstance(state, ByChannel) else None
    view = state.view if isinstance(state, ByChannel) else importer.view(node.input[0])
    found, given = quantized_weights(importer, node.input[1]), attributes(node)
    if view is None or found is None:
        return None
    integers, scale, zero, axis = found
    groups = int(given.get("group", 1))
    if scales is not None and (integers.shape[1] != 1 or groups != len(scales)):
        raise Unsupported("a sum of products over channels that have a scale each is no sum of integers")
    if scale.size > 1 and axis % integers.ndim != 0:
        raise Unsupported("Conv weights quantized along another axis than the output channels")
    parts = signed_parts(integers, zero, importer.element)
    size = geometry(given, view.shape, integers.shape[2:], "Conv")["size"]
    whole = scale if scales is None else np.repeat(scales, len(integers) // groups) * scale

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        source = importer.values[view.value]
        if scales is not None:
            source = replace(source, scale=1.0)
        operand, weights = emit.repeated(importer, names, view, parts, groups, tensor)
        q, wide, bias = biased(importer, _bias_name(node), source, weights, whole)
        return emit.conv(
            importer, names, operand, q, wide, bias, given, params, tensor, (low, high), source_scale=source.scale
        )

    return Pending(finish, (1, len(integers), *size), (node.name,))


def _conv_transpose(importer: Importer, node: NodeProto) -> Pending | None:
    """As a convolution of blocks of pixels, and DepthToSpace."""
    operands = _weighted(importer, node)
    if operands is None:
        return None
    view, (integers, scale, zero, axis) = operands
    given = attributes(node)
    if len(view.shape) != 4:
        raise Unsupported(f"ConvTranspose of a tensor of rank {len(view.shape)}: only of images")
    size = view.shape[2], view.shape[3]
    groups = int(given.get("group", 1))
    is_by_output = scale.size == 1 or (groups == 1 and axis % integers.ndim == 1)
    if not is_by_output or (zero is not None and zero.size > 1 and (zero != zero.reshape(-1)[0]).any()):
        raise Unsupported("ConvTranspose weights quantized along another axis than the output channels")
    zero = None if zero is None else zero.reshape(-1)[:1]
    whole = [block_convolution(part, given, size) for part in signed_parts(integers, zero, importer.element)]
    parts = [part for part in whole if part is not None]
    if not parts:
        raise Unsupported("ConvTranspose whose strides differ, or whose padding is said in another way than by pads")
    block, count = parts[0].block, parts[0].block ** 2
    channels = len(parts[0].weights) // count
    result = (1, channels, *parts[0].size)

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        source = importer.values[view.value]
        operand, weights = emit.repeated(importer, names, view, [part.weights for part in parts], groups, tensor)
        bias = _bias_name(node)
        if bias:  # a number for each pixel of a block
            real = real_constant(importer, bias)
            if real is None:
                raise Unsupported(f"bias {bias!r} must be a constant")
            bias = f"{node.name}/bias of blocks"
            importer.consts[bias] = np.repeat(real.reshape(-1), count)
        wide = np.repeat(scale, count) if scale.size > 1 else scale
        q, wide, sums = biased(importer, bias, source, weights, wide)
        blocks = {"pads": list(parts[0].pads), "group": groups}
        made = emit.conv(importer, names, operand, q, wide, sums, blocks, params, f"{tensor}/blocks", (low, high))
        return emit.blocks_apart(importer, names, made, block, params, tensor, result)

    return Pending(finish, result, (node.name,))


def _gemm(importer: Importer, node: NodeProto) -> Pending | None:
    operands = _weighted(importer, node)
    if operands is None:
        return None
    view, (integers, scale, zero, axis) = operands
    given = attributes(node)
    if given.get("transA", 0):
        raise Unsupported("Gemm with transA; export the operand as it is multiplied")
    scale = scale * np.float32(given.get("alpha", 1.0))
    if (scale <= 0).any():
        raise Unsupported(f"alpha={given['alpha']}: only factors above 0; put the sign in the weights")
    if integers.ndim != 2 or int(np.prod(view.shape[:-1])) != 1:
        raise Unsupported(f"{node.op_type} of a tensor of shape {view.shape}: only one vector by a matrix")
    transposed = bool(given.get("transB", 0))
    if scale.size > 1 and axis % 2 != (0 if transposed else 1):
        raise Unsupported("weights quantized along another axis than the outputs")
    if zero is not None and zero.size > 1 and not transposed:
        parts = signed_parts(dense_weights(integers, transposed), zero, importer.element)
    else:
        parts = [dense_weights(part, transposed) for part in signed_parts(integers, zero, importer.element)]

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        source = importer.values[view.value]
        operand, weights = emit.repeated(importer, names, view, parts, 1, tensor)
        q, wide, bias = biased(importer, _bias_name(node), source, weights, scale, given.get("beta", 1.0))
        return emit.dense(importer, names, operand, q, wide, bias, params, tensor, (low, high))

    return Pending(finish, (*view.shape[:-1], len(parts[0])), (node.name,))


def _max_pool(importer: Importer, node: NodeProto) -> View | ByChannel | None:
    state = importer.floats.get(node.input[0])
    if isinstance(state, ByChannel):
        return replace(state, view=pools.max_pool(importer, node, state.view, attributes(node)))
    view = importer.view(node.input[0])
    return None if view is None else pools.max_pool(importer, node, view, attributes(node))


def _average_pool(importer: Importer, node: NodeProto) -> Pending | None:
    view = importer.view(node.input[0])
    if view is None:
        return None
    return _pooled(importer, node, view, attributes(node))


def _pooled(importer: Importer, node: NodeProto, view: View, given: dict[str, Any]) -> Pending:
    size = geometry(given, view.shape, given["kernel_shape"], "AveragePool")["size"]

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        return pools.average_pool(importer, names, view, given, params, tensor, (low, high))

    return Pending(finish, (*view.shape[:2], *size), (node.name,))


def _global_pool(importer: Importer, node: NodeProto) -> View | Pending | None:
    view = importer.view(node.input[0])
    if view is None:
        return None
    shape = (*view.shape[:2], *(1 for _ in view.shape[2:]))
    if node.op_type == "GlobalMaxPool":
        return pools.global_max_pool(importer, node, view, shape)

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        return pools.global_average_pool(importer, names, view, params, tensor, (low, high), shape)

    return Pending(finish, shape, (node.name,))


def _axes(importer: Importer, node: NodeProto, view: View) -> tuple[list[int], bool]:
    """Axes of a reduction, counted from the first, in order, and whether they are kept."""
    given = attributes(node)
    axes = given.get("axes", importer.const(node.input[1]) if len(node.input) > 1 and node.input[1] else None)
    if axes is None or not np.size(axes):
        raise Unsupported(f"{node.op_type} over all axes, or over those that are no constant")
    rank = len(view.shape)
    return sorted(int(axis) % rank for axis in np.ravel(axes)), bool(given.get("keepdims", 1))


def _along(view: View, axes: Sequence[int]) -> list[int]:
    """A window over all rows, or all columns."""
    return [view.shape[axis] if axis in axes else 1 for axis in (2, 3)]


def _mean(importer: Importer, node: NodeProto) -> Pending | None:
    """Mean or sum over rows and columns, or over channels."""
    view = importer.view(node.input[0])
    if view is None:
        return None
    axes, kept = _axes(importer, node, view)
    is_sum = node.op_type == "ReduceSum"
    if axes == [1] and len(view.shape) > 2:
        shape = (view.shape[0], *((1,) if kept else ()), *view.shape[2:])

        def over_channels(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
            return pools.channel_mean(importer, names, view, params, tensor, (low, high), shape, is_sum=is_sum)

        return Pending(over_channels, shape, (node.name,))
    if len(view.shape) == 4 and kept and axes in ([2], [3]) and not is_sum:
        return _pooled(importer, node, view, {"kernel_shape": _along(view, axes)})
    shape = reduced_shape(node.op_type, view.shape, axes, kept)
    factor = int(np.prod(view.shape[2:])) if is_sum else 1

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        return pools.global_average_pool(importer, names, view, params, tensor, (low, high), shape, factor=factor)

    return Pending(finish, shape, (node.name,))


def _reduce_max(importer: Importer, node: NodeProto) -> View | None:
    """Maximum over rows and columns, or over channels."""
    view = importer.view(node.input[0])
    if view is None:
        return None
    axes, kept = _axes(importer, node, view)
    if axes == [1] and len(view.shape) > 2:
        shape = (view.shape[0], *((1,) if kept else ()), *view.shape[2:])
        return emit.channel_max(importer, node, view, shape)
    if len(view.shape) == 4 and kept and axes in ([2], [3]):
        return pools.max_pool(importer, node, view, {"kernel_shape": _along(view, axes)})
    return pools.global_max_pool(importer, node, view, reduced_shape(node.op_type, view.shape, axes, kept))


def _concat(importer: Importer, node: NodeProto) -> View | Pending | None:
    views = [view for name in node.input if (view := importer.view(name)) is not None]
    if len(views) < len(node.input):
        return None
    axis = attributes(node).get("axis", 1)
    whole = views[0] if len(views) == 1 else emit.joined_view(importer, views, axis, node.name)
    if whole is not None:
        return whole
    values, along = emit.concat_axis(importer, views, axis)
    params = [importer.params_of(v) for v in views]
    if all(p == params[0] for p in params):
        bounds = importer.element.bounds
        return emit.concat(importer, (node.name,), views, values, node.output[0], params[0], bounds, along)

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        return emit.concat(importer, names, views, values, tensor, params, (low, high), along)

    return Pending(finish, concat_shape(views, along), (node.name,))


FLOAT_OPS: dict[str, Callable[[Importer, NodeProto], View | ByChannel | Pending | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _gemm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "ReduceMean": _mean,
    "ReduceSum": _mean,
    "ReduceMax": _reduce_max,
    "Concat": _concat,
    "BatchNormalization": batch_norm,
    "Sum": sum_of_two,
    **{op: elementwise for op in ELEMENTWISE | BOOLEAN},
    "PRelu": prelu,
    **{op: binary for op in ("Add", "Mul", "Sub", "Div", "Pow", "Min", "Max")},
}
