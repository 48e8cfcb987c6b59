"""ONNX Runtime beside the golden: a difference is found, and in the layer that makes it."""

import dataclasses

import numpy as np
import pytest
from imported import Quantized

from superlip import golden
from superlip.golden.reference import reference


def convolved(net, x, filters, channels):
    weights = net.const(net.rng.integers(-30, 31, (filters, channels, 1, 1)).astype(np.int8))
    quantized = [weights, net.const(np.float32(0.0213)), net.const(np.int8(0))]
    return net.op("QLinearConv", x, "s", "z", *quantized, "s", "z")


@pytest.fixture(scope="module")
def net():
    made = Quantized()
    hidden = convolved(made, "x", 3, 2)
    real = made.op("DequantizeLinear", hidden, "s", "z")
    graph = made.check(convolved(made, hidden, 4, 3), made.op("Softmax", made.op("Flatten", real)), dtype=np.uint8)
    return graph, made.images(5, np.uint8)


def test_nothing_differs(net):
    graph, images = net
    found = reference(graph, images, layers=True)
    assert found.images == found.top1 == 5 and len(found.layers) == 2
    assert found.layer_mismatches == found.mismatches == 0 and [d.kind for d in found.outputs] == ["output", "host"]


def test_a_wrong_layer_is_named(net):
    graph, images = net
    first = graph.nodes[0]
    wrong = dataclasses.replace(first, bias=first.bias + np.int32(2000))
    broken = dataclasses.replace(graph, nodes=[wrong, *graph.nodes[1:]])
    found = reference(broken, images, layers=True)
    assert found.mismatches > 0
    assert [d.name for d in found.layers if d.mismatches] == [first.name]


def test_results_that_are_there_are_taken(net):
    graph, images = net
    results = golden.run(graph, golden.quantize_input(graph, images))
    results[graph.outputs[0]] = results[graph.outputs[0]] ^ np.int8(1)
    first = reference(graph, images, results=results).outputs[0]
    assert first.mismatches == first.values and first.largest == 1
