"""Attributes, scales and constants of single nodes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper

from superlip.graph.errors import ModelError
from superlip.graph.onnx.validate.nodes import SCALES, check_node


def refused(node, constants=None, shapes=None):
    """What is said of a node, or None."""
    try:
        check_node(node, constants or {}, shapes or {})
    except ModelError as error:
        return str(error)


@given(arrays(np.float32, st.integers(1, 3), elements=st.floats(width=32)))
def test_scales_are_positive_numbers(scale):
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], name="q")
    fine = bool((np.isfinite(scale) & (scale > 0)).all())
    assert (refused(node, {"s": scale}) is None) == fine


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=5), st.sampled_from(["strides", "dilations", "pads"]))
def test_a_window_has_its_axes(numbers, name):
    node = helper.make_node("MaxPool", ["x"], ["y"], name="p", kernel_shape=[2, 2], **{name: numbers})
    wanted = 4 if name == "pads" else 2
    fine = len(numbers) == wanted and min(numbers) >= (0 if name == "pads" else 1)
    assert (refused(node) is None) == fine


@pytest.mark.parametrize(
    ("shape", "attributes", "why"),
    [
        ((4, 2, 3, 3), {"kernel_shape": [3, 1]}, "its weights have shape"),
        ((4, 2, 0, 3), {}, "no elements"),
        ((4, 2, 3, 3), {"group": 3}, "group=3 does not divide its 4 filters"),
        ((4, 2, 3, 3), {"group": 2}, None),
    ],
)
def test_weights_of_a_convolution(shape, attributes, why):
    said = refused(helper.make_node("Conv", ["x", "w"], ["y"], name="c", **attributes), shapes={"w": shape})
    assert said is None if why is None else why in said and said.startswith("Conv 'c'")


@pytest.mark.parametrize(("zero", "why"), [(np.float32(0), "must be integers"), (np.uint8([1, 2]), "as many as")])
def test_zero_points_go_with_their_scales(zero, why):
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"])
    assert why in refused(node, {"s": np.float32(1), "z": zero})
    assert all(len(pair) == 2 for pairs in SCALES.values() for pair in pairs)


@pytest.mark.parametrize(
    ("op", "number", "fine"), [("Add", np.inf, False), ("Clip", np.inf, True), ("Clip", np.nan, False)]
)
def test_constants_are_numbers(op, number, fine):
    said = refused(helper.make_node(op, ["x", "c"], ["y"]), {"c": np.float32([0, number])})
    assert said is None if fine else "must be finite numbers" in said
