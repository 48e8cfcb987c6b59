"""Poolings and means of the quantized graph, from operands that are already integers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from superlip.graph import ir
from superlip.graph.onnx.views import LARGEST_STEP, View, image_shape

from .emit import Clip, conv
from .geometry import geometry, two_dimensional_pads, window
from .importer import Importer
from .states import Params, Unsupported
from .weights import fold_zero_point, usable_scale

__all__ = ["average_pool", "average_scale", "channel_mean", "global_average_pool", "global_max_pool", "max_pool"]


def max_pool(importer: Importer, node: NodeProto, view: View, attributes: dict[str, Any]) -> View:
    """Append a max pooling of a view; its result has the operand's quantization."""
    if len([o for o in node.output if o]) > 1:
        raise Unsupported("MaxPool with the output Indices")
    value = importer.materialize(view)
    shape = geometry(attributes, view.shape, attributes["kernel_shape"], "MaxPool")
    result = (*view.shape[:2], *shape["size"])
    arguments = {"kind": "max", "low": importer.element.low, "high": importer.element.high}
    if shape["dilations"] != (1, 1):
        _check_pads(attributes)
        return _dilated_max_pool(importer, node, view, shape, arguments, result)
    return importer.emit(
        ir.Pool, (node.name,), (value,), node.output[0], image_shape(result), result, importer.params_of(view),
        kernel=shape["kernel"], strides=shape["strides"], pads=shape["pads"], **arguments,
    )  # fmt: skip


def _check_pads(attributes: dict[str, Any]) -> None:
    """ONNX Runtime pads poolings by name as if they had no dilations."""
    if attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        raise Unsupported("a pooling with dilations and auto_pad=SAME; write pads")


def _dilated_max_pool(
    importer: Importer,
    node: NodeProto,
    view: View,
    shape: dict[str, Any],
    arguments: dict[str, Any],
    result: Sequence[int],
) -> View:
    """Append a max pooling with gaps: first over rows, then over columns, of those of each window one after another."""
    value = importer.materialize(view)
    channels, height, width = importer.values[value].shape
    steps: list[tuple[type[ir.Node], ir.Shape, dict[str, Any]]] = []
    if any(shape["pads"]):
        top, left, bottom, right = shape["pads"]
        height, width = height + top + bottom, width + left + right
        steps.append((ir.Pad, (channels, height, width), {"pads": shape["pads"], "value": arguments["low"]}))
    size = [height, width]
    for axis in (0, 1):
        kernel, stride, dilation = (shape[name][axis] for name in ("kernel", "strides", "dilations"))
        if kernel > LARGEST_STEP:
            raise Unsupported(f"a pooling with dilations of {kernel} pixels: at most {LARGEST_STEP}")
        count = (size[axis] - dilation * (kernel - 1) - 1) // stride + 1
        index = (np.arange(count)[:, None] * stride + np.arange(kernel) * dilation).reshape(-1)
        places = [np.arange(n) for n in size]
        places[axis] = index
        moved = (channels, len(places[0]), len(places[1]))
        size[axis] = count
        window = (kernel, 1) if axis == 0 else (1, kernel)
        steps.append((ir.Resize, moved, {"rows": places[0], "cols": places[1]}))
        steps.append((ir.Pool, (channels, size[0], size[1]), {"kernel": window, "strides": window, **arguments}))
    for number, (kind, image, given) in enumerate(steps, 1):
        tensor = node.output[0] if number == len(steps) else f"{node.output[0]}/step{number}"
        params = importer.params_of(view)
        value = importer.emit(kind, (node.name,), (value,), tensor, image, (1, *image), params, **given).value
    return View(value, tuple(result))


def average_pool(
    importer: Importer,
    names: Sequence[str],
    view: View,
    attributes: dict[str, Any],
    params: Params,
    tensor: str,
    clip: Clip,
) -> View:
    """Append an average pooling."""
    value = importer.materialize(view)
    shape = geometry(attributes, view.shape, attributes["kernel_shape"], "AveragePool")
    include = bool(attributes.get("count_include_pad", 0))
    declared = window({**attributes, "ceil_mode": 0}, view.shape[2:], attributes["kernel_shape"], op="AveragePool")
    if include and two_dimensional_pads(declared[2]) != shape["pads"]:
        raise Unsupported("AveragePool with count_include_pad and ceil_mode, where a window leaves the padded image")
    result = (*view.shape[:2], *shape["size"])
    source = importer.values[value]
    if np.float32(source.scale) == np.float32(params.scale):
        importer.notes.append(
            f"AveragePool {names[0]!r} has its operand's scale: ONNX Runtime may round ties the other way"
        )
    if shape["dilations"] != (1, 1):
        _check_pads(attributes)
        if any(shape["pads"]) and not include:
            raise Unsupported("AveragePool with dilations and padding that does not count")
        return _dilated_average_pool(importer, names, source, shape, params, tensor, clip, result)
    return importer.emit(
        ir.Pool, names, (value,), tensor, image_shape(result), result, params,
        kind="average", kernel=shape["kernel"], strides=shape["strides"], pads=shape["pads"],
        count_include_pad=include,
        scale=average_scale(source.scale, params.scale, int(np.prod(shape["kernel"]))),
        low=clip[0], high=clip[1],
    )  # fmt: skip


def _dilated_average_pool(
    importer: Importer,
    names: Sequence[str],
    source: ir.Value,
    shape: dict[str, Any],
    params: Params,
    tensor: str,
    clip: Clip,
    result: Sequence[int],
) -> View:
    """Append an average pooling with gaps, whose windows all count the same: a convolution of each channel by 1."""
    channels, kernel = source.shape[0], shape["kernel"]
    weights = np.ones((channels, 1, *kernel), source.element.dtype)
    scale = average_scale(source.scale, params.scale, int(np.prod(kernel)))[-1]
    return importer.emit(
        ir.Conv, names, (source.name,), tensor, image_shape(result), result, params,
        weights=weights, bias=fold_zero_point(None, weights, source.zero_point),
        scale=np.full(channels, scale, np.float32), strides=shape["strides"], pads=shape["pads"],
        dilations=shape["dilations"], groups=channels, low=clip[0], high=clip[1],
    )  # fmt: skip


def global_average_pool(
    importer: Importer,
    names: Sequence[str],
    view: View,
    params: Params,
    tensor: str,
    clip: Clip,
    result: Sequence[int],
    *,
    factor: int = 1,
) -> View:
    """Append an average over the whole image, times ``factor``; ``result`` is the model's shape of it."""
    value = importer.materialize(view)
    source = importer.values[value]
    _, h, w = source.shape
    return importer.emit(
        ir.Pool, names, (value,), tensor, image_shape(result), result, params,
        kind="average", kernel=(h, w),
        scale=average_scale(np.float32(source.scale) * np.float32(factor), params.scale, h * w),
        low=clip[0], high=clip[1],
    )  # fmt: skip


def global_max_pool(importer: Importer, node: NodeProto, view: View, result: Sequence[int]) -> View:
    """Append a maximum over the whole image, which has the operand's quantization; ``result`` is the model's shape."""
    value = importer.materialize(view)
    kernel = importer.values[value].shape[1:]
    return importer.emit(
        ir.Pool, (node.name,), (value,), node.output[0], image_shape(result), result, importer.params_of(view),
        kind="max", kernel=kernel, low=importer.element.low, high=importer.element.high,
    )  # fmt: skip


def channel_mean(
    importer: Importer,
    names: Sequence[str],
    view: View,
    params: Params,
    tensor: str,
    clip: Clip,
    result: Sequence[int],
    *,
    is_sum: bool,
) -> View:
    """Append a mean, or a sum, over the channels: a 1x1 convolution whose weights are 1; ``result`` is its shape."""
    value = importer.materialize(view)
    source = importer.values[value]
    channels = source.shape[0]
    weights = np.ones((1, channels, 1, 1), source.element.dtype)
    unit = np.full(1, 1 if is_sum else 1 / channels, np.float32)
    image = View(value, (1, *source.shape))
    return View(conv(importer, names, image, weights, unit, None, {}, params, tensor, clip).value, tuple(result))


def average_scale(source: float | np.float32, result: float | np.float32, count: int) -> NDArray[np.float32]:
    """float32 scales by the pixels counted: source / (result * n), as QLinearGlobalAveragePool computes it."""
    n = np.arange(count + 1, dtype=np.float32)
    n[0] = 1
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        scale = usable_scale(np.float32(source) / (np.float32(result) * n))
    scale[0] = 0
    return scale
