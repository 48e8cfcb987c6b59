"""The integer steps of the requantize pipeline against numpy's float32 arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.rtl.requantize import POINT, Requantize, round_half_even

INT32 = st.integers(-(2**31), 2**31 - 1)
SMALLEST, LARGEST = 0x0080_0000, 0x7F7F_FFFF  # bits of the normal float32 numbers above zero


def float32(bits):
    return np.asarray(bits, np.uint32).view(np.float32)


def bits_of(value):
    return int(np.float32(value).view(np.uint32))


def round_bits(value, count):
    """``value`` / 2**count, half to even, on Python integers."""
    floor, rest = value >> count, value & ((1 << count) - 1)
    half = (1 << count) >> 1
    return floor + (count > 0 and (rest > half or (rest == half and floor & 1)))


def emulate(acc, scale_bits, zp, low, high):
    """What the stages of ``Requantize`` do to one value, on Python integers."""
    magnitude = abs(acc)
    zeros = 63 if magnitude == 0 else 35 - magnitude.bit_length()
    normal = (magnitude << zeros) % (1 << 35)
    mantissa = round_bits(normal, 11)
    carry = mantissa >> 24
    if carry:
        mantissa = 1 << 23
    exponent = scale_bits >> 23
    factor = (scale_bits & 0x7F_FFFF) | ((exponent != 0) << 23)
    point = exponent - zeros - POINT + carry
    product = mantissa * factor
    top = product >> 47
    rounded = round_bits(product, 23 + top)
    point += top
    if point > 8 and rounded:
        integer = 256
    elif point < 0 or not rounded:
        integer = 0
    else:
        integer = round_bits(rounded << max(point, 0), 24)
    value = (-integer if acc < 0 else integer) + zp
    return min(max(value, low), high)


CORNER_SCALES = [0, SMALLEST, LARGEST, bits_of(255.5 / 2**31)]
CORNER_SCALES += [bits_of(scale) for scale in (1, 2.0**-24, 2.0**-32, 0.5, np.nextafter(np.float32(0.5), 1))]


def check(acc, scale_bits, zp=0, low=-128, high=127):
    expected = int(Requantize.model(np.int32(acc), float32(scale_bits), zp, low, high))
    assert emulate(acc, scale_bits, zp, low, high) == expected, (acc, hex(scale_bits), zp, low, high)


@settings(max_examples=1000, deadline=None)
@given(
    INT32,
    st.one_of(st.just(0), st.integers(SMALLEST, LARGEST)),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(-128, 127),
)
def test_any_scale(acc, scale_bits, zp, low, high):
    check(acc, scale_bits, zp, low, high)


@settings(max_examples=3000, deadline=None)
@given(INT32.filter(bool), st.floats(2**-2, 2**9), st.integers(-2, 2), st.integers(-128, 127))
def test_results_in_range(acc, result, ulps, zp):
    check(acc, bits_of(np.float32(result) / np.float32(abs(acc))) + ulps, zp)


@settings(max_examples=2000, deadline=None)
@given(st.integers(-30, 8), st.integers(-512, 512), st.integers(-3, 3), st.integers(-128, 127))
def test_ties_at_the_integer(exponent, half_steps, offset, zp):
    """acc * 2**exponent is k + 1/2, or just beside it."""
    acc = round(half_steps * 2.0 ** (-exponent - 1)) + offset
    if -(2**31) <= acc < 2**31:
        check(acc, bits_of(2.0**exponent), zp)


@settings(max_examples=2000, deadline=None)
@given(st.integers(2**23, 2**24 - 1), st.integers(1, 7), st.integers(-2, 2), st.integers(-40, 0), st.booleans())
def test_ties_at_the_conversion(top, drop, offset, exponent, negative):
    """acc has ``drop`` bits more than float32 holds, and lies at or beside the middle between two floats."""
    acc = (top << drop) + (1 << (drop - 1)) + offset
    check(-acc if negative else acc, bits_of(2.0**exponent * 1.5))


@settings(max_examples=2000, deadline=None)
@given(st.integers(1, 2**24), st.integers(0, 2**23 - 1), st.integers(0, 30), st.integers(-128, 127))
def test_ties_at_the_product(mantissa, fraction, drop, zp):
    """Few-bit operands, so that the product often ends in exactly a half of its last place."""
    fraction &= -1 << (drop % 23)
    acc = mantissa & (-1 << (drop % 12))
    for result in (0.5, 1.0, 1.5, 100.5, 127.0):
        exponent = int(np.floor(np.log2(result / max(acc, 1)))) + 127
        check(acc, exponent << 23 | fraction, zp)


def test_double_rounding():
    """A product that float32 rounds up to k + 1/2 is then a tie: one exact rounding would give another integer."""
    rng = np.random.default_rng(1)
    found = 0
    for acc in rng.integers(2**20, 2**24, 4000):
        scale = np.float32(2.5) / np.float32(acc)
        exact = int(acc) * float(scale)
        if exact > 2.5 and np.float32(acc) * scale == np.float32(2.5):
            found += 1
            assert Requantize.model(np.int32(acc), scale, 0, -128, 127) == 2
        check(int(acc), bits_of(scale))
    assert found > 100


@pytest.mark.parametrize("acc", [0, 1, -1, 2**24 - 1, 2**24 + 1, 2**25 - 1, 2**31 - 1, -(2**31), -(2**31) + 1])
@pytest.mark.parametrize("scale_bits", CORNER_SCALES)
def test_corners(acc, scale_bits):
    for zp in (-128, -1, 0, 1, 127):
        check(acc, scale_bits, zp)
        check(acc, scale_bits, zp, 0, 6)
        check(acc, scale_bits, zp, 5, 3)


@given(st.integers(-(2**35) + 1, 2**35 - 1), st.integers(0, 63))
def test_exact_rounding(value, shift):
    assert int(round_half_even(value, shift)) == round_bits(value, shift)
    expected = min(max(round_bits(value, shift) + 3, -100), 100)
    assert int(Requantize.model_exact(value, shift, 3, -100, 100)) == expected


def test_no_lanes():
    with pytest.raises(ValueError, match="lanes must be a whole number from 1 to 128, not 0"):
        Requantize(0)
