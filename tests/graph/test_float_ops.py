"""Operators between DequantizeLinear and QuantizeLinear, against ONNX Runtime."""

import numpy as np
import pytest
from imported import Quantized

from superlip.graph import ir
from superlip.graph.onnx.functions import BOOLEAN, ELEMENTWISE
from superlip.graph.onnx.importer.float_ops import FLOAT_OPS


def conv(net, x):
    return net.conv(x, 3, 2, 3, pads=[1, 1, 1, 1])


def gemm(net, x):
    return net.op("Gemm", net.op("Flatten", x), net.weights(5, 32), transB=1, alpha=0.5)


def matmul(net, x):
    return net.op("MatMul", net.op("Flatten", x), net.weights(32, 5))


def maximum(net, x):
    return net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def average(net, x):
    return net.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)


def global_average(net, x):
    return net.op("GlobalAveragePool", x)


def global_maximum(net, x):
    return net.op("GlobalMaxPool", x)


def mean(net, x):
    return net.op("ReduceMean", x, axes=[-1, 2], keepdims=0)


def mean_of_channels(net, x):
    return net.op("ReduceMean", net.both(net.conv(x, 3, 2)), axes=[1])


def sum_of_channels(net, x):
    return net.op("ReduceSum", x, net.const(np.array([1])))


def sum_of_pixels(net, x):
    return net.op("ReduceSum", x, net.const(np.array([2, 3])), keepdims=0)


def maximum_of_pixels(net, x):
    return net.op("ReduceMax", x, axes=[2, 3])


def maximum_of_channels(net, x):
    return net.op("ReduceMax", net.both(net.conv(x, 14, 2)), axes=[1])


def larger(net, x):
    return net.op("Max", x, net.both(net.conv(x, 2, 2)), net.both(net.conv(x, 1, 2)))


def smaller(net, x):
    return net.op("Relu", net.op("Min", net.both(net.conv(x, 2, 2)), x))


def mean_of_rows(net, x):
    return net.op("ReduceMean", x, axes=[2])


def maximum_of_columns(net, x):
    return net.op("ReduceMax", x, axes=[-1])


def joined(net, x):
    return net.op("Concat", x, net.both(net.conv(x, 2, 2)), axis=1)


REDUCTIONS = [
    mean_of_channels, sum_of_channels, sum_of_pixels, maximum_of_pixels, mean_of_rows, maximum_of_columns,
    maximum_of_channels, larger, smaller,
]  # fmt: skip
KINDS = {
    smaller: ir.Table,
    mean_of_channels: ir.Conv,
    sum_of_channels: ir.Conv,
    conv: ir.Conv,
    gemm: ir.Conv,
    matmul: ir.Conv,
    joined: ir.Concat,
}


@pytest.mark.parametrize(
    "make",
    [conv, gemm, matmul, maximum, average, global_average, global_maximum, mean, joined, *REDUCTIONS],
    ids=lambda f: f.__name__,
)
def test_an_operator(make):
    net = Quantized()
    graph = net.check(net.both(make(net, net.both("x"))))
    assert type(graph.nodes[-1]) is KINDS.get(make, ir.Pool)


@pytest.mark.parametrize("axes", [[1, 2], [1, 2, 3]])
def test_means_over_other_axes_are_refused(axes):
    net = Quantized()
    graph, importer = net.imported(net.both(net.op("ReduceMean", net.both("x"), axes=axes)))
    assert graph is None and "other axes than rows and columns" in importer.unsupported[0][1]


@pytest.mark.parametrize(
    ("attributes", "why"),
    [({"transA": 1}, "transA"), ({"alpha": -1.0}, "only factors above 0")],
    ids=["transA", "alpha"],
)
def test_products_of_another_kind_are_refused(attributes, why):
    net = Quantized()
    result = net.op("Gemm", net.op("Flatten", net.both("x")), net.weights(5, 32), transB=1, **attributes)
    graph, importer = net.imported(net.both(result))
    assert graph is None and why in importer.unsupported[0][1]


def test_a_concatenation_brings_its_parts_to_one_scale():
    net = Quantized()
    image = net.both("x")
    wide = [net.const(np.float32(0.11)), net.const(np.uint8(7))]
    other = net.op("DequantizeLinear", net.op("QuantizeLinear", net.conv(image, 2, 2), *wide), *wide)
    graph = net.check(net.both(net.op("Concat", image, other, axis=1)), steps=3)  # a tie of the wider scale
    first, second = graph.nodes[-1].tables
    assert first is None and second.shape == (256,)


def test_every_function_of_one_number_is_an_operator():
    assert FLOAT_OPS.keys() >= ELEMENTWISE | BOOLEAN


def test_a_choice_between_functions_of_one_number():
    """Softplus and Mish as one of the exporters writes them: where it is the number itself, far above 0."""
    net = Quantized()
    x = net.both("x")
    large = net.op("Greater", x, net.const(np.float32(2.0)))
    softplus = net.op("Where", large, x, net.op("Softplus", x))
    graph = net.check(net.both(net.op("Mul", x, net.op("Tanh", softplus))), net.both(net.conv(x, 2, 2)))
    assert [type(n) for n in graph.nodes] == [ir.Table, ir.Conv]
