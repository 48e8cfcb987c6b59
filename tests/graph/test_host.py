"""What the host computes, as ONNX models around integer tensors."""

import numpy as np
import onnx
import pytest
from imported import Quantized

from superlip.graph import ir


def test_a_float_operator_behind_the_last_layer():
    net = Quantized()
    graph = net.check(net.op("Softmax", net.op("Flatten", net.both(net.conv(net.both("x"), 3, 2))), axis=1))
    host = graph.nodes[-1]
    assert isinstance(host, ir.Host) and graph.values[host.output].is_float
    assert host.reason == "Softmax in floating point"
    assert [n.op_type for n in onnx.load_from_string(host.model).graph.node][-2:] == ["Softmax", "Reshape"]


def test_a_float_operator_between_two_layers():
    net = Quantized()
    normalized = net.op("LRN", net.both(net.conv(net.both("x"), 3, 2)), size=3)
    graph = net.check(net.both(net.conv(net.both(normalized), 2, 3)))
    assert [type(n) for n in graph.nodes] == [ir.Conv, ir.Host, ir.Conv]
    assert not graph.values[graph.nodes[1].output].is_float


@pytest.mark.parametrize("op", ["Einsum", "CumSum"])
def test_any_operator_between_two_layers(op):
    net = Quantized()
    inputs = [net.both("x")] if op == "Einsum" else [net.both("x"), net.const(np.int64(1))]
    strange = net.op(op, *inputs, **({"equation": "abcd->abcd"} if op == "Einsum" else {}))
    graph = net.check(net.both(net.conv(net.both(strange), 2, 2)))
    assert [type(n) for n in graph.nodes] == [ir.Host, ir.Conv] and graph.nodes[0].reason == f"{op} in floating point"


def test_elements_in_an_order_that_no_node_writes_are_moved_by_the_host():
    net = Quantized()
    turned = net.op("Transpose", net.both(net.conv(net.both("x"), 3, 2)), perm=[0, 2, 3, 1])
    graph = net.check(turned)
    assert isinstance(graph.nodes[-1], ir.Host) and "order of an output's elements" in graph.nodes[-1].reason
