"""Activations with a scale for each channel."""

import numpy as np
import pytest
from functional import run_compiled
from qdq_models import QdqNet, assert_equal

from superlip import golden
from superlip.graph import ModelError, check, ir, load
from superlip.plan.lower import lower

SHAPE = (3, 8, 7)


def scales(channels, seed=0):
    return (0.03 + 0.04 * np.random.default_rng(seed).random(channels)).astype(np.float32)


def both(net, x, channels, *, kind=np.uint8, zero=30, axis=1, seed=0):
    """QuantizeLinear and DequantizeLinear with a scale for each channel, and the zero point as often."""
    zeros = np.full(channels, zero, kind)
    given = {"scale": scales(channels, seed), "zero": zeros, "axis": axis}
    return net.dequantize(net.quantize(x, **given), **given)


def runs(net, *outputs):
    """The graph of a network that the accelerator runs whole, with ONNX Runtime's results."""
    model, images = net.model(*outputs), net.images(3)
    graph = assert_equal(model, images)
    assert not any(isinstance(node, ir.Host) for node in graph.nodes)
    for boards in (1, 2):
        run_compiled(graph, golden.quantize_input(graph, images[:1])[0], boards, seeds=(0,))
    return graph


def depthwise(net, x, channels, *, times=1, bias=False, **attributes):
    weights = net.weights(channels * times, 1, 3)
    more = [net.const(net.rng.normal(size=channels * times))] if bias else []
    return net.op("Conv", x, weights, *more, group=channels, **attributes)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_between_convolutions_of_channels(times, kind):
    """As quantizers have it in front of a depthwise convolution: with Relu, a bias, stride and padding."""
    net = QdqNet(SHAPE)
    x = both(net, net.op("Relu", net.op("Conv", net.both("x"), net.weights(6, 3, 3))), 6, kind=kind, zero=0)
    x = net.both(depthwise(net, x, 6, times=times, bias=True, strides=[2, 1], pads=[1] * 4), scale=0.0571)
    graph = runs(net, net.both(net.op("Conv", x, net.weights(4, 6 * times))))
    assert [type(node) for node in graph.nodes] == [ir.Conv] * 3


def test_weights_with_a_scale_for_each_channel_and_the_largest_pixel():
    net = QdqNet(SHAPE)
    x = both(net, net.op("Conv", net.both("x"), net.weights(5, 3)), 5)
    x = net.op("MaxPool", x, kernel_shape=[2, 2])
    weights = net.weights(5, 1, 3, scale=0.01 + 0.01 * np.arange(5, dtype=np.float32), axis=0)
    runs(net, net.both(net.op("Conv", x, weights, group=5), scale=0.0571))


def test_from_one_scale_to_several_and_back():
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(6, 3)))
    x = both(net, both(net, x, 6), 6)  # the second pair changes nothing
    x = both(net, x, 6, seed=1)
    graph = runs(net, net.both(net.op("Conv", net.both(x, scale=0.0613), net.weights(4, 6))))
    assert [type(node) for node in graph.nodes] == [ir.Conv] * 5


def test_in_one_dimension():
    net = QdqNet((3, 12))
    weights = net.dequantize(net.const(net.rng.integers(-7, 8, (4, 3, 3)), np.int8), scale=0.0313)
    x = both(net, net.op("Conv", net.both("x"), weights), 4)
    weights = net.dequantize(net.const(net.rng.integers(-7, 8, (4, 1, 3)), np.int8), scale=0.0313)
    runs(net, net.both(net.op("Conv", x, weights, group=4), scale=0.0571))


def test_an_output_has_them():
    """As integers and as real numbers."""
    net = QdqNet(SHAPE)
    zeros = np.full(4, 9, np.uint8)
    integers = net.quantize(net.op("Conv", net.both("x"), net.weights(4, 3)), scale=scales(4), zero=zeros, axis=1)
    graph = assert_equal(net.model(net.dequantize(integers, scale=scales(4), zero=zeros, axis=1)), net.images(2))
    assert not lower(graph, 8).cuts


@pytest.mark.parametrize(
    ("op", "why"), [("Conv", "is no sum of integers"), ("Add", "in floating point"), ("Softmax", "in floating point")]
)
def test_what_needs_one_scale_is_the_hosts(op, why):
    net = QdqNet(SHAPE)
    x = both(net, net.op("Conv", net.both("x"), net.weights(6, 3)), 6)
    if op == "Conv":
        x = net.op("Conv", x, net.weights(4, 6))
    else:
        x = net.op("Add", x, x) if op == "Add" else net.op("Softmax", x, axis=1)
    model = net.model(net.both(x))
    assert_equal(model, net.images(2))
    assert any(row.op == op and row.verdict == "host" and why in row.why for row in check(model))


@pytest.mark.parametrize(
    ("what", "why"), [("zeros", "that differ by channel"), ("clip", "another number in each"), ("rows", "another axis")]
)
def test_others_are_quantized_by_the_host(what, why):
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(3, 3, 3), pads=[1] * 4))
    x = net.op("Conv", x, net.weights(6, 3, 3), pads=[1] * 4)
    if what == "clip":
        x = both(net, net.op("Clip", x, net.const(0.0), net.const(1.5)), 6)
    elif what == "rows":
        x = both(net, x, 8, axis=2)
    else:
        x = net.both(x, scale=scales(6), zero=np.arange(6).astype(np.uint8) + 20, axis=1)
    model = net.model(net.both(depthwise(net, x, 6), scale=0.0571))
    assert_equal(model, net.images(2))
    assert any(row.op == "QuantizeLinear" and row.verdict == "host" and why in row.why for row in check(model))


@pytest.mark.parametrize("is_moved", [False, True])
def test_an_input_has_one_scale(is_moved):
    net = QdqNet(SHAPE)
    x = both(net, net.op("Transpose", "x", perm=[0, 1, 3, 2]) if is_moved else "x", 3)
    with pytest.raises(ModelError, match="one a channel, the model's input may not"):
        load(net.model(net.both(depthwise(net, x, 3), scale=0.0571)))


def test_a_reader_without_a_zero_point_of_what_the_host_quantizes():
    """It takes integers of the type that the host gives."""
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(6, 3, 3), pads=[1] * 4))
    integers = net.quantize(x, scale=scales(8), zero=np.zeros(8, np.int8), axis=2)
    x = net.dequantize(integers, scale=scales(8), axis=2)
    model = net.model(net.both(net.op("Conv", x, net.weights(4, 6))))
    assert_equal(model, net.images(2))
    assert any(row.op == "QuantizeLinear" and row.verdict == "host" for row in check(model))


def test_integers_that_are_an_output_say_that_their_scale_is_not_the_only_one():
    """They are the model's; real numbers that are made of them with one scale are not."""
    net = QdqNet(SHAPE)
    given = {"scale": scales(4), "zero": np.full(4, 30, np.uint8), "axis": 1}
    integers = net.quantize(net.op("Conv", net.both("x"), net.weights(4, 3)), **given)
    graph = load(net.model(integers))
    assert golden.agree(graph, net.images(2)).outputs[0].differing == 0
    assert graph.values[graph.outputs[0]].scale == pytest.approx(float(scales(4).max()))
    assert any(integers in note and "a scale for each channel" in note for note in graph.notes)
    taken = net.op("Conv", net.dequantize(integers, **given), net.weights(4, 1), group=4)
    assert not any("each channel" in note for note in load(net.model(net.both(taken))).notes)
