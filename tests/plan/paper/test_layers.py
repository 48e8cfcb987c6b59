"""Convolutions of a network as the published model sees them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from paths import DIGITS

import superlip
from superlip.plan.paper import ZCU102, PaperError, layers_of, search


@pytest.fixture(scope="module")
def digits():
    return superlip.load(DIGITS)


def test_layers_of_digits(digits):
    layers = {layer.name: layer for layer in layers_of(digits)}
    shapes = {
        name: (layer.m, layer.n, layer.r, layer.c, layer.taps, layer.groups) for name, layer in layers.items()
    }  # fmt: skip
    initializers = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(DIGITS).graph.initializer}
    weights = sorted(shape for shape in initializers.values() if len(shape) > 1)
    assert len(shapes) == len(weights) == 6
    assert sum(layer.macs for layer in layers.values()) == 896_512  # what the run reports
    assert sorted(m * n * taps for m, n, _, _, taps, _ in shapes.values()) == sorted(
        np.prod(shape) for shape in weights
    )
    assert [layer.b for layer in layers_of(digits, b=3)] == [3] * 6


def test_dense_layers_can_be_left_out(digits):
    whole, convolutions = layers_of(digits), layers_of(digits, dense=False)
    assert convolutions == whole[:-1] and (whole[-1].r, whole[-1].c) == (1, 1) and whole[-1].m == 10


def test_a_planned_network_gives_the_same(digits):
    design = superlip.plan(digits, boards=2, node="tiny")
    assert layers_of(design.network.graph) == layers_of(digits)
    assert search(layers_of(digits), ZCU102, 2).cycles < search(layers_of(digits), ZCU102).cycles


def network(channels, filters, kernel, groups=1, **attributes):
    """A convolution of images of 10 x 12, and its sizes."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(filters, channels // groups, *kernel)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=groups, **attributes)
    graph = helper.make_graph(
        [node], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 10, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    images = rng.normal(size=(2, channels, 10, 12)).astype(np.float32)
    return superlip.load(model, calibrate=images)


def test_groups_strides_and_kernels():
    (layer,) = layers_of(network(6, 4, (1, 3), groups=2, strides=[2, 1]))
    assert (layer.m, layer.n, layer.r, layer.c, layer.k, layer.groups) == (4, 6, 5, 10, (1, 3), 2)
    (layer,) = layers_of(network(8, 8, (3, 3), groups=8, pads=[1, 1, 1, 1]))
    assert (layer.m, layer.n, layer.r, layer.c, layer.k, layer.groups) == (8, 8, 10, 12, (3, 3), 8)
    assert layer.macs == 8 * 120 * 9


def test_a_network_without(digits):
    with pytest.raises(PaperError, match=r"net has no convolution but dense layers to take the shape of"):
        layers_of(network(3, 4, (10, 12)), dense=False)
