"""Images into elements, and graphs through the golden."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nets import Builder

from superlip.element import INT8
from superlip.golden.run import dequantize, own_numbers, quantize_input, run, work_of
from superlip.graph import ir
from superlip.graph.images import ImageInput

SHAPE = (2, 3, 4)


def graph(kind="float32", order=(), zero_point=5):
    value = ir.Value("x", SHAPE, 0.25, zero_point, kind == "uint8")
    own = tuple(SHAPE[axis] for axis in np.argsort(order)) if order else ()
    return ir.Graph(
        "g", {"x": value}, [], "x", ["x"], b"", onnx_input_type=kind, onnx_input_shape=own, onnx_input_order=order
    )


@given(arrays(np.float32, (2, *SHAPE), elements=st.floats(-100, 100, width=32)))
def test_real_numbers_become_elements(images):
    found = quantize_input(graph(), images)
    assert found.dtype == INT8.dtype
    np.testing.assert_array_equal(found, graph().values["x"].quantize(images))
    np.testing.assert_allclose(dequantize(graph(), "x", found), np.clip(images, -33.25, 30.5), atol=0.1251)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@given(data=st.data())
def test_own_numbers_come_back(kind, data):
    images = data.draw(arrays(np.dtype(kind), (2, *SHAPE)))
    found = graph(kind)
    quantized = quantize_input(found, images)
    np.testing.assert_array_equal(own_numbers(found, images, quantized), images)
    np.testing.assert_array_equal(quantized.astype(int), images.astype(int) - 128 * (kind == "uint8"))
    with pytest.raises(ValueError, match=f"takes images of {kind} or real numbers, not int32"):
        quantize_input(found, images.astype(np.int32))


@given(st.permutations(range(3)))
def test_axes_in_another_order_come_back(order):
    found = graph("int8", tuple(order))
    images = np.random.default_rng(0).integers(-128, 128, (2, *found.onnx_input_shape)).astype(np.int8)
    quantized = quantize_input(found, images)
    assert quantized.shape == (2, *SHAPE)
    np.testing.assert_array_equal(own_numbers(found, images, quantized), images)


def test_one_image_and_shapes_that_are_none():
    assert quantize_input(graph(), np.zeros(SHAPE)).shape == (1, *SHAPE)
    with pytest.raises(ValueError, match=r"takes images of shape \(B, 2, 3, 4\), not \(5, 2\)"):
        quantize_input(graph(), np.zeros((5, 2)))


def test_all_values_are_computed_and_progress_is_told():
    net = Builder(np.random.default_rng(0), (3, 6, 6))
    net.add(net.conv("image", 3, (1, 1)), "image")
    built, told = net.graph(), []
    image = np.random.default_rng(1).integers(-128, 128, (2, 3, 6, 6)).astype(np.int8)
    found = run(built, image, told.append)
    assert found.keys() == built.values.keys() and told == sorted(told) and told[-1] == 1
    assert work_of(built) > 3 * 3 * 36
    with pytest.raises(TypeError, match="the golden takes int8, not float64"):
        run(built, image.astype(np.float64))


@given(st.permutations(range(3)))
def test_each_of_several_inputs_has_its_own_scale_and_order(order):
    first, second = ir.Value("a", SHAPE, 0.25, 5), ir.Value("b", (2, 1, 1), 2.0, -3, is_unsigned=True)
    own = tuple(SHAPE[axis] for axis in np.argsort(order))
    parts = (
        ir.InputPart(ImageInput("left", own), "a", tuple(order)),
        ir.InputPart(ImageInput("right", (2,), "uint8"), "b"),
    )
    nodes = [
        ir.Part(name="p", inputs=("all",), output="a", first=0),
        ir.Part(name="q", inputs=("all",), output="b", first=24),
    ]
    values = {"all": ir.Value("all", (26, 1, 1), 1.0, 0), "a": first, "b": second}
    found = ir.Graph("g", values, nodes, "all", ["a", "b"], b"", parts=parts)
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, *own)).astype(np.float32), rng.integers(0, 256, (3, 2)).astype(np.uint8)
    images = np.concatenate([left.reshape(3, -1), right], axis=1)
    quantized = quantize_input(found, images)
    results = run(found, quantized)
    np.testing.assert_array_equal(results["a"], first.quantize(left).transpose(0, *(1 + axis for axis in order)))
    np.testing.assert_array_equal(results["b"][:, :, 0, 0].astype(int), right.astype(int) - 128)
    np.testing.assert_array_equal(own_numbers(found, images, quantized), images)
    with pytest.raises(ValueError, match="takes images of shape \\(B, 26\\)"):
        quantize_input(found, images[:, 1:])
