"""Fixed-point factors for additions, fitted to ONNX Runtime's float arithmetic."""

import functools

import numpy as np
from numpy.typing import NDArray

from .states import Params, Unsupported

__all__ = ["add_factors", "float_addition"]

_REACH = 24
"""Steps of the factors' last bit that the fit tries on each side."""


def float_addition(first: Params, second: Params, result: Params) -> NDArray[np.float64]:
    """What ONNX Runtime's QLinearAdd gives for all 65536 pairs, on a CPU with fused multiply-add.

    ``rint(fma(a, ra, fma(b, rb, zp - fma(ra, za, rb * zb))))`` in float32 with ``r = scale / result scale``: measured
    equal on 200 random sets of scales, 13,107,200 values (x86, AVX-512). Other CPUs round the products apart, which
    differs in a few values of a million.

    Parameters
    ----------
    first, second, result : Params

    Returns
    -------
    ndarray float64, shape (patterns, patterns): the model's own numbers before clipping, by those of the operands, each
    from the smallest of its type on
    """
    ratio_a, ratio_b = (np.float32(p.scale) / np.float32(result.scale) for p in (first, second))
    zero_a, zero_b, zero = (p.zero_point + p.offset for p in (first, second, result))
    own_a, own_b = (np.arange(p.element.low, p.element.high + 1, dtype=np.float64) + p.offset for p in (first, second))

    def fma(x, y, z):
        # 8 x 24 bits are exact in float64; the addition rounds once more below float32's last bit
        return (np.float64(x) * np.float64(y) + np.float64(z)).astype(np.float32)

    offset = np.float32(zero) - fma(ratio_a, zero_a, np.float32(ratio_b * np.float32(zero_b)))
    inner = fma(own_b, ratio_b, offset)
    return np.rint(fma(own_a[:, None], ratio_a, inner[None, :])).astype(np.float64)


@functools.lru_cache(maxsize=1024)
def add_factors(first: Params, second: Params, result: Params) -> tuple[int, int, int, int]:
    """(mult_a, mult_b, shift, pairs) with |mult| < 2**26.

    ``round_half_even(a * mult_a + b * mult_b, shift)`` is exact arithmetic, ONNX Runtime's is rounded four times: next
    to a tie they may differ. The factors' last bits are free within the rounding of the scales themselves; they are
    chosen so that the two agree in as many of the 65536 pairs of operands as possible. ``pairs`` is how many are left.

    Parameters
    ----------
    first, second, result : Params

    Raises
    ------
    Unsupported
        If an operand's scale is 2**25 times the result's or more.
    """
    ratios = [float(np.float32(p.scale) / np.float32(result.scale)) for p in (first, second)]
    largest = max(ratios)
    if not np.isfinite(largest) or largest >= 1 << 25:
        raise Unsupported(f"addition whose operands' scales are {largest:.3g} times the result's")
    shift = 62
    limit = (1 << 26) - _REACH
    while shift > 0 and max(round(r * 2.0**shift) for r in ratios) >= limit:
        shift -= 1
    start = [round(r * 2.0**shift) for r in ratios]

    clip = result.element.low - result.zero_point, result.element.high - result.zero_point
    wanted = np.clip(float_addition(first, second, result) - (result.zero_point + result.offset), *clip)
    a, b = (np.arange(p.element.low, p.element.high + 1, dtype=np.int64) - p.zero_point for p in (first, second))
    # only pairs next to a tie depend on the last bits
    exact = (a[:, None] * start[0] + b[None, :] * start[1]) / 2.0**shift
    span = first.element.patterns + second.element.patterns
    reach = (_REACH + 1) * span / 2.0**shift + 1e-4
    near = np.abs(exact - np.floor(exact) - 0.5) < reach
    near &= (exact > clip[0] - 1) & (exact < clip[1] + 1)
    rows, cols = np.nonzero(near)
    goal = wanted[rows, cols].astype(np.int64)
    best = goal.size + 1, start[0], start[1]
    for step_a, step_b in _steps():
        mult_a, mult_b = start[0] + step_a, start[1] + step_b
        ours = _round(a[rows] * mult_a + b[cols] * mult_b, shift)
        left = int((np.clip(ours, *clip) != goal).sum())
        if left < best[0]:
            best = left, mult_a, mult_b
        if left == 0:
            break
    return best[1], best[2], shift, best[0]


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
