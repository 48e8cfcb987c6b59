"""Weights in float32, computed in float64."""

import numpy as np
import pytest

from superlip.graph.onnx import precise
from superlip.graph.onnx.precise import row_blocks, scaled


@pytest.mark.parametrize("shape", [(7, 5), (3, 1000, 2), (1, 4), (0, 3), (4, 0)])
@pytest.mark.parametrize("elements", [1, 10, 1 << 18])
def test_blocks_are_all_of_an_array(monkeypatch, shape, elements):
    monkeypatch.setattr(precise, "_ELEMENTS", elements)
    array = np.arange(np.prod(shape)).reshape(shape)
    parts = [array[rows] for rows in row_blocks(array)]
    assert all(part.size <= max(elements, array[:1].size) for part in parts)
    np.testing.assert_array_equal(np.concatenate([array[:0], *parts]), array)


def test_products_are_rounded_once(monkeypatch):
    monkeypatch.setattr(precise, "_ELEMENTS", 100)
    rng = np.random.default_rng(0)
    weights, factors = rng.normal(size=(50, 6, 3)).astype(np.float32), rng.normal(size=(50, 6, 1))
    expected = (weights.astype(np.float64) * factors).astype(np.float32)
    np.testing.assert_array_equal(scaled(weights, factors), expected)
    assert (weights * factors.astype(np.float32) != expected).any()
