"""Nodes of the quantized graph from operands that are already integers: what both model formats share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from superlip.graph import ir
from superlip.graph.onnx.views import LARGEST_STEP, View, image_shape, is_movable, is_reshaped, joined

from .addition import add_factors
from .geometry import concat_shape, geometry
from .importer import Importer
from .states import Params, Unsupported
from .tables import float_table
from .weights import channel_scale, fold_zero_point, usable_scale

__all__ = [
    "Clip", "add", "blocks_apart", "channel_affine", "channel_max", "concat", "concat_axis", "conv", "dense", "extreme",
    "joined_view", "mul", "repeated", "rescaled",
]  # fmt: skip

Clip = tuple[int, int]
"""(low, high) of a result's elements."""


def conv(
    importer: Importer,
    names: Sequence[str],
    view: View,
    weights: NDArray,
    weight_scale: NDArray,
    bias: NDArray | None,
    attributes: dict[str, Any],
    params: Params,
    tensor: str,
    clip: Clip,
    *,
    source_scale: float | None = None,
) -> View:
    """Append a Conv. ``weights`` are elements in the model's rank, ``bias`` int32 or None.

    ``source_scale`` is taken for the operand's own scale where that is known otherwise.
    """
    name = importer.materialize(view)
    value = importer.values[name]
    source = value.scale if source_scale is None else source_scale
    kernel = attributes.get("kernel_shape", weights.shape[2:])
    if tuple(kernel) != weights.shape[2:]:
        raise Unsupported(f"kernel_shape={list(kernel)}, but the weights have a kernel of {list(weights.shape[2:])}")
    shape = geometry(attributes, view.shape, weights.shape[2:], "Conv")
    groups = int(attributes.get("group", 1))
    m = len(weights)
    if weights.shape[1] * groups != value.shape[0]:
        raise Unsupported(f"weights for {weights.shape[1] * groups} channels, the image has {value.shape[0]}")
    weights = weights.reshape(m, weights.shape[1], *shape["kernel"])
    result = (1, m, *shape["size"])
    return importer.emit(
        ir.Conv, names, (name,), tensor, image_shape(result), result, params,
        weights=weights,
        bias=fold_zero_point(bias, weights, value.zero_point),
        scale=channel_scale(source, weight_scale, params.by_channel or params.scale, m),
        strides=shape["strides"], pads=shape["pads"], dilations=shape["dilations"], groups=groups,
        low=clip[0], high=clip[1],
    )  # fmt: skip


def repeated(
    importer: Importer, names: Sequence[str], view: View, parts: Sequence[NDArray], groups: int, tensor: str
) -> tuple[View, NDArray]:
    """An operand whose channels come as often as its weights have parts, and all parts side by side.

    The sum of products with each part is the product with their sum, to the bit.

    Parameters
    ----------
    parts : ndarrays of elements, each (M, N / groups, ...), or (M, F) of a dense layer
    """
    if len(parts) == 1:
        return view, parts[0]
    value = importer.materialize(view)
    channels, height, width = importer.values[value].shape
    image, is_dense = (len(parts) * channels, height, width), parts[0].ndim == 2
    shape = (1, int(np.prod(image))) if is_dense else (1, len(parts) * view.shape[1], *view.shape[2:])
    importer.notes.append(
        f"{names[0]!r}: its weights less their zero point leave the elements, and take {len(parts)} passes"
    )
    params, weights = importer.params_of(view), np.concatenate(parts, axis=1)
    if groups == 1:
        whole = importer.emit(
            ir.Concat, names, (value,) * len(parts), f"{tensor}/repeated", image, shape, params,
            tables=(None,) * len(parts),
        )  # fmt: skip
    else:  # a group's channels come one after the other
        order = np.arange(channels).reshape(groups, 1, -1).repeat(len(parts), axis=1).reshape(-1)
        whole = importer.emit(ir.Shuffle, names, (value,), f"{tensor}/repeated", image, shape, params, order=order)
    return whole, weights


def blocks_apart(
    importer: Importer, names: Sequence[str], view: View, block: int, params: Params, tensor: str, result: Sequence[int]
) -> View:
    """Append what makes blocks of pixels of the channels of a view (DepthToSpace, CRD), and cuts them to ``result``."""
    if block == 1:
        return view
    _, rows, cols = importer.values[view.value].shape
    image = (result[1], rows * block, cols * block)
    is_whole = image == tuple(result[1:])
    whole = importer.emit(
        ir.DepthToSpace, names, (view.value,), tensor if is_whole else f"{tensor}/whole", image, (1, *image), params,
        block=block, mode="CRD",
    )  # fmt: skip
    if is_whole:
        return whole
    cut = np.arange(result[2]), np.arange(result[3])
    return importer.emit(
        ir.Resize, names, (whole.value,), tensor, image_shape(result), result, params, rows=cut[0], cols=cut[1]
    )


def channel_affine(
    importer: Importer,
    names: Sequence[str],
    view: View,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    params: Params,
    tensor: str,
    clip: Clip,
) -> View:
    """Append a 1x1 Conv of each channel for x * scale + shift (one an element or one a channel).

    The Conv's scale takes up any size of the weight, so each channel takes the weight, of those above 0, in whose units
    its offset is nearest to an integer.
    """
    value = importer.materialize(view)
    source = importer.values[value]
    channels = source.shape[0]
    scale, shift = (np.broadcast_to(np.asarray(a, np.float64).reshape(-1), (channels,)) for a in (scale, shift))
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Unsupported("a factor of a channel is not finite")
    size = np.where(scale == 0, 1.0, np.abs(scale))
    choices = np.arange(1, source.element.high + 1)[:, None]
    offsets = shift / (size * source.scale) * choices  # by weight, by channel
    weight = 1 + np.argmin(np.abs(offsets - np.rint(offsets)) / choices, axis=0)
    bias = np.rint(offsets[weight - 1, np.arange(channels)])
    if np.abs(bias).max(initial=0) >= 1 << 31:
        raise Unsupported("an offset is too large for int32 in units of its channel's factor")
    weights = (weight * np.sign(scale)).astype(source.element.dtype).reshape(-1, 1, 1, 1)
    unit = size / weight
    return importer.emit(
        ir.Conv, names, (value,), tensor, source.shape, view.shape, params,
        weights=weights,
        bias=fold_zero_point(bias, weights, source.zero_point),
        scale=channel_scale(source.scale, unit.astype(np.float32), params.scale, channels),
        groups=channels, low=clip[0], high=clip[1],
    )  # fmt: skip


def rescaled(
    importer: Importer,
    names: Sequence[str],
    view: View,
    scales: NDArray[np.float32] | None,
    params: Params,
    tensor: str,
) -> View:
    """Append a 1x1 Conv of each channel that gives a view, which may have ``scales``, another scale or others."""
    channels = importer.values[view.value].shape[0]
    if view.index is not None:
        raise Unsupported("a scale for each channel of an activation that is moved")
    weights = np.ones((channels, 1, *(1 for _ in view.shape[2:])), importer.element.dtype)
    source = np.full(1, importer.values[view.value].scale, np.float32) if scales is None else scales
    given = {"group": channels}
    return conv(
        importer, names, view, weights, source, None, given, params, tensor, importer.element.bounds, source_scale=1.0
    )


def dense(
    importer: Importer,
    names: Sequence[str],
    view: View,
    weights: NDArray,
    weight_scale: NDArray,
    bias: NDArray | None,
    params: Params,
    tensor: str,
    clip: Clip,
) -> View:
    """Append a dense layer, ``weights``: elements, shape (M, F), as a Conv whose kernel covers its whole input.

    Where the operand is a moved view of a value with the same number of elements (Flatten, or a transposition in
    front of it) the weights are moved instead.
    """
    source = importer.values[view.value]
    numbers = view.numbers().reshape(-1)
    count = int(np.prod(source.shape))
    if weights.shape[1] != numbers.size:
        raise Unsupported(f"weights for {weights.shape[1]} inputs, the operand has {numbers.size}")
    if numbers.size == count and np.array_equal(np.sort(numbers), np.arange(count)):
        if view.index is not None:
            moved = np.empty_like(weights)
            moved[:, numbers] = weights
            weights = moved
    else:
        source = importer.values[importer.materialize(view)]
    weights = np.ascontiguousarray(weights.reshape(len(weights), *source.shape))
    m = len(weights)
    result = (*view.shape[:-1], m)
    return importer.emit(
        ir.Conv, names, (source.name,), tensor, (m, 1, 1), result, params,
        weights=weights,
        bias=fold_zero_point(bias, weights, source.zero_point),
        scale=channel_scale(source.scale, weight_scale, params.scale, m),
        low=clip[0], high=clip[1],
    )  # fmt: skip


def _pair(importer: Importer, first: View, second: View, what: str) -> tuple[str, str, tuple[int, ...]]:
    """Values of two operands, a gate (C, 1, 1) behind what it is for, and the result's shape in the model."""
    sizes = int(np.prod(first.shape)), int(np.prod(second.shape))
    large, small = (first, second) if sizes[0] >= sizes[1] else (second, first)
    padded = (1,) * (len(large.shape) - len(small.shape)) + tuple(small.shape)
    is_gate = len(large.shape) > 2 and padded == (1, large.shape[1], *(1 for _ in large.shape[2:]))
    try:
        whole = tuple(np.broadcast_shapes(first.shape, second.shape))
    except ValueError:
        whole = ()
    is_image = len(whole) in (3, 4) and whole[0] == 1
    if not whole or not (is_image or sizes[0] == sizes[1] == int(np.prod(whole))):
        shapes = f"{first.shape} and {second.shape}"
        raise Unsupported(f"{what} of tensors of shape {shapes}: only of the same shape, or of images")
    if is_gate and sizes[0] != sizes[1] and large.shape == whole:
        a, b = importer.materialize(large), importer.materialize(small)
    else:
        a, b = (_expanded(importer, view, whole) for view in (first, second))
    images = importer.values[a].shape, importer.values[b].shape
    if images[1] not in (images[0], (images[0][0], 1, 1)):
        raise Unsupported(f"{what} of values of shape {images[0]} and {images[1]}: only of the same shape")
    return a, b, whole


def _expanded(importer: Importer, view: View, whole: Sequence[int]) -> str:
    """A value with all channels, rows and columns of an image of shape ``whole``: what it has one of as often."""
    if int(np.prod(view.shape)) == int(np.prod(whole)):
        return importer.materialize(view)
    shape = (1,) * (len(whole) - len(view.shape)) + tuple(view.shape)
    name = importer.materialize(replace(view, shape=shape, index=view.numbers().reshape(shape)))
    params, target = importer.params_of(view), image_shape(whole)

    def moved(kind, shape, **arguments):
        output = importer.unique(f"{view.value}/{kind.__name__.lower()}")
        node = kind(
            name=importer.unique_node(output), inputs=(name,), output=output, onnx_names=view.moves, **arguments
        )
        return importer.add(node, shape, params)

    channels, *size = importer.values[name].shape
    while size != list(target[1:]):  # rows that are alike, fifteen of each
        grown = [min(t, s * LARGEST_STEP) for t, s in zip(target[1:], size, strict=True)]
        pairs = zip(size, grown, strict=True)
        rows, cols = (np.arange(after) // (LARGEST_STEP if after > before else 1) for before, after in pairs)
        name, size = moved(ir.Resize, (channels, *grown), rows=rows, cols=cols), grown
    return name if channels == target[0] else moved(ir.Shuffle, target, order=np.zeros(target[0], np.int64))


def add(
    importer: Importer, names: Sequence[str], first: View, second: View, params: Params, tensor: str, clip: Clip
) -> View:
    """Append an addition of two views; one of them may be a gate."""
    a, b, shape = _pair(importer, first, second, "addition")
    values = importer.values[a], importer.values[b]
    mult_a, mult_b, shift, _ = add_factors(Params.of(values[0]), Params.of(values[1]), params)
    return importer.emit(
        ir.Add, names, (a, b), tensor, values[0].shape, shape, params,
        mult_a=mult_a, mult_b=mult_b, shift=shift, low=clip[0], high=clip[1],
    )  # fmt: skip


def mul(
    importer: Importer, names: Sequence[str], first: View, second: View, params: Params, tensor: str, clip: Clip
) -> View:
    """Append a product of two views; one of them may be a gate."""
    a, b, shape = _pair(importer, first, second, "product")
    left, right = importer.values[a], importer.values[b]
    with np.errstate(over="ignore", under="ignore"):
        scale = usable_scale(np.float32(left.scale) * np.float32(right.scale) / np.float32(params.scale))
    return importer.emit(
        ir.Mul, names, (a, b), tensor, left.shape, shape, params, scale=float(scale), low=clip[0], high=clip[1]
    )


def extreme(
    importer: Importer,
    names: Sequence[str],
    views: Sequence[View],
    params: Params,
    tensor: str,
    clip: Clip,
    *,
    is_maximum: bool,
) -> View:
    """Append the maximum, or minimum, of views, element by element: a pooling over rows of each in turn, as the result.

    To quantize is monotonic: the larger of two rounded numbers is the rounded larger one. The smaller of two numbers is
    the larger one of all their bits turned over.
    """
    whole = tuple(np.broadcast_shapes(*(view.shape for view in views)))
    if len(views) > LARGEST_STEP:
        raise Unsupported(f"{len(views)} tensors at once: at most {LARGEST_STEP}")
    if len(whole) not in (2, 3, 4) or whole[0] != 1:
        raise Unsupported(f"tensors of shape {', '.join(str(view.shape) for view in views)}: only of images")
    values = [_expanded(importer, view, whole) for view in views]
    channels, rows, cols = image_shape(whole)
    pattern, turn = params.element.by_pattern(), 0 if is_maximum else -1
    tables = []
    for view in views:
        source = importer.params_of(view)
        same = (source.scale, source.zero_point) == (params.scale, params.zero_point) and clip == params.element.bounds
        table = pattern if same else float_table([], {}, ("x", source), ("", params), importer.opsets)
        table = np.clip(table, *clip).astype(params.element.dtype)
        tables.append(None if same and is_maximum else table ^ turn)
    tall = (channels, len(values) * rows, cols)
    joined = importer.emit(
        ir.Interleave, names, values, f"{tensor}/in_turn", tall, (1, *tall), params, tables=tuple(tables)
    )
    largest = importer.emit(
        ir.Pool, names, (joined.value,), tensor if is_maximum else f"{tensor}/turned", (channels, rows, cols), whole,
        params, kind="max", kernel=(len(values), 1), strides=(len(values), 1),
        low=params.element.low, high=params.element.high,
    )  # fmt: skip
    return largest if is_maximum else importer.apply_table(largest, pattern ^ turn, params, tensor, names)


def channel_max(importer: Importer, node: NodeProto, view: View, result: Sequence[int]) -> View:
    """Append the maximum over the channels, of parts of them at a time; ``result`` is the model's shape of it."""
    params, tensor = importer.params_of(view), node.output[0]
    value = importer.materialize(view)
    channels, rows, cols = importer.values[value].shape
    while channels > 1:
        count = next((n for n in range(LARGEST_STEP, 1, -1) if channels % n == 0), None)
        if count is None:
            raise Unsupported(
                f"maximum over {channels} channels: only over numbers without a factor above {LARGEST_STEP}"
            )
        shape = (1, channels // count, rows, cols)
        numbers = np.arange(channels * rows * cols).reshape(count, *shape)
        parts = [View(value, shape, index) for index in numbers]
        view = extreme(importer, (node.name,), parts, params, tensor, params.element.bounds, is_maximum=True)
        value, channels = view.value, channels // count
    return View(value, tuple(result))


def joined_view(importer: Importer, views: Sequence[View], axis: int, name: str) -> View | None:
    """Views of one value, joined to one that the quantized graph can express; None where there is none."""
    whole = joined(views, axis, name)
    return whole if whole is not None and is_movable(whole, importer.values[whole.value].shape) else None


def concat_axis(importer: Importer, views: Sequence[View], axis: int) -> tuple[list[str], int]:
    """The values of views to be joined, and the axis of (C, H, W) along which. Unsupported where there is none."""
    rank = len(views[0].shape)
    axis %= rank
    if rank not in (2, 3, 4) or axis == 0 or views[0].shape[0] != 1:
        raise Unsupported(f"Concat along axis {axis} of tensors of rank {rank}: only of images")
    if len({(*view.shape[:axis], *view.shape[axis + 1 :]) for view in views}) > 1:
        raise Unsupported(f"Concat of images of different sizes: {', '.join(str(view.shape) for view in views)}")
    along = axis - 1 if rank == 4 or axis == 1 else 2
    if along and any(is_reshaped(view, importer.values[view.value].shape) for view in views):
        raise Unsupported(f"Concat along axis {axis} behind a reshape of images: the host joins what it reshapes")
    return [importer.materialize(view) for view in views], along


def concat(
    importer: Importer,
    names: Sequence[str],
    views: Sequence[View],
    values: Sequence[str],
    tensor: str,
    result: Params,
    clip: Clip,
    along: int,
) -> View:
    """Append what joins ``values``, those of ``views``, along an axis; tables requantize what differs from the result.

    Along channels it is a Concat, else a Stack.
    """
    tables = []
    for view in views:
        source = importer.params_of(view)
        if (source.scale, source.zero_point) == (result.scale, result.zero_point) and clip == result.element.bounds:
            tables.append(None)
            continue
        table = float_table([], {}, ("x", source), ("", result), importer.opsets)
        tables.append(np.clip(table, *clip).astype(result.element.dtype))
    shape = concat_shape(views, along)
    whole = [importer.values[value].shape for value in values]
    by_axis = enumerate(zip(*whole, strict=True))
    channels, rows, cols = (sum(sizes) if axis == along else sizes[0] for axis, sizes in by_axis)
    image = channels, rows, cols
    if along:
        return importer.emit(ir.Stack, names, values, tensor, image, shape, result, axis=along, tables=tuple(tables))
    return importer.emit(ir.Concat, names, values, tensor, image, shape, result, tables=tuple(tables))
