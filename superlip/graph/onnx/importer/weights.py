"""Constants of the model as weights, biases and factors of the node's integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superlip.element import ElementType
from superlip.graph import ir

from .states import Unsupported

if TYPE_CHECKING:
    from .importer import Importer

__all__ = [
    "Quantized", "biased", "channel_scale", "dense_weights", "dequantized", "fold_zero_point", "quantized_weights",
    "real_constant", "signed_parts", "usable_scale",
]  # fmt: skip


class Quantized(NamedTuple):
    """A constant that the model stores as integers: ``scale`` and ``zero`` are one number, or one along ``axis``."""

    integers: NDArray
    scale: NDArray[np.float32]
    zero: NDArray | None
    axis: int


def real_constant(importer: Importer, name: str) -> NDArray | None:
    """float32 of a constant, dequantized where it is stored as integers; None where it is no constant."""
    return dequantized(importer.dq_consts[name]) if name in importer.dq_consts else importer.const(name)


def dequantized(constant: Quantized) -> NDArray[np.float32]:
    """The real numbers that a constant of integers stands for."""
    q, scale, zero, axis = constant
    zero = np.zeros((), np.int64) if zero is None else zero.astype(np.int64)
    if scale.size > 1:
        along = [-1 if i == axis % q.ndim else 1 for i in range(q.ndim)]
        scale, zero = scale.reshape(along), np.broadcast_to(zero.reshape(-1), scale.shape).reshape(along)
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    return ((q.astype(np.int64) - zero).astype(np.float32) * scale.astype(np.float32)).astype(np.float32)


def quantized_weights(importer: Importer, name: str) -> Quantized | None:
    """A dequantized constant, ``scale`` of shape (1,) or (M,); None where the operand is another thing."""
    if name not in importer.dq_consts:
        return None
    weights, scale, zero, axis = importer.dq_consts[name]
    if weights.dtype not in importer.element.types:
        wanted = " or ".join(map(str, importer.element.types))
        raise Unsupported(f"weights must be {wanted}, not {weights.dtype}; quantize them to one of the two")
    return Quantized(weights, scale.reshape(-1), zero, axis)


def signed_parts(weights: NDArray, zero_point: NDArray | None, element: ElementType) -> list[NDArray]:
    """Weights less their zero point, as a sum of elements: of one, or of two or three where one is not enough."""
    zero = np.zeros((), np.int64) if zero_point is None else np.asarray(zero_point, np.int64)
    if weights.dtype == element.dtype and not zero.any():
        return [weights]
    if zero.ndim and zero.size > 1:
        zero = zero.reshape(-1, *([1] * (weights.ndim - 1)))
    difference = weights.astype(np.int64) - zero.reshape(zero.shape if zero.size > 1 else ())
    parts = [np.clip(difference, element.low, element.high)]
    while (rest := difference - sum(parts)).any():
        parts.append(np.clip(rest, element.low, element.high))
    return [part.astype(element.dtype) for part in parts]


def dense_weights(weights: NDArray, transposed: bool) -> NDArray:
    """(M, F) from Gemm's or MatMul's B."""
    return weights if transposed else np.ascontiguousarray(weights.T)


LARGEST_BIAS = float(1 << 30)
"""In steps of the products; the other half of int32 is theirs."""


def biased(
    importer: Importer, name: str, source: ir.Value, weights: NDArray, weight_scale: NDArray, factor: float = 1.0
) -> tuple[NDArray, NDArray, NDArray[np.int64] | None]:
    """Weights and the bias beside them, in units that hold both.

    Where a bias in floating point leaves int32 in steps of the products (a quantizer gives weights that are all 0 any
    scale, however small), the channel's weights get a wider scale: what they lose is nothing beside the bias.

    Parameters
    ----------
    name : str
        Of the bias; "" where there is none.
    source : ir.Value
        The operand.
    weights : ndarray of elements, shape (M, ...)
    weight_scale : ndarray float32, shape (1,) or (M,)
    factor : float
        Of the bias.

    Returns
    -------
    (weights, scale, bias int64 shape (M,) or None)
    """
    if not name:
        return weights, weight_scale, None
    channels = len(weights)
    scale = np.broadcast_to(weight_scale.astype(np.float64), (channels,))
    exact = np.float64(source.scale) * scale
    if name in importer.dq_consts:
        q, bias_scale, zero, _ = importer.dq_consts[name]
        q = q.astype(np.int64).reshape(-1) - (0 if zero is None else np.asarray(zero, np.int64).reshape(-1))
        bias_scale = bias_scale.reshape(-1).astype(np.float64)
        if factor == 1 and np.allclose(bias_scale, exact, rtol=1e-4, atol=0):
            return weights, weight_scale, within_int32(q, weights, source)
        real = q * bias_scale
    elif name in importer.consts:
        real = importer.consts[name].reshape(-1).astype(np.float64)
    else:
        raise Unsupported(f"bias {name!r} must be a constant")
    if real.size not in (1, channels):
        raise Unsupported(f"a bias of {real.size} numbers for {channels} output channels")
    importer.notes.append(f"bias {name!r} was rounded to int32 at the scale of the products")
    real = np.broadcast_to(real * factor, (channels,))
    needed = np.abs(real) / float(source.scale) / LARGEST_BIAS
    if (needed > scale).any():
        wider = np.maximum(scale, needed)
        shrunk = np.rint(weights * (scale / wider).reshape(-1, *(1 for _ in weights.shape[1:])))
        weights, weight_scale = shrunk.astype(weights.dtype), wider.astype(np.float32)
        exact = np.float64(source.scale) * weight_scale
    return weights, weight_scale, np.rint(real / exact).astype(np.int64)


def within_int32(bias: NDArray[np.int64], weights: NDArray, source: ir.Value) -> NDArray[np.int64]:
    """The bias, less what would let a sum leave int32.

    In a Q/DQ model the sum is a real number, which its result's quantization saturates; the accumulators wrap. A bias
    that brings a sum to the end of int32 is millions of steps out of the result's range on the same side.

    Parameters
    ----------
    bias : ndarray int64, shape (M,)
    weights : ndarray of elements, shape (M, ...)
    source : ir.Value
        The operand.
    """
    flat = weights.reshape(len(weights), -1).astype(np.int64)
    ends = [flat * (bound - source.zero_point) for bound in source.element.bounds]
    lowest, highest = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
    return np.clip(bias, -(2**31) - lowest, 2**31 - 1 - highest)


def fold_zero_point(bias: NDArray | None, weights: NDArray, zero_point: int) -> NDArray[np.int32]:
    """Model bias - zp_in * sum(w), modulo 2**32 as in the accumulators."""
    if bias is not None and bias.size != len(weights):
        raise Unsupported(f"a bias of {bias.size} numbers for {len(weights)} output channels")
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    bias = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64).reshape(-1)
    return (bias - zero_point * sums).astype(np.int32)


def channel_scale(
    source: float | np.float32, weight_scale: ArrayLike, result: ArrayLike, channels: int
) -> NDArray[np.float32]:
    """float32 of input scale * weight scale / output scale, one or one a channel, in ONNX Runtime's order."""
    if not (np.asarray(weight_scale) > 0).all():
        raise Unsupported("the scales of its weights must be positive numbers")
    with np.errstate(over="ignore", under="ignore"):
        scale = np.float32(source) * np.asarray(weight_scale, np.float32).reshape(-1) / np.asarray(result, np.float32)
    return np.broadcast_to(usable_scale(scale), (channels,)).copy()


def usable_scale(scale: ArrayLike) -> NDArray[np.float32]:
    """Factors of int32 sums, float32: finite, and 0 where they are subnormal, when every product rounds to 0 anyway."""
    scale = np.asarray(scale, np.float32)
    if not np.isfinite(scale).all():
        raise Unsupported("the scales of its operands and its result have a quotient that is no float32")
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(0), scale)
