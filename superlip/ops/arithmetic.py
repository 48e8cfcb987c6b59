"""The arithmetic that operators share: exact integer convolution, rescaling, rounding."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superlip.element import INT8, ElementType
from superlip.graph.ir import Elements

__all__ = ["convolve", "is_rising", "requantize", "round_half_even_shift"]

_CHUNK_BYTES = 64 << 20
_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53


def convolve(
    x: Elements,
    weights: Elements,
    bias: NDArray[np.int32],
    *,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    groups: int,
    pad_value: int,
) -> NDArray[np.float64]:
    """Sums of products of a convolution, as float64 integers that an int32 register would hold.

    A matrix product in floating point is exact, in any order of summation, while every partial sum is an
    integer below 2**24 (float32) or 2**53 (float64). The narrower type is taken where its bound holds. The
    result wraps at 32 bits, as the accumulators of the hardware and of ONNX Runtime do.

    Parameters
    ----------
    x : ndarray of elements, shape (B, N, H, W)
    weights : ndarray of elements, shape (M, N / groups, kh, kw)
    bias : ndarray int32, shape (M,)
    pads : (top, left, bottom, right)
        Rows and columns around the image; negative ones are cut off.
    pad_value : int
        What padding pixels hold.

    Returns
    -------
    ndarray float64, shape (B, M, R, C)
    """
    m, n_group, kh, kw = weights.shape
    matrix = weights.reshape(groups, m // groups, n_group * kh * kw)
    largest_x = max(int(np.max(x, initial=0)), -int(np.min(x, initial=0)), abs(pad_value))
    bound = int(np.abs(matrix.astype(np.int32)).sum(axis=-1, dtype=np.int64).max(initial=0)) * largest_x
    if bound >= _EXACT_FLOAT64:  # more than 2**39 products: no network has such a layer
        raise ValueError(f"a sum of {matrix.shape[-1]} products is too long to be exact")
    dtype = np.float32 if bound < _EXACT_FLOAT32 else np.float64
    matrix = matrix.astype(dtype)

    if any(pads):
        top, left, bottom, right = pads
        x = x[:, :, max(0, -top) : x.shape[2] - max(0, -bottom), max(0, -left) : x.shape[3] - max(0, -right)]
        edges = [(max(0, a), max(0, b)) for a, b in ((top, bottom), (left, right))]
        x = np.pad(x, ((0, 0), (0, 0), *edges), constant_values=pad_value)
    rows = (x.shape[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
    cols = (x.shape[3] - dilations[1] * (kw - 1) - 1) // strides[1] + 1
    out = np.empty((len(x), m, rows, cols), np.float64)
    image_bytes = x.shape[1] * kh * kw * rows * cols * np.dtype(dtype).itemsize
    step = max(1, _CHUNK_BYTES // max(1, image_bytes))
    for first in range(0, len(x), step):
        part = _columns(x[first : first + step], (kh, kw), strides, dilations, (rows, cols), groups, dtype)
        out[first : first + step] = np.matmul(matrix, part).reshape(-1, m, rows, cols)
    out += bias.reshape(1, m, 1, 1)
    if bound + int(np.abs(bias.astype(np.int64)).max(initial=0)) >= 1 << 31:
        out = out.astype(np.int64).astype(np.int32).astype(np.float64)
    return out


def _columns(
    x: Elements,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    size: tuple[int, int],
    groups: int,
    dtype: type[np.float32 | np.float64],
) -> NDArray[Any]:
    """im2col: shape (B, groups, N / groups * kh * kw, rows * cols)."""
    batch, channels = x.shape[:2]
    (kh, kw), (rows, cols) = kernel, size
    if kh == kw == 1 and tuple(strides) == (1, 1):
        return x.astype(dtype).reshape(batch, groups, channels // groups, rows * cols)
    columns = np.empty((batch, channels, kh, kw, rows, cols), dtype)
    for y in range(kh):
        for z in range(kw):
            y0, x0 = y * dilations[0], z * dilations[1]
            columns[:, :, y, z] = x[
                :,
                :,
                y0 : y0 + strides[0] * (rows - 1) + 1 : strides[0],
                x0 : x0 + strides[1] * (cols - 1) + 1 : strides[1],
            ]
    return columns.reshape(batch, groups, channels // groups * kh * kw, rows * cols)


def requantize(
    acc: ArrayLike,
    scale: ArrayLike,
    zero_point: int,
    low: int | None = None,
    high: int | None = None,
    element: ElementType = INT8,
) -> Elements:
    """clip(rint(float32(acc) * scale) + zero_point), all in float32, ties to even.

    Parameters
    ----------
    acc : ndarray of integers (any type that holds int32 exactly)
    scale : float32, or an ndarray float32 that broadcasts against ``acc``
    low, high : int, optional
        Without: those of the element.

    Returns
    -------
    ndarray of elements
    """
    value = np.asarray(acc).astype(np.float32)
    value *= np.asarray(scale, np.float32)
    np.rint(value, out=value)
    value += np.float32(zero_point)
    bounds = element.low if low is None else low, element.high if high is None else high
    return np.clip(value, *bounds, out=value).astype(element.dtype)


def round_half_even_shift(value: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """value / 2**shift rounded to the nearest integer, ties to even; exact on int64."""
    if shift == 0:
        return value
    half = np.int64(1) << np.int64(shift - 1)
    floor = value >> np.int64(shift)
    rest = value - (floor << np.int64(shift))
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))


def is_rising(table: Elements | None) -> bool:
    """Whether a table (or none) keeps the order of numbers."""
    return table is None or bool((np.diff(np.roll(table.astype(int), len(table) // 2)) >= 0).all())
