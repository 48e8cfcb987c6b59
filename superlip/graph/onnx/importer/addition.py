"""Fixed-point factors for additions, fitted to ONNX Runtime's float arithmetic."""

import functools

import numpy as np

from .states import Unsupported

__all__ = ["add_factors", "float_addition"]

_REACH = 24
"""Steps of the factors' last bit that the fit tries on each side."""


def float_addition(first, second, result):
    """What ONNX Runtime's QLinearAdd gives for all 65536 pairs, on a CPU with fused multiply-add.

    ``rint(fma(a, ra, fma(b, rb, zp - fma(ra, za, rb * zb))))`` in float32 with ``r = scale / result scale``: measured
    equal on 200 random sets of scales, 13,107,200 values (x86, AVX-512). Other CPUs round the products apart, which
    differs in a few values of a million.

    Parameters
    ----------
    first, second, result : (scale, zero point in the model's own type, 0 to 255 or -128 to 127)

    Returns
    -------
    ndarray float64, shape (256, 256): by operand less its type's minimum, before clipping
    """
    (scale_a, zero_a, low), (scale_b, zero_b, _), (scale, zero, _) = first, second, result
    ratio_a, ratio_b = (np.float32(s) / np.float32(scale) for s in (scale_a, scale_b))
    numbers = np.arange(256, dtype=np.float64) + low

    def fma(x, y, z):
        # 8 x 24 bits are exact in float64; the addition rounds once more below float32's last bit
        return (np.float64(x) * np.float64(y) + np.float64(z)).astype(np.float32)

    offset = np.float32(zero) - fma(ratio_a, zero_a, np.float32(ratio_b * np.float32(zero_b)))
    inner = fma(numbers, ratio_b, offset)
    return np.rint(fma(numbers[:, None], ratio_a, inner[None, :])).astype(np.float64)


@functools.lru_cache(maxsize=1024)
def add_factors(first, second, result):
    """(mult_a, mult_b, shift, pairs) with |mult| < 2**26.

    ``round_half_even(a * mult_a + b * mult_b, shift)`` is exact arithmetic, ONNX Runtime's is rounded four times: next
    to a tie they may differ. The factors' last bits are free within the rounding of the scales themselves; they are
    chosen so that the two agree in as many of the 65536 pairs of operands as possible. ``pairs`` is how many are left.

    Parameters
    ----------
    first, second, result : (scale, int8 zero point, is_unsigned)

    Raises
    ------
    Unsupported
        If an operand's scale is 2**25 times the result's or more.
    """
    ratios = [float(np.float32(s) / np.float32(result[0])) for s in (first[0], second[0])]
    largest = max(ratios)
    if not np.isfinite(largest) or largest >= 1 << 25:
        raise Unsupported(f"addition whose operands' scales are {largest:.3g} times the result's")
    shift = 62
    limit = (1 << 26) - _REACH
    while shift > 0 and max(round(r * 2.0**shift) for r in ratios) >= limit:
        shift -= 1
    start = [round(r * 2.0**shift) for r in ratios]

    offsets = [128 * is_unsigned for _, _, is_unsigned in (first, second, result)]
    models = [(s, z + o, o - 128) for (s, z, _), o in zip((first, second, result), offsets, strict=True)]
    low = models[2][2]
    wanted = np.clip(float_addition(*models), low, low + 255) - models[2][1]
    a, b = (np.arange(-128, 128, dtype=np.int64) - zero for _, zero, _ in (first, second))
    clip = low - models[2][1], low + 255 - models[2][1]
    # only pairs next to a tie depend on the last bits
    exact = (a[:, None] * start[0] + b[None, :] * start[1]) / 2.0**shift
    reach = (_REACH + 1) * 512 / 2.0**shift + 1e-4
    near = np.abs(exact - np.floor(exact) - 0.5) < reach
    near &= (exact > clip[0] - 1) & (exact < clip[1] + 1)
    rows, cols = np.nonzero(near)
    goal = wanted[rows, cols].astype(np.int64)
    best = None
    for step_a, step_b in _steps():
        factors = start[0] + step_a, start[1] + step_b
        ours = _round(a[rows] * factors[0] + b[cols] * factors[1], shift)
        left = int((np.clip(ours, *clip) != goal).sum())
        if best is None or left < best[0]:
            best = left, factors
        if left == 0:
            break
    return *best[1], shift, best[0]


@functools.cache
def _steps():
    """Steps of both factors, the smallest first."""
    span = range(-_REACH, _REACH + 1)
    return sorted(((x, y) for x in span for y in span), key=lambda s: (max(abs(s[0]), abs(s[1])), s))


def _round(total, shift):
    if shift == 0:
        return total
    floor = total >> shift
    rest = total - (floor << shift)
    half = 1 << (shift - 1)
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))
