"""The layer that loses a network's accuracy, and what is to blame."""

import dataclasses

import pytest
from onnx_models import FloatNet

import superlip
from superlip import golden
from superlip.golden.agreement import decibels
from superlip.golden.loss import find_loss


@pytest.fixture(scope="module")
def net():
    made = FloatNet((3, 8, 8))
    model = made.model(made.conv(made.conv("x", 6, 3), 4, 6))
    return superlip.load(model, calibrate=made.images(8)), made.images(4)


def changed(graph, **fields):
    """The graph with another first convolution."""
    first = graph.nodes[0]
    nodes = [dataclasses.replace(first, **{name: f(first) for name, f in fields.items()}), *graph.nodes[1:]]
    return dataclasses.replace(graph, nodes=nodes)


def loss_of(graph, images):
    results = golden.run(graph, golden.quantize_input(graph, images))
    return find_loss(graph, graph.onnx_outputs[0], images, results, decibels)


def test_weights_are_to_blame(net):
    graph, images = net
    found = loss_of(changed(graph, weights=lambda conv: conv.weights // 64 * 64), images)
    assert (found.layer, found.blame) == (graph.nodes[0].name, "weights") and found.after < 20 < found.before
    assert found.tensor == graph.own_tensor(graph.nodes[0].output) and "int8 holds too little" in found.why
    assert str(found).startswith(f"lost first in layer {found.layer!r} (from ")


def test_a_range_is_to_blame(net):
    """A result in steps of twenty times the size falls in few of them."""
    graph, images = net
    wide = changed(graph, scale=lambda conv: conv.scale / 20)
    name = wide.nodes[0].output
    value = wide.values[name]
    values = wide.values | {name: dataclasses.replace(value, scale=20 * value.scale)}
    found = loss_of(dataclasses.replace(wide, values=values), images)
    assert (found.layer, found.blame) == (wide.nodes[0].name, "range") and "few of the 256 steps" in found.why


def test_without_a_model_as_given_nothing_is_said(net):
    graph, images = net
    assert loss_of(dataclasses.replace(graph, given=None), images) is None
