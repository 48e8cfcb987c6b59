"""Bias correction."""

import numpy as np
import pytest
from onnx_models import FloatNet

from superlip import graph
from superlip.golden import agree
from superlip.graph.onnx.calibrate import observe_ranges
from superlip.graph.onnx.correct import bias_shifts
from superlip.graph.onnx.quantize import quantize
from superlip.graph.onnx.rewrite import prepare
from superlip.graph.onnx.stretches import run_tensors


def biased(seed=0):
    """A network whose weights all round the same way, on images that are all positive."""
    net = FloatNet((3, 8, 8), seed=seed)
    weights = np.full((4, 3, 3, 3), 0.4 / 127)
    weights[:, 0, 0, 0] = 1
    x = net.op("Conv", "x", net.const(weights), pads=[1, 1, 1, 1])
    return net, net.model(x), np.abs(net.images(8))


def means(prepared, images, model, weights):
    name = next(iter(prepared.outputs))
    found = []
    run_tensors(model, [name], images, lambda _, array: found.append(array), weights)
    return np.stack(found).mean(axis=(0, 1, 3, 4))


def test_means_of_channels_are_those_of_the_float_model():
    _, model, images = biased()
    prepared = prepare(model)
    ranges = observe_ranges(prepared.model, images, prepared.consts)
    expected = means(prepared, images, prepared.model, prepared.consts)
    before = np.abs(means(prepared, images, *quantize(prepared, ranges)) - expected)
    shifts = bias_shifts(prepared, ranges, images)
    after = np.abs(means(prepared, images, *quantize(prepared, ranges, (), shifts)) - expected)
    assert (before > 0.01).all() and (after < before / 10).all()


def test_what_it_is_for():
    net, model, images = biased()
    held_out = np.abs(net.images(8))
    plain, corrected = (graph.load(model, calibrate=images, quantize=q) for q in ("", "correct-bias"))
    assert agree(corrected, held_out).decibels > agree(plain, held_out).decibels + 2


def test_layers_of_the_host_are_left_alone():
    _, model, images = biased()
    prepared = prepare(model)
    ranges = observe_ranges(prepared.model, images, prepared.consts)
    name = next(n.name for n in prepared.nodes if n.op_type == "Conv")
    assert set(bias_shifts(prepared, ranges, images)) == {name}
    assert not bias_shifts(prepared, ranges, images, hosted=[name])


@pytest.mark.parametrize("size", [(1, 4), (4, 4)])
def test_dense_layers_have_a_mean_an_output(size):
    net = FloatNet((3, *size))
    prepared = prepare(net.model(net.dense(net.op("Flatten", "x"), 5, 3 * size[0] * size[1])))
    images = net.images(4)
    (shift,) = bias_shifts(prepared, observe_ranges(prepared.model, images, prepared.consts), images).values()
    assert shift.shape == (5,) and np.abs(shift).max() < 0.1
