"""A quantized model whose last layer gives floats: the host computes it, and the report says how much that is."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import FloatNet

import superlip
from superlip.graph.onnx.macs import host_macs
from superlip.graph.onnx.onnxtools import small_model


def pairs(net, x, scale, zero=128):
    """QuantizeLinear and DequantizeLinear."""
    names = net.const(scale), net.const(zero, np.uint8)
    return net.op("DequantizeLinear", net.op("QuantizeLinear", x, *names), *names)


def weights(net, *shape):
    q = net.const(net.rng.integers(-90, 90, shape), np.int8)
    return net.op("DequantizeLinear", q, net.const(0.004), net.const(0, np.int8))


@pytest.fixture
def tail():
    """As Brevitas and torchao write it: no pair behind the last Gemm."""
    net = FloatNet((3, 8, 8))
    x = pairs(net, "x", 0.03)
    x = pairs(net, net.op("Relu", net.op("Conv", x, weights(net, 8, 3, 3, 3), pads=[1] * 4)), 0.01, 0)
    x = net.op("Flatten", net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    return net, net.model(net.op("Gemm", x, weights(net, 10, 128), net.const(np.zeros(10)), transB=1))


def test_the_tail_is_counted_and_compared(tail):
    net, model = tail
    report = superlip.run(model, node="tiny", images=net.images(2))
    assert report.bit_exact and report.agreement.outputs[0].differing == 0
    assert sum(row.host_macs for row in report.layers) == 1280
    assert "with 1,280 MACs, 8.5 % of the network's" in report.summary()
    assert report.onnxruntime_mismatches == 0  # float32 sums in another order are no difference


@pytest.mark.parametrize(
    ("op", "shape", "constant", "macs", "given"),
    [
        ("Conv", [1, 3, 8, 8], [4, 3, 3, 3], 4 * 36 * 27, {}),
        ("Conv", [1, 4, 8, 8], [4, 1, 3, 3], 4 * 36 * 9, {"group": 4}),
        ("Gemm", [1, 6], [6, 5], 30, {}),
        ("Gemm", [1, 6], [5, 6], 30, {"transB": 1}),
        ("MatMul", [1, 7, 6], [6, 5], 210, {}),
        ("Relu", [1, 7, 6], None, 0, {}),
    ],
)
def test_host_macs(op, shape, constant, macs, given):
    operands = {} if constant is None else {"w": np.zeros(constant, np.float32)}
    node = helper.make_node(op, ["x", *operands], ["y"], **given)
    assert host_macs(small_model([node], [("x", TensorProto.FLOAT, shape)], ["y"], operands, {"": 17})) == macs


def test_an_empty_name_is_said_to_be_one():
    with pytest.raises(superlip.graph.ModelError, match="empty"):
        superlip.load("")
