"""Functions element by element: tables, additions, products and 1x1 convolutions, against ONNX Runtime."""

import numpy as np
import pytest
from imported import Quantized

from superlip.graph import ir


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Abs", "Floor", "HardSwish", "Relu"])
def test_a_function_of_one_number_is_a_table(op):
    net = Quantized()
    image = net.both("x")
    graph = net.check(net.both(net.op("Add", image, net.both(net.op(op, image)))))
    assert [type(n) for n in graph.nodes] == [ir.Table, ir.Add]


def test_a_chain_of_functions_is_one_table():
    net = Quantized()
    image = net.both("x")
    gate = net.op("Mul", image, net.op("Sigmoid", net.op("Mul", image, net.const(np.float32(1.5)))))
    graph = net.check(net.both(net.op("Add", image, net.both(gate))))
    assert [type(n) for n in graph.nodes] == [ir.Table, ir.Add]


@pytest.mark.parametrize(("op", "kinds"), [("Add", [ir.Add]), ("Mul", [ir.Mul]), ("Sub", [ir.Table, ir.Add])])
def test_two_tensors(op, kinds):
    net = Quantized()
    image = net.both("x")
    other = net.both(net.op("MaxPool", image, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    graph = net.check(net.both(net.op(op, image, other)))
    assert [type(n) for n in graph.nodes if not isinstance(n, ir.Pool)] == kinds


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_a_number_a_channel_is_a_convolution(op):
    net = Quantized()
    constant = net.const(np.float32([0.7, 1.6]).reshape(1, 2, 1, 1))
    graph = net.check(net.both(net.op(op, net.both("x"), constant)))
    assert [type(n) for n in graph.nodes] == [ir.Conv] and graph.nodes[0].groups == 2
    assert "became a 1x1 convolution" in graph.notes[0]


def test_batch_normalization_without_a_convolution_in_front():
    net = Quantized()
    params = [net.const(np.float32(p)) for p in ([1.2, 0.8], [0.1, -0.2], [0.3, 0.0], [1.0, 2.0])]
    graph = net.check(net.both(net.op("BatchNormalization", net.both("x"), *params)))
    assert [type(n) for n in graph.nodes] == [ir.Conv]


def test_a_sum_of_three_is_refused():
    net = Quantized()
    image = net.both("x")
    graph, importer = net.imported(net.both(net.op("Sum", image, image, image)))
    assert graph is None and "Sum of 3 tensors" in importer.unsupported[0][1]
