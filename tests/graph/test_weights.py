"""Constants of a model as weights, biases and factors."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from superlip.element import INT8, INT16, ElementType
from superlip.graph import ir
from superlip.graph.onnx.importer.states import Unsupported
from superlip.graph.onnx.importer.weights import (
    LARGEST_BIAS,
    Quantized,
    biased,
    channel_scale,
    dense_weights,
    dequantized,
    fold_zero_point,
    signed_parts,
    usable_scale,
    within_int32,
)

SOURCE = ir.Value("x", (2, 1, 1), 0.5, -7)


@pytest.mark.parametrize("element", ElementType)
@pytest.mark.parametrize("is_unsigned", [True, False])
@given(data=st.data())
def test_weights_less_their_zero_point_are_a_sum_of_elements(element, is_unsigned, data):
    kind = element.own_type(is_unsigned)
    weights = data.draw(arrays(kind, (3, 2)))
    zero = data.draw(arrays(kind, data.draw(st.sampled_from([(), (1,), (3,)]))))
    exact = weights.astype(int) - (zero.astype(int).reshape(-1, 1) if zero.size > 1 else int(zero.reshape(())))
    found = signed_parts(weights, zero, element)
    assert len(found) == 1 or ((exact.min() < element.low or exact.max() > element.high) and len(found) <= 3)
    assert {part.dtype for part in found} == {element.dtype}
    np.testing.assert_array_equal(sum(part.astype(int) for part in found), exact)


def test_weights_without_zero_point_are_taken_as_they_are():
    weights = np.arange(4, dtype=np.int8).reshape(2, 2)
    assert signed_parts(weights, None, INT8)[0] is weights
    assert signed_parts(weights, None, INT16)[0].dtype == np.int16
    assert dense_weights(weights, True) is weights
    np.testing.assert_array_equal(dense_weights(weights, False), weights.T)


@given(arrays(np.int8, (4, 3)), st.integers(-(2**31), 2**31 - 1), st.integers(*INT8.bounds))
def test_the_zero_point_moves_into_the_bias(weights, bias, zero_point):
    """sum(w * (x - zp)) + bias = sum(w * x) + folded, modulo 2**32, for any x."""
    x = np.array([-128, 0, 127])
    folded = fold_zero_point(np.full(4, bias), weights, zero_point)
    exact = weights.astype(np.int64) @ (x - zero_point) + bias
    assert folded.dtype == np.int32
    np.testing.assert_array_equal((weights.astype(np.int64) @ x + folded).astype(np.int32), exact.astype(np.int32))
    with pytest.raises(Unsupported, match="a bias of 3 numbers for 4 output channels"):
        fold_zero_point(np.zeros(3), weights, zero_point)


@given(arrays(np.int64, 3, elements=st.integers(-(2**40), 2**40)), arrays(np.int8, (3, 5)))
def test_no_sum_leaves_int32(bias, weights):
    found = within_int32(bias, weights, SOURCE)
    ends = [weights.astype(np.int64) * (bound - SOURCE.zero_point) for bound in INT8.bounds]
    assert (np.minimum(*ends).sum(axis=1) + found >= -(2**31)).all()
    assert (np.maximum(*ends).sum(axis=1) + found < 2**31).all()


@given(arrays(np.float32, 3, elements=st.floats(-1e6, 1e6, width=32)), st.floats(2.0**-100, 1, width=32))
def test_a_bias_fits_beside_its_weights(bias, weight_scale):
    """Within half a step of the products, where the weights keep their scale; else as near as the wider one allows."""
    weights, scale = np.full((3, 2), 100, np.int8), np.full(1, weight_scale, np.float32)
    importer = SimpleNamespace(consts={"b": bias}, dq_consts={}, notes=[])
    q, wide, steps = biased(importer, "b", SOURCE, weights, scale)
    assert np.abs(steps).max() <= 2 * LARGEST_BIAS and importer.notes
    step = SOURCE.scale * np.broadcast_to(wide.astype(np.float64), 3)
    assert (np.abs(steps * step - bias) <= 0.5001 * step + 1e-6 * np.abs(bias)).all()
    assert (
        np.abs(q * np.broadcast_to(wide, 3)[:, None] - 100 * weight_scale) <= np.broadcast_to(wide, 3)[:, None]
    ).all()


def test_a_bias_that_is_none_or_not_constant():
    importer = SimpleNamespace(consts={}, dq_consts={}, notes=[])
    weights, scale = np.ones((3, 2), np.int8), np.ones(1, np.float32)
    assert biased(importer, "", SOURCE, weights, scale) == (weights, scale, None)
    with pytest.raises(Unsupported, match="bias 'b' must be a constant"):
        biased(importer, "b", SOURCE, weights, scale)


def test_constants_along_an_axis_are_dequantized():
    q = np.arange(6, dtype=np.uint8).reshape(2, 3)
    found = dequantized(Quantized(q, np.float32([1, 2, 4]), np.uint8([0, 1, 2]), -1))
    np.testing.assert_array_equal(found, [[0, 0, 0], [3, 6, 12]])
    np.testing.assert_array_equal(dequantized(Quantized(q, np.float32([0.5]), None, 1)), q / 2)


def test_factors_are_numbers_that_the_node_can_use():
    np.testing.assert_array_equal(channel_scale(0.5, [2, 4], 0.25, 2), [4, 8])
    assert usable_scale(np.float32(1e-39)) == 0
    for scale, message in (([0.0], "positive"), ([np.inf], "no float32")):
        with pytest.raises(Unsupported, match=message):
            channel_scale(1.0, scale, 1.0, 1)
