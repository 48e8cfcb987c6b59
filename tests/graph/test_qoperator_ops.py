"""Operators of integer tensors, in both types, against ONNX Runtime."""

import numpy as np
import pytest
from imported import Quantized

from superlip.graph import ir
from superlip.graph.onnx.importer.qoperator_ops import QOPERATOR_OPS

KINDS = pytest.mark.parametrize("kind", [np.uint8, np.int8])
SAME = ("s", "z")


def conv(net, x):
    weights = net.const(net.rng.integers(-30, 31, (3, 2, 3, 3)).astype(np.int8))
    return net.op("QLinearConv", x, *SAME, weights, net.const(np.float32(0.02)), net.const(np.int8(0)), *SAME)


def gemm(net, x):
    flat = net.op("Flatten", x)
    weights = net.const(net.rng.integers(-30, 31, (32, 5)).astype(np.int8))
    return net.op("QGemm", flat, *SAME, weights, net.const(np.float32(0.02)), net.const(np.int8(0)), "", *SAME)


def matmul(net, x):
    flat = net.op("Flatten", x)
    weights = net.const(net.rng.integers(-30, 31, (32, 5)).astype(np.int8))
    return net.op("QLinearMatMul", flat, *SAME, weights, net.const(np.float32(0.02)), net.const(np.int8(0)), *SAME)


def average(net, x):
    return net.op("QLinearAveragePool", x, *SAME, *SAME, kernel_shape=[2, 2], strides=[2, 2])


def global_average(net, x):
    return net.op("QLinearGlobalAveragePool", x, *SAME, *SAME)


def added(net, x):
    return net.op("QLinearAdd", x, *SAME, net.op("MaxPool", x, kernel_shape=[1, 1]), *SAME, *SAME)


def multiplied(net, x):
    return net.op("QLinearMul", x, *SAME, net.op("MaxPool", x, kernel_shape=[1, 1]), *SAME, *SAME)


def one_number(net, x):
    number = net.const(np.array(100, net.kind))
    return net.op("QLinearAdd", number, *SAME, x, *SAME, *SAME)


def one_a_channel(net, x):
    numbers = net.const(np.array([90, 20], net.kind).reshape(1, 2, 1, 1))
    return net.op("QLinearMul", x, *SAME, numbers, *SAME, *SAME)


def sigmoid(net, x):
    return net.op("QLinearSigmoid", x, *SAME, *SAME)


def leaky(net, x):
    return net.op("QLinearLeakyRelu", x, *SAME, *SAME, alpha=0.1)


def joined(net, x):
    other = net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return net.op("QLinearConcat", *SAME, x, *SAME, other, *SAME, axis=1)


def plain_concat(net, x):
    return net.op("Concat", x, net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), axis=1)


def clipped(net, x):
    return net.op("Clip", x, net.const(np.array(40, net.kind)), net.const(np.array(110, net.kind)))


MAKERS = [
    conv, gemm, matmul, average, global_average, added, multiplied, one_number, one_a_channel, sigmoid, leaky, joined,
    plain_concat, clipped,
]  # fmt: skip


@KINDS
@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
def test_an_operator(make, kind):
    net = Quantized(kind=kind)
    image = net.op("MaxPool", "x", kernel_shape=[1, 1])
    graph = net.check(make(net, image), dtype=kind)
    assert graph.onnx_input_type == np.dtype(kind).name and graph.values[graph.input].is_unsigned == (kind == np.uint8)


def test_every_operator_is_tried():
    """Those that are not are tried through ``load`` (tests/graph/test_quantization.py)."""
    tried = {net.nodes[-1].op_type for make in MAKERS if (net := Quantized()) and make(net, "x")}
    assert QOPERATOR_OPS.keys() - tried == {"QLinearReduceMean", "MaxPool", "Relu"}


@pytest.mark.parametrize("op", ["QLinearConv", "QLinearAveragePool"])
def test_channels_last_is_refused(op):
    net = Quantized()
    inputs = ["x", *SAME, *(["w", *SAME] if op == "QLinearConv" else []), *SAME]
    net.constants["w"] = np.zeros((2, 2, 1, 1), np.uint8)
    graph, importer = net.imported(net.op(op, *inputs, channels_last=1), dtype=np.uint8)
    assert graph is None and importer.unsupported[0][1].startswith(f"{op} with channels_last")


def test_plain_concat_of_different_scales_is_refused():
    net = Quantized()
    other = net.op("QLinearSigmoid", "x", *SAME, net.const(np.float32(0.004)), "z")
    graph, importer = net.imported(net.op("Concat", "x", other, axis=1), dtype=np.uint8)
    assert graph is None and "int8 tensors with different scales" in importer.unsupported[0][1]


def test_weights_are_elements():
    net = Quantized()
    graph = net.check(conv(net, "x"), dtype=np.uint8)
    assert isinstance(graph.nodes[0], ir.Conv) and graph.nodes[0].weights.dtype == np.int8
