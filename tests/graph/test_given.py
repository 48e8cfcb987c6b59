"""The model as given, run image by image."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import model, node

from superlip.graph.given import Given, GivenError


def relu_and_flatten(**other):
    nodes = [node("Relu", ["x"], ["a"]), node("Flatten", ["a"], ["y"])]
    return model(nodes, {"x": (np.float32, [2, 1, 3]), **other}, ["y"], {})


def test_images_run_alone_in_a_model_of_a_batch():
    images = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32)
    given = Given(relu_and_flatten(unused=(np.float32, [1])).SerializeToString(), "x")
    found = given.run(images, ["y", "a"])
    np.testing.assert_array_equal(found["a"], np.maximum(images, 0))
    np.testing.assert_array_equal(found["y"], np.maximum(images, 0).reshape(5, 3))


def test_what_is_known_of_it():
    given = Given(relu_and_flatten().SerializeToString(), "x")
    assert (given.kind, given.outputs, given.tensors) == ("float", ["y"], {"x", "a", "y"})
    assert given.ops_of_output("y") == ["Flatten", "Relu"]


@pytest.mark.parametrize(("op", "kind"), [("QuantizeLinear", "Q/DQ"), ("ConvInteger", "QOperator"), ("Conv", "float")])
def test_its_kind(op, kind):
    built = model([helper.make_node(op, ["x", "w"], ["y"])], {"x": (np.float32, [1])}, ["y"], {})
    assert Given(built.SerializeToString(), "x").kind == kind


def test_what_onnx_runtime_refuses():
    built = model([helper.make_node("NoSuchOperator", ["x"], ["y"])], {"x": (np.float32, [1])}, ["y"], {})
    with pytest.raises(GivenError, match="ONNX Runtime cannot run the model as given"):
        Given(built.SerializeToString(), "x").run(np.zeros((1, 1), np.float32))
