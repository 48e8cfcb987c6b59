"""What the arithmetic of operators is made of, against exact numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.element import INT8, INT16
from superlip.ops.arithmetic import convolve, is_rising, requantize, round_half_even_shift

ELEMENTS = [INT8, INT16]
PLAIN = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1, "pad_value": 0}


def numbers(rng, element, shape, corners):
    """Random elements; with ``corners`` mostly the smallest and largest."""
    if corners:
        return rng.choice(np.array([*element.bounds, *element.bounds, 0, 1], element.dtype), shape)
    return rng.integers(*element.bounds, shape, element.dtype, endpoint=True)


def test_int32_accumulators_wrap():
    x = np.full((1, 2, 1, 1), -128, np.int8)
    weights = np.full((1, 2, 1, 1), -128, np.int8)
    acc = convolve(x, weights, np.array([2**31 - 1], np.int32), **PLAIN)
    assert acc[0, 0, 0, 0] == 2 * 16384 + (2**31 - 1) - 2**32


@pytest.mark.parametrize("element", ELEMENTS)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_convolution_is_the_sum_of_its_products(element, seed, kh, stride, corners):
    rng = np.random.default_rng(seed)
    x, w = numbers(rng, element, (2, 4, 7, 8), corners), numbers(rng, element, (6, 2, kh, 2), corners)
    bias = rng.integers(-100, 100, 6).astype(np.int32)
    acc = convolve(x, w, bias, strides=(stride, 1), pads=(1, 0, 2, 1), dilations=(1, 2), groups=2, pad_value=-7)
    padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (1, 2), (0, 1)), constant_values=-7)
    for _ in range(10):
        b, m, r, c = (int(rng.integers(n)) for n in acc.shape)
        first = 2 * (m // 3)
        window = padded[b, first : first + 2, r * stride : r * stride + kh, c : c + 3 : 2]
        exact = (window * w[m]).sum() + bias[m]
        assert acc[b, m, r, c] == (exact + 2**31) % 2**32 - 2**31


def test_requantize_rounds_ties_to_even():
    acc = np.array([1, 3, 5, -1, -3, 1000, -1000])
    assert requantize(acc, np.float32(0.5), 1).tolist() == [1, 3, 3, 1, -1, 127, -128]
    assert requantize(acc, np.float32(0.5), 1, -2, 2).tolist() == [1, 2, 2, 1, -1, 2, -2]
    wide = requantize(acc * 1000, np.float32(0.5), 1, element=INT16)
    assert wide.dtype == np.int16
    assert wide.tolist() == [501, 1501, 2501, -499, -1499, 32767, -32768]


@given(st.integers(-(2**40), 2**40), st.integers(0, 30))
def test_round_half_even_shift(value, shift):
    assert int(round_half_even_shift(np.int64(value), shift)) == round(Fraction(value, 1 << shift))


@pytest.mark.parametrize("element", ELEMENTS)
def test_a_table_rises_by_number_and_not_by_pattern(element):
    same = element.by_pattern()
    assert is_rising(None)
    assert is_rising(same)
    assert is_rising(np.zeros_like(same))
    assert not is_rising(np.sort(same))  # by pattern: the largest number's entry is before the smallest's
    falls = same.copy()
    falls[5] = 3
    assert not is_rising(falls)
