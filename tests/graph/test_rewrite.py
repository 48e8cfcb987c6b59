"""Float models made ready for quantization: they compute what they did, with fewer operators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import FloatNet

from superlip.graph.onnx.rewrite import by_channel, prepare
from superlip.graph.session import open_session


def number(net, x, op, value):
    return net.op(op, x, net.const(np.float32(value)))


STEPS = {
    "norm": lambda net, x: net.norm(x, 4),
    "scale": lambda net, x: number(net, x, "Mul", np.linspace(0.5, 1.5, 4).reshape(1, 4, 1, 1)),
    "shift": lambda net, x: number(net, x, "Add", np.linspace(-1, 1, 4).reshape(4, 1, 1)),
    "less": lambda net, x: number(net, x, "Sub", 0.3),
    "divide": lambda net, x: number(net, x, "Div", 1.7),
    "conv": lambda net, x: net.conv(x, 4, 4),
    "pad": lambda net, x: net.conv(
        net.op("Pad", x, net.const(np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.int64)), 4, 4, pads=[0] * 4
    ),
    "identity": lambda net, x: net.op("Identity", x),
    "dropout": lambda net, x: net.op("Dropout", x),
    "sum": lambda net, x: net.op("Sum", x, net.op("Relu", x), x),
    "relu": lambda net, x: net.op("Relu", x),
}


def fixed(net, output):
    model = net.model(output)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


def run(model, images):
    session = open_session(model.SerializeToString())
    return np.concatenate([session.run(None, {"x": image[None]})[0] for image in images])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(list(STEPS)), min_size=1, max_size=5))
def test_a_rewritten_model_computes_the_same(steps):
    net = FloatNet((4, 6, 6))
    x = net.conv("x", 4, 4)
    for step in steps:
        x = STEPS[step](net, x)
    model = fixed(net, net.op("Relu", x))
    images = net.images(3)
    before = run(model, images)
    prepared = prepare(model)
    np.testing.assert_allclose(run(prepared.model, images), before, rtol=1e-4, atol=1e-4)
    assert not {n.op_type for n in prepared.nodes} & {"BatchNormalization", "Identity", "Dropout", "Sum", "Constant"}
    assert prepared.fate.keys() <= {n.name for n in net.nodes}


@pytest.mark.parametrize("op", ["norm", "scale", "shift", "less", "divide"])
def test_what_scales_and_shifts_goes_into_the_convolution(op):
    net = FloatNet((4, 6, 6))
    prepared = prepare(fixed(net, STEPS[op](net, net.conv("x", 4, 4))))
    assert [n.op_type for n in prepared.nodes] == ["Conv"]
    assert prepared.fate[net.nodes[1].name] == ("folded", "into the weights of Conv 'n0'")


def test_numbers_a_channel():
    np.testing.assert_array_equal(by_channel(np.array([3.0]), 4), [3] * 4)
    np.testing.assert_array_equal(by_channel(np.arange(4.0), 4), range(4))
