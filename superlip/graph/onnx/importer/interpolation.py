"""Resize between pixels: linear by whole factors, on the accelerator."""

import math
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import LARGEST_STEP, View, image_shape

from . import pools
from .importer import Importer
from .states import Params, Pending, Unsupported

__all__ = ["interpolation", "is_interpolation", "phases"]

_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
"""What all say the same where factors are whole, but for a result of one pixel."""


def is_interpolation(node: NodeProto) -> bool:
    """Whether a node resizes by numbers between those of its operand."""
    mode = attributes(node).get("mode", b"nearest")
    return node.op_type in ("Resize", "Upsample") and mode != b"nearest"


def phases(factor: int, is_half_pixel: bool) -> list[tuple[int, tuple[int, ...]]]:
    """(offset, weights) of each of the ``factor`` pixels that take the place of one.

    Pixel p of those of number i lies at i + p / factor, or half a pixel of each from their corners. Its weights are
    those of the pixels at i + offset and behind, whole numbers without a common factor.
    """
    found: list[tuple[int, tuple[int, ...]]] = []
    for p in range(factor):
        numerator, denominator = (2 * p + 1 - factor, 2 * factor) if is_half_pixel else (p, factor)
        offset, second = divmod(numerator, denominator)
        common = math.gcd(second, denominator)
        weights = (denominator - second) // common, second // common
        found.append((offset, weights if second else weights[:1]))
    return found


def interpolation(importer: Importer, node: NodeProto) -> Pending | None:
    """Pending of a linear Resize of a view; None where its operand is none. Unsupported where it is of another kind."""
    view = importer.view(node.input[0])
    if view is None:
        return None
    given = attributes(node)
    mode = given["mode"].decode()
    if mode != "linear":
        raise Unsupported(f"mode={mode!r}: only 'nearest' and 'linear' run on the accelerator")
    size = _size(importer, node, view)
    factors = [after // before for before, after in zip(view.shape[2:], size, strict=True)]
    is_whole = all(b * f == a and 1 <= f <= LARGEST_STEP for b, f, a in zip(view.shape[2:], factors, size, strict=True))
    default = "asymmetric" if node.op_type == "Upsample" or importer.opsets.get("", 17) < 11 else "half_pixel"
    how = given.get("coordinate_transformation_mode", default.encode()).decode()
    if _is_halved(view.shape[2:], size) and how in _HALF_PIXEL and not given.get("antialias", 0):
        return _halved(importer, node, view, size)
    if not is_whole or max(factors) == 1:
        raise Unsupported(f"mode='linear' from {view.shape[2:]} to {size}: only by whole factors up to {LARGEST_STEP}")
    if how != "asymmetric" and how not in _HALF_PIXEL:
        raise Unsupported(
            f"coordinate_transformation_mode={how!r} with mode='linear': each row has weights of its own; 'half_pixel' "
            f"and 'asymmetric' run on the accelerator"
        )
    per_axis = [phases(factor, how in _HALF_PIXEL) for factor in factors]
    if len(per_axis) == 1:
        per_axis.insert(0, [(0, (1,))])

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        padded, tops = _with_edges(importer, view, per_axis, node.name)
        rows, cols = (
            tuple((offset + top, weights) for offset, weights in axis) for axis, top in zip(per_axis, tops, strict=True)
        )
        shape = (*view.shape[:2], *size)
        importer.notes.append(f"Resize {node.name!r} is linear: ONNX Runtime may round ties the other way")
        return importer.emit(
            ir.Interpolate, names, (padded,), tensor, image_shape(shape), shape, params, rows=rows, cols=cols,
            scale=float(importer.values[padded].scale) / float(params.scale), low=low, high=high,
        )  # fmt: skip

    return Pending(finish, (*view.shape[:2], *size), (node.name,))


def _is_halved(before: Sequence[int], after: Sequence[int]) -> bool:
    return len(before) == 2 and all(b == 2 * a for b, a in zip(before, after, strict=True))


def _halved(importer: Importer, node: NodeProto, view: View, size: Sequence[int]) -> Pending:
    """Half the rows and columns are means of two by two pixels."""

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        given = {"kernel_shape": [2, 2], "strides": [2, 2]}
        return pools.average_pool(importer, names, view, given, params, tensor, (low, high))

    return Pending(finish, (*view.shape[:2], *size), (node.name,))


def _size(importer, node, view):
    """Sizes of the result in the model's rank, without batch and channels. Unsupported where these change."""
    names = [*node.input, "", "", ""]
    scales_at = 1 if node.op_type == "Upsample" or importer.opsets.get("", 17) < 11 else 2
    scales, sizes = importer.const(names[scales_at]), importer.const(names[3])
    scales = attributes(node).get("scales") if scales is None or not np.size(scales) else scales
    axes = attributes(node).get("axes", range(len(view.shape)))
    whole = list(view.shape)
    if sizes is not None and np.size(sizes):
        found = [int(size) for size in np.ravel(sizes)]
    elif scales is not None and len(scales) == len(axes):
        found = [math.floor(view.shape[axis] * float(scale)) for axis, scale in zip(axes, scales, strict=True)]
    else:
        raise Unsupported("its sizes must be constants")
    for axis, size in zip(axes, found, strict=True):
        whole[axis] = size
    is_plain = attributes(node).get("keep_aspect_ratio_policy", b"stretch") == b"stretch"
    if tuple(whole[:2]) != tuple(view.shape[:2]) or len(whole) not in (3, 4) or whole[0] != 1 or not is_plain:
        raise Unsupported(f"mode='linear' from {view.shape} to {tuple(whole)}: only of rows and columns of an image")
    return tuple(whole[2:])


def _with_edges(importer, view, per_axis, name):
    """The value with its first and last rows and columns once more where something beyond is taken; how many before."""
    value = importer.materialize(view)
    source = importer.values[value]
    before = [max(0, -min(offset for offset, _ in axis)) for axis in per_axis]
    after = [max(0, *(offset + len(weights) - 1 for offset, weights in axis)) for axis in per_axis]
    rows, cols = (
        np.clip(np.arange(-first, size + last), 0, size - 1)
        for first, size, last in zip(before, source.shape[1:], after, strict=True)
    )
    if not any(before) and not any(after):
        return value, before
    output = importer.unique(f"{value}/edges")
    node = ir.Resize(name=importer.unique_node(f"{name}/edges"), inputs=(value,), output=output, rows=rows, cols=cols)
    return importer.add(node, (source.shape[0], len(rows), len(cols)), Params.of(source)), before
