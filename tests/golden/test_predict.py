"""Outputs as the model itself would give them."""

import numpy as np
import pytest

from superlip.golden.predict import own_outputs, predict_graph
from superlip.graph import ir

ELEMENTS = np.arange(-12, 12, dtype=np.int8).reshape(2, 3, 4, 1)


def graph(is_unsigned=False, is_integer=False, shape=(1, 12)):
    value = ir.Value("y", (3, 4, 1), 0.5, 2, is_unsigned)
    return ir.Graph(
        "g", {"y": value}, [], "y", ["y"], b"", onnx_outputs=["out"], onnx_output_shapes={"out": shape},
        integer_outputs=frozenset(["out"] if is_integer else []), onnx_input_type="int8",
    )  # fmt: skip


@pytest.mark.parametrize("is_unsigned", [True, False])
def test_integers_are_the_models_own(is_unsigned):
    (found,) = own_outputs(graph(is_unsigned, True), {"y": ELEMENTS}).values()
    assert found.dtype == (np.uint8 if is_unsigned else np.int8) and found.shape == (2, 12)
    np.testing.assert_array_equal(found.astype(int), ELEMENTS.reshape(2, 12).astype(int) + 128 * is_unsigned)


def test_floats_are_what_the_elements_stand_for():
    found = predict_graph(graph(), ELEMENTS)["out"]
    np.testing.assert_array_equal(found, (ELEMENTS.reshape(2, 12) - 2.0) / 2)


def test_a_shape_without_a_batch_is_left():
    assert own_outputs(graph(shape=(3, 4)), {"y": ELEMENTS})["out"].shape == ELEMENTS.shape
