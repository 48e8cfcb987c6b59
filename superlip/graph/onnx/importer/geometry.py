"""Sizes of results from a model's attributes: windows, what is joined, what is reduced."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superlip.graph.onnx.views import View

from .states import Unsupported

__all__ = ["concat_shape", "geometry", "reduced_shape", "two_dimensional_pads", "window"]


def window(
    attributes: dict[str, Any], size: Sequence[int], kernel: Sequence[int], *, op: str = "Conv"
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(strides, dilations, pads, (rows, cols)) of a sliding window over an image of ``size``."""
    strides = tuple(attributes.get("strides", (1,) * len(kernel)))
    dilations = tuple(attributes.get("dilations", (1,) * len(kernel)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    auto = attributes.get("auto_pad", b"NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    pads = list(attributes.get("pads", (0,) * (2 * len(kernel))))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [(-(-n // s) - 1) * s + r - n for n, s, r in zip(size, strides, reach, strict=True)]
        heads = [int((t + (auto == "SAME_LOWER")) / 2) for t in total]
        if min(heads) < 0:
            raise Unsupported(
                f"auto_pad={auto} of a kernel that reaches less far than its stride {strides}; write pads"
            )
        pads = heads + [max(0, t - h) for t, h in zip(total, heads, strict=True)]
    elif auto == "VALID":
        pads = [0] * len(pads)
    if min(pads, default=0) < 0:
        raise Unsupported(f"{op} with negative padding {pads}")
    half = len(kernel)
    padded = [n + pads[i] + pads[half + i] for i, n in enumerate(size)]
    counts = []
    for i in range(half):
        steps = padded[i] - reach[i]
        count = steps // strides[i] + 1
        if attributes.get("ceil_mode", 0) and op != "Conv":
            count = -(-steps // strides[i]) + 1
            if (count - 1) * strides[i] >= size[i] + pads[i]:
                count -= 1  # a window must begin inside the image or its leading padding
            pads[half + i] = max(pads[half + i], (count - 1) * strides[i] + reach[i] - size[i] - pads[i])
        if count < 1:
            raise Unsupported(f"the kernel {tuple(kernel)} is larger than the padded image {tuple(padded)}")
        counts.append(count)
    return strides, dilations, tuple(pads), tuple(counts)


def two_dimensional(values, *, fill):
    """(y, x) of a tuple of one (a 1-D operator works on rows) or two."""
    return (fill, *values) if len(values) == 1 else tuple(values)


def two_dimensional_pads(pads):
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else tuple(pads)


def geometry(attributes: dict[str, Any], shape: Sequence[int], kernel: Sequence[int], op: str) -> dict[str, Any]:
    """2-D geometry of an operator on a tensor of the model's shape (1, C, H, W) or (1, C, L).

    Returns
    -------
    dict with kernel, strides, dilations, pads, and the spatial size of the result in the model's rank
    """
    if len(kernel) not in (1, 2) or len(shape) != len(kernel) + 2:
        raise Unsupported(f"{op} with {len(kernel)} spatial dimensions on a tensor of rank {len(shape)}: only 1 and 2")
    strides, dilations, pads, counts = window(attributes, shape[2:], kernel, op=op)
    return {
        "kernel": two_dimensional(tuple(kernel), fill=1),
        "strides": two_dimensional(strides, fill=1),
        "dilations": two_dimensional(dilations, fill=1),
        "pads": two_dimensional_pads(pads),
        "size": counts,
    }


def concat_shape(views: Sequence[View], along: int = 0) -> tuple[int, ...]:
    """The model's shape of views that are joined along the channels (0), rows (1) or columns (2)."""
    shape = list(views[0].shape)
    axis = 1 if along == 0 else along + len(shape) - 3
    shape[axis] = sum(view.shape[axis] for view in views)
    return tuple(shape)


def reduced_shape(op: str, shape: Sequence[int], axes: ArrayLike | None, keepdims: bool) -> tuple[int, ...]:
    """The model's shape of a mean over rows and columns. Unsupported where ``axes`` are others."""
    rank = len(shape)
    if axes is None or rank < 3 or sorted(int(a) % rank for a in np.ravel(axes)) != list(range(2, rank)):
        raise Unsupported(f"{op} over other axes than rows and columns")
    return (*shape[:2], *((1,) * (rank - 2) if keepdims else ()))
