"""Clips, scales and shifts in real numbers, against what they stand for applied to numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper

from superlip.graph.onnx.functions import affine_factors, clip_range, clip_together, norm_factors

NUMBERS = st.floats(-1e3, 1e3)
CLIPS = st.tuples(NUMBERS, NUMBERS)


def clipped(numbers, clip):
    """ONNX's Clip: high everywhere where low > high."""
    return np.minimum(np.maximum(numbers, clip[0]), clip[1])


@given(CLIPS, CLIPS, arrays(np.float64, 20, elements=NUMBERS))
def test_two_clips_are_one(first, second, numbers):
    together = clip_together(first, second)
    assert together[0] <= together[1]
    np.testing.assert_array_equal(clipped(numbers, together), clipped(clipped(numbers, first), second))


@given(CLIPS)
def test_the_range_of_clip_is_where_its_results_are(bounds):
    node = helper.make_node("Clip", ["x", "low", "high"], ["y"])
    low, high = clip_range(node, dict(zip(("low", "high"), map(np.float64, bounds), strict=True)))
    assert low <= high == bounds[1] and clipped(np.float64(-1e4), bounds) == low


def test_clip_without_a_constant_bound_has_no_range():
    node = helper.make_node("Clip", ["x", "low"], ["y"])
    assert clip_range(node, {}) is None and clip_range(node, {"low": np.zeros(2)}) is None
    assert clip_range(helper.make_node("Relu", ["x"], ["y"]), {}) == (0.0, np.inf)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
def test_affine_factors_do_what_the_operator_does(op, is_first, shape):
    value, x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32), np.arange(12.0).reshape(1, 3, 2, 2)
    factors = affine_factors(op, value, 4, is_first)
    if op in ("Sub", "Div") and is_first:
        assert factors is None
        return
    scale, shift = (f.reshape(1, -1, 1, 1) for f in factors)
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op]
    np.testing.assert_allclose(x * scale + shift, function(x, value.astype(np.float64)))


def test_constants_of_another_shape_are_no_factors():
    assert affine_factors("Add", np.zeros((1, 1, 2, 1)), 4, False) is None
    assert affine_factors("Add", np.zeros((1, 3, 1, 1)), 3, False) is None
    assert affine_factors("Pow", np.zeros(()), 4, False) is None


@given(*[arrays(np.float32, 4, elements=st.floats(0.125, 8, width=32)) for _ in range(4)])
def test_norm_factors_are_batch_normalization(gamma, beta, mean, variance):
    x = np.linspace(-3, 3, 4)
    scale, shift = norm_factors(gamma, beta, mean, variance, 1e-5)
    np.testing.assert_allclose(x * scale + shift, gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta, atol=1e-4)
