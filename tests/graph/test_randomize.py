"""Made-up weights and images: seeded, and only in the place of placeholders."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from superlip.graph.onnx.randomize import random_images, randomizer


def state(weights, bias):
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"])
    return SimpleNamespace(nodes=[conv], consts={"w": weights, "b": bias}, notes=[])


@given(st.integers(0, 2**32 - 1))
def test_placeholders_are_replaced_the_same_way_for_a_seed(seed):
    found = [state(np.zeros((8, 4, 3, 3), np.float32), np.ones(8, np.float32)) for _ in range(2)]
    assert all([randomizer(seed)(s) for s in found])
    for name in ("w", "b"):
        np.testing.assert_array_equal(found[0].consts[name], found[1].consts[name])
    weights = found[0].consts["w"]
    assert weights.dtype == np.float32 and 0.5 < weights.std() / np.sqrt(2 / 36) < 1.5
    assert f"seed {seed}" in found[0].notes[0] and "2 placeholder" in found[0].notes[0]


def test_weights_of_a_model_are_kept():
    given_weights = np.arange(72, dtype=np.float32).reshape(2, 4, 3, 3)
    found = state(given_weights, np.float32([1, 2]))
    assert not randomizer(0)(found) and found.consts["w"] is given_weights and not found.notes


@pytest.mark.parametrize("shape", [(1, 3, 20, 17), (1, 5)])
def test_images_have_deviation_one(shape):
    images = random_images(3, shape)
    assert images.shape == (2, *shape[1:]) and images.dtype == np.float32
    np.testing.assert_array_equal(images, random_images(3, shape))
    assert abs(images.mean()) < 1 and 0.5 < images.std() < 1.6
    assert (images != random_images(4, shape)).all()
