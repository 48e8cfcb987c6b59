"""The image input: its type, its order of axes, and where its scale comes from."""

import numpy as np
import pytest
from imported import SCALE, Quantized
from onnx import TensorProto

from superlip.graph.errors import ModelError
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
