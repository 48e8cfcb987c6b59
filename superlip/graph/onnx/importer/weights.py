"""Constants of the model as weights, biases and factors of the node's integers."""

import numpy as np

from .states import Unsupported

__all__ = [
    "biased",
    "channel_scale",
    "dense_weights",
    "fold_zero_point",
    "int8_weights",
    "quantized_weights",
    "real_constant",
    "usable_scale",
]


def real_constant(importer, name):
    """float32 of a constant, dequantized where it is stored as integers; None where it is no constant."""
    if name in importer.dq_consts:
        q, scale, zero, axis = importer.dq_consts[name]
        zero = np.zeros((), np.int64) if zero is None else zero.astype(np.int64)
        if scale.size > 1:
            along = [-1 if i == axis % q.ndim else 1 for i in range(q.ndim)]
            scale, zero = scale.reshape(along), np.broadcast_to(zero.reshape(-1), scale.shape).reshape(along)
        else:
            scale, zero = scale.reshape(()), zero.reshape(())
        return ((q.astype(np.int64) - zero).astype(np.float32) * scale.astype(np.float32)).astype(np.float32)
    return importer.const(name)


def quantized_weights(importer, name):
    """(int8 weights, scale) of a dequantized constant, or None where the operand is another thing."""
    if name not in importer.dq_consts:
        return None
    weights, scale, zero, axis = importer.dq_consts[name]
    if weights.dtype not in (np.int8, np.uint8):
        raise Unsupported(f"weights must be int8 or uint8, not {weights.dtype}; quantize them to one of the two")
    return weights, scale.reshape(-1), zero, axis


def int8_weights(weights, zero_point, name):
    """Weights less their zero point, as int8. Unsupported where the difference does not fit."""
    zero = np.zeros((), np.int64) if zero_point is None else np.asarray(zero_point, np.int64)
    if weights.dtype == np.int8 and not zero.any():
        return weights
    if zero.ndim and zero.size > 1:
        zero = zero.reshape(-1, *([1] * (weights.ndim - 1)))
    difference = weights.astype(np.int64) - zero.reshape(zero.shape if zero.size > 1 else ())
    if difference.min(initial=0) < -128 or difference.max(initial=0) > 127:
        raise Unsupported(
            f"weights less their zero point reach [{difference.min()}, {difference.max()}] and do not fit int8; "
            f"quantize {name} with symmetric weights"
        )
    return difference.astype(np.int8)


def dense_weights(weights, transposed):
    """(M, F) from Gemm's or MatMul's B."""
    return weights if transposed else np.ascontiguousarray(weights.T)


LARGEST_BIAS = float(1 << 30)
"""In steps of the products; the other half of int32 is theirs."""


def biased(importer, name, source, weights, weight_scale, factor=1.0):
    """Weights and the bias beside them, in units that hold both.

    Where a bias in floating point leaves int32 in steps of the products (a quantizer gives weights that are all 0 any
    scale, however small), the channel's weights get a wider scale: what they lose is nothing beside the bias.

    Parameters
    ----------
    name : str
        Of the bias; "" where there is none.
    source : ir.Value
        The operand.
    weights : ndarray int8, shape (M, ...)
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
            return weights, weight_scale, within_int32(q, weights, source.zero_point)
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
        weights, weight_scale = shrunk.astype(np.int8), wider.astype(np.float32)
        exact = np.float64(source.scale) * weight_scale
    return weights, weight_scale, np.rint(real / exact).astype(np.int64)


def within_int32(bias, weights, zero_point):
    """The bias, less what would let a sum leave int32.

    In a Q/DQ model the sum is a real number, which its result's quantization saturates; the accumulators wrap. A bias
    that brings a sum to the end of int32 is millions of steps out of the result's range on the same side.

    Parameters
    ----------
    bias : ndarray int64, shape (M,)
    weights : ndarray int8, shape (M, ...)
    zero_point : int
        Of the operand.
    """
    flat = weights.reshape(len(weights), -1).astype(np.int64)
    ends = flat * (-128 - zero_point), flat * (127 - zero_point)
    lowest, highest = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
    return np.clip(bias, -(2**31) - lowest, 2**31 - 1 - highest)


def fold_zero_point(bias, weights, zero_point):
    """Model bias - zp_in * sum(w), modulo 2**32 as in the accumulators."""
    if bias is not None and bias.size != len(weights):
        raise Unsupported(f"a bias of {bias.size} numbers for {len(weights)} output channels")
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    bias = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64).reshape(-1)
    return (bias - zero_point * sums).astype(np.int32)


def channel_scale(source, weight_scale, result, channels):
    """float32 of input scale * weight scale / output scale, in ONNX Runtime's order."""
    if not (np.asarray(weight_scale) > 0).all():
        raise Unsupported("the scales of its weights must be positive numbers")
    with np.errstate(over="ignore", under="ignore"):
        scale = np.float32(source) * np.asarray(weight_scale, np.float32).reshape(-1) / np.float32(result)
    return np.broadcast_to(usable_scale(scale), (channels,)).copy()


def usable_scale(scale):
    """Factors of int32 sums, float32: finite, and 0 where they are subnormal, when every product rounds to 0 anyway."""
    scale = np.asarray(scale, np.float32)
    if not np.isfinite(scale).all():
        raise Unsupported("the scales of its operands and its result have a quotient that is no float32")
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(0), scale)
