"""The image input: its type, its order of axes, and where its scale comes from."""

import numpy as np
import pytest
from imported import SCALE, Quantized
from onnx import TensorProto, helper

from superlip import golden
from superlip.graph import load
from superlip.graph.errors import ModelError
from superlip.graph.images import input_of, read_images
from superlip.graph.onnx.importer import import_model


@pytest.mark.parametrize(("kind", "name"), [(np.float32, "float32"), (np.uint8, "uint8"), (np.int8, "int8")])
def test_types(kind, name):
    net = Quantized(kind=np.uint8 if kind == np.float32 else kind)
    image = net.both("x") if kind == np.float32 else net.op("DequantizeLinear", "x", "s", "z")
    graph = net.check(net.both(net.conv(image, 3, 2)), dtype=kind)
    value = graph.values[graph.input]
    assert graph.onnx_input_type == name and value.scale == SCALE
    assert value.is_unsigned == (kind != np.int8) and value.zero_point == 120 - 128


def test_the_input_is_quantized_in_front_of_what_moves_it():
    net = Quantized()
    pooled = net.op("MaxPool", net.op("Transpose", "x", perm=[0, 1, 3, 2]), kernel_shape=[2, 2])
    graph = net.check(net.both(net.conv(net.both(pooled), 3, 2)))
    assert graph.input == "x" and graph.values["x"].scale == SCALE


def test_channels_last():
    net = Quantized(shape=(1, 4, 4, 2))
    graph = net.check(net.both(net.conv(net.op("Transpose", net.both("x"), perm=[0, 3, 1, 2]), 3, 2)))
    assert graph.onnx_input_order == (2, 0, 1) and graph.values[graph.input].shape == (2, 4, 4)


def test_an_integer_input_of_which_nobody_says_the_scale():
    net = Quantized(kind=np.uint8)
    graph = net.check(net.op("MaxPool", "x", kernel_shape=[2, 2]), dtype=np.uint8)
    value = graph.values[graph.input]
    assert (value.scale, value.own_zero_point) == (1, 0)


def test_an_input_of_another_type_is_refused():
    net = Quantized()
    built = net.model(net.both(net.conv(net.both("x"), 3, 2)))
    built.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    with pytest.raises(ModelError, match="input 'x' must be float, int8 or uint8"):
        import_model(built, "test")


def test_several_inputs_have_scales_of_their_own():
    """Also a float one beside one of integers."""
    net = Quantized()
    net.constants |= {"t": np.float32(2.0), "u": np.uint8(7)}
    other = net.op("DequantizeLinear", "z_in", "t", "u")
    total = net.op("Add", *(net.both(net.conv(x, 3, 2)) for x in (net.both("x"), other)))
    built = net.model(net.both(total))
    built.graph.input.append(helper.make_tensor_value_info("z_in", TensorProto.UINT8, [1, 2, 4, 4]))
    graph = load(built)
    assert [(part.takes.name, part.takes.dtype) for part in graph.parts] == [("x", "float32"), ("z_in", "uint8")]
    assert [graph.values[part.value].scale for part in graph.parts] == [SCALE, 2.0]
    images = {"x": net.images(), "z_in": net.rng.integers(0, 20, (4, 2, 4, 4), np.uint8)}
    comparison = golden.reference(graph, read_images(images, input_of(graph)), layers=True)
    assert comparison.layer_mismatches <= 4 and comparison.mismatches <= 4  # values next to a tie, of 192
    assert comparison.outputs[0].largest < 1.01 * SCALE


def test_every_input_must_be_quantized():
    net = Quantized()
    built = net.model(net.both(net.conv(net.both("x"), 3, 2)), "z_in")
    built.graph.input.append(helper.make_tensor_value_info("z_in", TensorProto.FLOAT, [1, 2, 4, 4]))
    with pytest.raises(ModelError, match="'z_in'"):
        import_model(built, "test")
