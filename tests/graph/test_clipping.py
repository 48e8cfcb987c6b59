"""Ranges from histograms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.graph.onnx.clipping import clipped_range
from superlip.graph.onnx.scales import LARGEST, Params

METHODS = ["percentile", "entropy", "mse"]


def chosen(values, method, percentile=99.9, bins=2048):
    span = float(values.min()), float(values.max())
    return clipped_range(np.histogram(values, bins, span)[0].astype(float), span, method, percentile)


def error(values, span):
    params = Params.of(*span)
    steps = np.clip(np.rint(values / params.scale) + params.zero, 0, LARGEST)
    return np.square((steps - params.zero) * params.scale - values).mean()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(METHODS), st.floats(-3, 3), st.floats(1, 50))
def test_a_range_lies_within_what_was_seen_and_holds_0(seed, method, middle, outlier):
    values = np.random.default_rng(seed).normal(middle, 1, 5000) * np.r_[np.ones(4999), outlier]
    low, high = chosen(values, method)
    assert min(values.min(), 0) - 1e-9 <= low <= 0 <= high <= max(values.max(), 0) + 1e-9
    assert (low, high) == chosen(values, method)


def test_least_error_is_less_than_that_of_all_that_was_seen():
    values = np.random.default_rng(1).normal(0, 1, 1_000_000)
    values[:2] = [40, -40]
    whole = error(values, (values.min(), values.max()))
    assert error(values, chosen(values, "mse")) < whole / 3
    assert error(values, chosen(values, "mse")) < error(values, chosen(values, "percentile", 95))


def test_each_end_by_itself():
    """One far value below says nothing of the end above."""
    values = np.abs(np.random.default_rng(1).normal(0, 1, 1_000_000))
    values[0] = -40
    low, high = chosen(values, "mse")
    assert low > -20 and high == pytest.approx(values.max(), rel=0.3)


def test_a_percentile_leaves_out_as_much_at_each_end():
    values = np.linspace(-1, 1, 100_001)
    low, high = chosen(values, "percentile", 99)
    assert (low, high) == (pytest.approx(-0.99, abs=2e-3), pytest.approx(0.99, abs=2e-3))
    assert chosen(values, "percentile", 100) == (-1, 1)


def test_entropy_keeps_what_is_even_and_cuts_a_thin_tail():
    even = np.random.default_rng(1).uniform(-1, 1, 100_000)
    low, high = chosen(even, "entropy")
    assert high - low > 1.9
    tailed = np.r_[np.random.default_rng(1).normal(0, 1, 100_000), 60.0]
    low, high = chosen(tailed, "entropy")
    assert 3 < high < 20


@pytest.mark.parametrize("method", METHODS)
def test_few_values_are_all_kept(method):
    values = np.random.default_rng(1).laplace(0, 1, 500)
    assert chosen(values, method, 90) == (values.min(), values.max())
    assert clipped_range(np.zeros(8), (2.0, 2.0), method, 90) == (2, 2)
