"""Sizes of what a model makes of one image, without making it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_models import model

from superlip.graph.apart import skeleton
from superlip.graph.errors import ModelError
from superlip.graph.onnx.validate.sizes import check_sizes, inferred


def expanded(*target):
    nodes = [helper.make_node("Expand", ["x", "shape"], ["y"], name="e")]
    return model(nodes, {"x": (np.float32, [1])}, ["y"], {"shape": np.array(target, np.int64)})


@given(st.lists(st.integers(1, 1 << 16), min_size=1, max_size=3))
def test_a_result_beyond_the_limit_is_named(target):
    light = skeleton(expanded(*target))
    count = int(np.prod(target, dtype=object))
    if count <= 1 << 28:
        check_sizes(light, inferred(light))
        assert inferred(light)["y"] == tuple(target)
    else:
        with pytest.raises(ModelError, match=rf"Expand 'e': its result 'y' has shape .*, {count:,} elements; at most"):
            check_sizes(light, inferred(light))


def test_results_that_are_too_large_together():
    nodes = [helper.make_node("Expand", ["x", "shape"], [f"y{i}"], name=f"e{i}") for i in range(3)]
    built = model(nodes, {"x": (np.float32, [1])}, ["y0", "y1", "y2"], {"shape": np.array([1 << 28])})
    with pytest.raises(ModelError, match=r"makes results of 805,306,368 elements; at most 536,870,912"):
        check_sizes(built, inferred(built))


def test_a_result_without_elements():
    with pytest.raises(ModelError, match="Expand 'e': its result 'y' has no elements"):
        check_sizes(expanded(3), {"y": (3, 0)})
