"""Equalisation of channels between layers."""

import numpy as np
import onnx
import pytest
from onnx_models import FloatNet

from superlip import graph
from superlip.golden import agree, quantize_input, run
from superlip.golden.agreement import decibels
from superlip.golden.loss import find_loss
from superlip.graph.onnx import equalize as equalization
from superlip.graph.onnx.equalize import equalize, observe_channels
from superlip.graph.onnx.rewrite import prepare
from superlip.graph.onnx.stretches import run_tensors

SHAPE = (3, 16, 16)


def uneven(between, *, depthwise=False, shape=SHAPE):
    """Two convolutions; the first one's channels differ by powers of ten, and the second one makes up for that."""
    net = FloatNet(shape)
    sizes = np.float32(10.0 ** np.linspace(-1.5, 0, 8))
    first = net.rng.normal(size=(8, 3, 3, 3)) * sizes[:, None, None, None]
    x = net.op("Conv", "x", net.const(first), net.const(sizes * 0.1), pads=[1, 1, 1, 1])
    x = between(net, x)
    if depthwise:
        second = net.rng.normal(size=(8, 1, 3, 3)) / sizes[:, None, None, None]
        x = net.op("Conv", x, net.const(second), pads=[1, 1, 1, 1], group=8)
        return net, net.conv(x, 4, 8)
    second = net.rng.normal(size=(4, 8, 3, 3)) / sizes[None, :, None, None]
    return net, net.op("Conv", x, net.const(second), pads=[1, 1, 1, 1])


BETWEEN = {
    "nothing": lambda net, x: x,
    "Relu": lambda net, x: net.op("Relu", x),
    "LeakyRelu": lambda net, x: net.op("LeakyRelu", x, alpha=0.2),
    "PRelu": lambda net, x: net.op("PRelu", x, net.const(np.linspace(0, 0.5, 8).reshape(8, 1, 1))),
    "Clip": lambda net, x: net.op("Clip", x, net.const(0), net.const(1000)),
    "MaxPool": lambda net, x: net.op("MaxPool", x, kernel_shape=[2, 2]),
}


def prepared_copy(model):
    return prepare(onnx.ModelProto.FromString(model.SerializeToString()))


def outputs(prepared, images):
    found = []
    run_tensors(prepared.model, sorted(prepared.outputs), images, lambda _, array: found.append(array), prepared.consts)
    return np.stack(found)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("name", BETWEEN)
def test_real_numbers_stay_and_steps_are_shared_better(name, depthwise):
    net, y = uneven(BETWEEN[name], depthwise=depthwise)
    model, images, held_out = net.model(y), net.images(4), net.images(4)
    prepared = prepared_copy(model)
    before = outputs(prepared, held_out)
    assert equalize(prepared, images)
    np.testing.assert_allclose(outputs(prepared, held_out), before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
    plain, equalized = (graph.load(model, calibrate=images, quantize=q) for q in ("no-equalize", "equalize"))
    assert agree(equalized, held_out).decibels > agree(plain, held_out).decibels + 6


def test_channels_that_reach_the_bound_of_a_clip_stay():
    """What a Clip cuts is cut where it was: the others may grow as far as the bound."""
    net, y = uneven(lambda net, x: net.op("Clip", x, net.const(0), net.const(2)))
    prepared, images = prepared_copy(net.model(y)), net.images(4)
    before = outputs(prepared, images)
    scales = next(iter(equalize(prepared, images).values()))
    seen = next(
        iter(observe_channels(prepared_copy(net.model(y)), [n.output[0] for n in prepared.nodes[:1]], images).values())
    )
    assert (scales[seen.peak >= 2] == 1).all() and (scales < 1).any()
    assert (seen.peak / scales <= np.maximum(2, seen.peak) * 1.0001).all()
    np.testing.assert_allclose(outputs(prepared, images), before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


def test_even_channels_and_few_values_stay():
    net = FloatNet(SHAPE)
    assert not equalize(prepared_copy(net.model(net.conv(net.conv("x", 8, 3), 4, 8))), net.images(4))
    net, y = uneven(BETWEEN["Relu"], shape=(3, 8, 8))
    assert not equalize(prepared_copy(net.model(y)), net.images(4))  # 256 values a channel say little of others
    assert equalize(prepared_copy(net.model(y)), net.images(20))


def test_channels_that_grow_keep_clear_of_the_range_s_end():
    net, y = uneven(BETWEEN["nothing"])
    prepared, images = prepared_copy(net.model(y)), net.images(8)
    (name, scales), *_ = equalize(prepared, images).items()
    grown = np.sort(observe_channels(prepared, [name], images)[name].peak)
    assert len(scales) == 8 and (grown[:-1] <= 0.701 * grown[-1]).all() and grown[0] > 0.2 * grown[-1]


def test_a_residual_chain_has_one_set_of_scales():
    net = FloatNet(SHAPE)
    sizes = net.const(10.0 ** np.linspace(-1.5, 0, 8).reshape(8, 1, 1))
    x = net.op("Mul", net.conv("x", 8, 3), sizes)
    y = net.op("Mul", net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 8), sizes)
    total = net.op("Add", x, y)
    model, images = net.model(net.conv(total, 4, 8)), net.images(4)
    prepared = prepared_copy(model)
    before = outputs(prepared, images)
    equalize(prepared, images)
    np.testing.assert_allclose(outputs(prepared, images), before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
    plain, equalized = (graph.load(model, calibrate=images, quantize=q) for q in ("no-equalize", "equalize"))
    assert agree(equalized, images).decibels >= agree(plain, images).decibels - 0.5


def test_the_layer_that_hurts_is_found_in_the_model_s_own_scales():
    """Tensors that were scaled are held against the model's own, scaled alike."""
    net, y = uneven(BETWEEN["nothing"])
    images = net.images(4)
    g = graph.load(net.model(y), calibrate=images)
    assert g.channel_scales
    agreement = agree(g, images)
    assert agreement.decibels > 30
    loss = find_loss(g, agreement.outputs[0].name, images, run(g, quantize_input(g, images)), decibels)
    assert loss is None or loss.after > 30


def test_of_huge_layers_some_outputs_are_looked_at(monkeypatch):
    net, y = uneven(BETWEEN["Relu"])
    model, images = net.model(y), net.images(4)
    whole = equalize(prepared_copy(model), images)
    monkeypatch.setattr(equalization, "_MOST_PAIRS", 8)
    some = equalize(prepared_copy(model), images)
    assert some.keys() == whole.keys() and not np.array_equal(*(next(iter(s.values())) for s in (whole, some)))
