"""Which channels share a scale."""

import numpy as np
from onnx_models import FloatNet

from superlip.graph.onnx.channels import FIXED, Channels, is_weighted, weights_by_output
from superlip.graph.onnx.load import Loader
from superlip.graph.onnx.rewrite import prepare

SHAPE = (3, 8, 8)


def channels(net, *outputs):
    return Channels(prepare(Loader(net.model(*outputs)).model))  # which knows the shapes


def test_what_lets_a_scale_through():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    y = net.op("LeakyRelu", net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2], strides=[2, 2]), alpha=0.1)
    y = net.op("AveragePool", y, kernel_shape=[2, 2])
    of = channels(net, net.conv(y, 5, 4)).of
    assert len(set(of[x])) == 4 and FIXED not in of[x]
    assert np.array_equal(of[x], of[y])


def test_input_and_outputs_stay():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    y = net.conv(x, 4, 4)
    of = channels(net, net.op("Relu", y)).of
    assert not of[y].any() and of[x].all() and not of.get("x", np.zeros(1)).any()
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    of = channels(net, net.conv(x, 4, 4), x).of
    assert not of[x].any()


def test_what_is_not_homogeneous_fixes_what_it_takes():
    for op in ("Sigmoid", "HardSwish", "Softplus"):
        net = FloatNet(SHAPE)
        x = net.conv("x", 4, 3)
        of = channels(net, net.conv(net.op(op, x), 4, 4)).of
        assert not of[x].any(), op


def test_an_addition_joins_and_a_concatenation_puts_side_by_side():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    y = net.conv(x, 4, 4)
    z = net.conv(x, 2, 4)
    total = net.op("Add", x, y)
    both = net.op("Concat", total, z, axis=1)
    of = channels(net, net.conv(both, 4, 6)).of
    assert np.array_equal(of[x], of[y]) and np.array_equal(of[both], [*of[x], *of[z]])
    assert len(set(of[both])) == 6


def test_one_fixed_operand_fixes_the_sum():
    net = FloatNet(SHAPE)
    x, y = net.conv("x", 4, 3), net.conv("x", 4, 3)
    of = channels(net, net.conv(net.op("Add", x, net.op("Sigmoid", y)), 4, 4)).of
    assert not of[x].any()


def test_a_gate_is_no_matter():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    gate = net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", x), 4, 4, k=1))
    y = net.op("Mul", x, gate)
    of = channels(net, net.conv(y, 4, 4)).of
    assert of[x].all() and np.array_equal(of[x], of[y])


def test_flattened_channels_keep_their_class():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    flat = net.op("Flatten", x)
    of = channels(net, net.dense(flat, 5, 256)).of
    assert np.array_equal(of[flat], np.repeat(of[x], 64))


def test_clips_are_remembered_with_their_bound():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    y = net.conv(net.op("Clip", x, net.const(0), net.const(6)), 4, 4)
    found = channels(net, net.conv(net.op("Clip", y, net.const(-1), net.const(6)), 4, 4))
    assert found.clips == [(x, 6.0)]
    assert found.of[x].all() and not found.of[y].any()


def test_weights_of_groups_know_their_input_channels():
    net = FloatNet((4, 8, 8))
    prepared = prepare(net.model(net.conv("x", 6, 4, k=3, groups=2)))
    (node,) = (n for n in prepared.nodes if is_weighted(n, prepared.consts))
    weights, index = weights_by_output(node, prepared.consts)
    assert weights.shape == (6, 2, 9)
    assert index.tolist() == [[0, 1]] * 3 + [[2, 3]] * 3
