"""The model as given, run image by image."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import model, node

from superlip.graph.given import Front, Given, GivenError
from superlip.graph.images import ImageInput


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


def test_several_inputs():
    shapes = {"x": (np.float32, ["N", 2, 3]), "z": (np.uint8, ["N", 2])}
    nodes = [node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["z"], ["b"])]
    parts = ImageInput("z", (2,), "uint8"), ImageInput("x", (2, 3))  # in another order than the model has them
    given = Given(model(nodes, shapes, ["a", "b"], {}).SerializeToString(), "", parts)
    images = np.random.default_rng(0).integers(-9, 9, (4, 8)).astype(np.float32)
    images[:, :2] = np.abs(images[:, :2])
    found = given.run(images)
    np.testing.assert_array_equal(found["b"], images[:, :2].astype(np.uint8))
    np.testing.assert_array_equal(found["a"], np.maximum(images[:, 2:], 0).reshape(4, 2, 3))
    assert given.tensors == {"x", "z", "a", "b"}


def test_a_front_takes_images_of_its_own_type():
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=1), node("Relu", ["a"], ["y"])]
    given = Given(model(nodes, {"x": (np.int8, [1, 1, 3])}, ["y"], {}).SerializeToString(), "x")
    front = Front(given, ImageInput("x", (1, 3), "int8"), "y")
    images = np.array([[[-1, 2, 3]], [[4, -5, 6]]])
    for taken in (images, images.astype(np.int8)):
        np.testing.assert_array_equal(front(taken), np.maximum(images, 0))
    np.testing.assert_array_equal(front(images[0]), np.maximum(images[:1], 0))
    for wrong in (images.astype(np.float32), images[:, :, :2]):
        with pytest.raises(ValueError, match="input 'x' takes int8 images"):
            front(wrong)
