"""Large constants beside a model."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FloatNet, model, node

from superlip.graph import load
from superlip.graph.apart import SMALL, is_apart, skeleton, take_apart, tensors_of, whole
from superlip.graph.onnx.validate.sizes import inferred
from superlip.graph.session import open_session

CONSTANTS = {"small": np.zeros(SMALL, np.float32), "large": np.arange(5000, dtype=np.float32).reshape(5, 1000)}


def test_a_model_is_put_together_as_it_was():
    built = model([node("MatMul", ["x", "large"], ["y"])], {"x": (np.float32, [1, 5])}, ["y"], CONSTANTS)
    built.metadata_props.add(key="who", value="a test")
    before = built.SerializeToString()
    light, weights = take_apart(built)
    assert built.SerializeToString() == before and weights.keys() == {"large"}
    assert [is_apart(tensor) for tensor in light.graph.initializer] == [False, True]
    assert light.ByteSize() < 4 * SMALL + 1000
    assert (
        onnx.load_from_string(whole(light, weights))
        == built
        == onnx.load_from_string(whole(light.SerializeToString(), weights))
    )


@pytest.mark.parametrize("dtype", [np.bool_, np.complex64])
def test_numbers_that_are_no_weights_stay(dtype):
    constants = {"c": np.ones(2 * SMALL, dtype)}
    built = model([], {"x": (np.float32, [1])}, [], constants)
    light, weights = take_apart(built)
    assert light == built and not weights
    assert not any(is_apart(tensor) for tensor in tensors_of(constants))


def test_data_of_another_file_that_has_been_read():
    tensor = numpy_helper.from_array(CONSTANTS["large"], "large")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    built = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    light, weights = take_apart(built)
    np.testing.assert_array_equal(weights["large"], CONSTANTS["large"])
    (found,) = onnx.load_from_string(whole(light, weights)).graph.initializer
    assert not is_apart(found)


def test_constants_of_a_new_model():
    small, large = tensors_of(CONSTANTS)
    assert not is_apart(small) and is_apart(large)
    assert (large.name, list(large.dims), large.data_type) == ("large", [5, 1000], TensorProto.FLOAT)
    assert not large.HasField("raw_data")


def test_large_constants_are_left_out_of_the_skeleton():
    light = skeleton(model([], {"x": (np.float32, [1])}, [], CONSTANTS))
    assert [t.name for t in light.graph.initializer] == ["small"]
    assert inferred(light)["large"] == (5, 1000)


@pytest.mark.parametrize("is_optimized", [False, True])
def test_a_session_takes_them(is_optimized):
    light, weights = take_apart(
        model([node("MatMul", ["x", "large"], ["y"])], {"x": (np.float32, [1, 5])}, ["y"], CONSTANTS)
    )
    session = open_session(light.SerializeToString(), is_optimized=is_optimized, weights=weights)
    image = np.array([[1, 0, 0, 2, 0]], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": image})[0], image @ CONSTANTS["large"])


def test_products_of_integers_in_a_model_apart():
    net = FloatNet((40, 4, 4))
    images = net.images(2)
    graph = load(net.model(net.conv("x", 40, 40)), calibrate=images)
    light, weights = take_apart(onnx.load_from_string(graph.model))
    assert [array.dtype for array in weights.values()] == [np.int8]
    expected = open_session(graph.model).run(None, {"x": images[:1]})[0]
    found = open_session(light.SerializeToString(), weights=weights).run(None, {"x": images[:1]})[0]
    np.testing.assert_array_equal(found, expected)
