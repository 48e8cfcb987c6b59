"""What nodes have otherwise when their tensors have channels first."""

import numpy as np
import pytest
from onnx_models import FloatNet

from superlip.graph.onnx.rewrite import Prepared
from superlip.graph.onnx.turned import Operands, Order, change_of


def change(op, *constants, opset=18, **attributes):
    """Of a node that takes a tensor (1, 4, 5, 3) with channels last, and constants."""
    net = FloatNet((4, 5, 3))
    names = [net.const(array, np.asarray(array).dtype) if array is not None else "" for array in constants]
    net.op(op, "x", *names, **attributes)
    built = net.model("n0_0", opset=opset)
    built.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return change_of(Operands(Prepared(built), Order(4)), built.graph.node[0])


def test_axes_of_both_orders():
    order = Order(4)
    assert order.to_last == (0, 2, 3, 1) and order.to_first == (0, 3, 1, 2)
    assert [order.axis(axis) for axis in (0, 1, 2, 3, -1, -2)] == [0, 2, 3, 1, 1, 3]
    assert Order(3).to_last == Order(3).to_first == (0, 2, 1)
    array = np.arange(15).reshape(5, 3)
    assert order.turned(array).shape == (1, 3, 1, 5) and order.turned(array)[0, 2, 0, 4] == array[4, 2]
    assert order.places([7, 8, 9], 0) == [0, 9, 7, 8]


@pytest.mark.parametrize(
    ("op", "constants", "attributes", "expected"),
    [
        ("Concat", [np.zeros((1, 4, 5, 2), np.float32)], {"axis": -1}, {"axis": 1}),
        ("Split", [np.array([1, 2])], {"axis": 3}, {"axis": 1}),
        ("Gather", [np.array([0, -1])], {"axis": 1}, {"axis": 2}),
        ("Softmax", [], {}, {"axis": 1}),
        ("QuantizeLinear", [np.ones(5, np.float32)], {"axis": 2}, {"axis": 3}),
        ("QuantizeLinear", [np.float32(1)], {"axis": 2}, {}),
        ("Relu", [], {}, {}),
    ],
)
def test_attributes(op, constants, attributes, expected):
    assert change(op, *constants, **attributes).attributes == expected


@pytest.mark.parametrize(
    ("op", "constants", "position", "expected"),
    [
        ("ReduceMean", [np.array([-1, 1])], 1, [1, 2]),
        ("Slice", [np.array([0]), np.array([2]), np.array([-2])], 3, [3]),
        ("Pad", [np.array([0, 1, 2, 3, 0, 4, 5, 6])], 1, [0, 3, 1, 2, 0, 6, 4, 5]),
        ("Pad", [np.array([1, 1]), None, np.array([3])], 3, [1]),
        ("Resize", [None, np.array([1, 2, 3, 4], np.float32)], 2, [1, 4, 2, 3]),
        ("Tile", [np.array([1, 2, 3, 4])], 1, [1, 4, 2, 3]),
        ("Expand", [np.array([5, 3])], 1, [1, 3, 1, 5]),
    ],
)
def test_constant_operands(op, constants, position, expected):
    found = change(op, *constants)
    assert {at: array.tolist() for at, array in found.operands.items()} == {position: expected}


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Add", [np.zeros((1, 1, 4, 5, 3), np.float32)], {}),  # the result has another rank
        ("Gather", [np.array(1)], {"axis": 1}),
        ("Softmax", [], {"opset": 12}),  # over all axes from there on
        ("ReduceMean", [], {}),
        ("ReduceMean", [np.array([1])], {"keepdims": 0}),  # what is left has another order
        ("Slice", [np.array([0]), np.array([2])], {}),
        ("Resize", [np.zeros(8, np.float32), np.ones(4, np.float32)], {}),
        ("Expand", [np.array([2, 1, 1, 1, 1])], {}),
        ("Reshape", [np.array([1, -1])], {}),
    ],
)
def test_nodes_that_stay(op, constants, attributes):
    assert change(op, *constants, **attributes) is None


def test_constants_behind_a_dequantize_linear():
    """A copy of it for this node, with its axis where the channels are."""
    net = FloatNet((4, 5, 3))
    integers = net.const(np.zeros((5, 3)), np.int8)
    real = net.op("DequantizeLinear", integers, net.const([0.1, 0.2, 0.3]), axis=-1)
    net.op("Add", "x", real)
    built = net.model("n1_0")
    built.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    found = change_of(Operands(Prepared(built), Order(4)), built.graph.node[1])
    assert found.operands == {} and found.dequantized.keys() == {1}
    assert found.dequantized[1].output[0] != real and found.dequantized[1].attribute[0].i == 1
