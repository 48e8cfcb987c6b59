"""Ranges of tensors on calibration images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper
from onnx_models import model

from superlip.graph.errors import ModelError
from superlip.graph.onnx.calibrate import observe_ranges


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (3, 4), elements=st.floats(-8, 8, width=32)))
def test_ranges_are_the_ends_over_all_images(images):
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["y"])]
    ranges = observe_ranges(model(nodes, {"x": (np.float32, [1, 4])}, ["y"], {}), images)
    assert ranges["x"] == (images.min(), images.max()) and ranges["a"] == ((-images).min(), (-images).max())
    np.testing.assert_allclose(ranges["y"], np.exp(ranges["a"]), rtol=1e-5)


def test_numbers_that_are_not_finite_name_the_node():
    nodes = [helper.make_node("Log", ["x"], ["y"], name="log")]
    with pytest.raises(ModelError, match="Log 'log' gives numbers that are not finite"):
        observe_ranges(model(nodes, {"x": (np.float32, [1, 1])}, ["y"], {}), np.zeros((1, 1), np.float32))


def test_several_inputs():
    shapes = {"x": (np.float32, [1, 2]), "z": (np.float32, [1, 1, 2, 2])}
    nodes = [helper.make_node("Neg", ["z"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    images = np.array([[1, 2, 10, 20, 30, 40], [0, 3, 11, 21, 31, 41]], np.float32)
    ranges = observe_ranges(model(nodes, shapes, ["a", "b"], {}), images)
    assert ranges == {"x": (0, 3), "z": (10, 41), "a": (-41, -10), "b": (-3, 0)}
