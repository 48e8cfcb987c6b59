"""Functions element by element: tables, additions, products and 1x1 convolutions, against ONNX Runtime."""

import numpy as np
import pytest
from functional import run_compiled
from imported import Quantized
from onnx_models import FloatNet

from superlip import golden
from superlip.graph import ir, load


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


@pytest.mark.parametrize("boards", [1, 2])
def test_gates_of_rows_columns_and_channels_run_on_the_accelerator(boards):
    """Spatial attention, and gates of a row and of a column, as coordinate attention has them."""
    net = FloatNet((6, 10, 9))
    x = net.op("Relu", net.conv("x", 8, 6))
    x = net.op("Mul", x, net.op("Sigmoid", net.conv("x", 1, 6)))
    rows = net.op("Sigmoid", net.op("ReduceMean", x, axes=[3]))
    cols = net.op("Sigmoid", net.op("ReduceMax", x, axes=[2]))
    x = net.op("Mul", net.op("Mul", x, rows), cols)
    built = net.model(net.conv(net.op("Add", x, net.op("ReduceMean", x, axes=[1])), 4, 8))
    found = load(built, calibrate=net.images(4))
    assert not any(isinstance(node, ir.Host) for node in found.nodes)
    assert golden.agree(found, net.images(4)).decibels > 20
    run_compiled(found, golden.quantize_input(found, net.images(1))[0], boards, seeds=(0,))
