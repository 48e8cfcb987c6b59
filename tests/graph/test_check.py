"""The report of what becomes of each node."""

import numpy as np
import pytest
from onnx_models import FloatNet

from superlip import golden, graph
from superlip.graph import examine


def verdicts(float_model):
    return {f"{r.node} {r.op}": r.verdict for r in graph.check(float_model)}


def test_one_row_a_node_in_order():
    net = FloatNet((3, 8, 8))
    x = net.op("Relu", net.norm(net.conv("x", 4, 3), 4))
    x = net.op("Dropout", net.op("Sum", x, x, net.conv(x, 4, 4)))
    x = net.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    x = net.op("Softmax", net.dense(net.op("Flatten", x), 10, 4), axis=1)
    found = verdicts(net.model(x))
    assert found == {
        "n0 Conv": "accelerator",
        "n1 BatchNormalization": "folded",
        "n2 Relu": "folded",
        "n3 Conv": "accelerator",
        "n4 Sum": "rewritten",
        "n5 Dropout": "folded",
        "n6 ReduceMean": "rewritten",
        "n7 Flatten": "accelerator",
        "n8 Gemm": "accelerator",
        "n9 Softmax": "host",
    }
    whys = {r.op: r.why for r in graph.check(net.model(x))}
    assert whys["Relu"] == "into Conv 'n0'"


def test_unsupported_nodes_are_all_listed():
    """Each unsupported node with its own reason, and those that only need its result with that."""
    net = FloatNet((3, 8, 8))
    x = net.op("NonZero", net.conv("x", 4, 3))
    x = net.op("Cast", x, to=1)
    float_model = net.model(x)
    rows = {r.op + r.node: r for r in graph.check(float_model)}
    assert rows["Convn0"].verdict == "accelerator"
    assert rows["NonZeron1"].verdict == "unsupported"
    assert "depends on the image" in rows["NonZeron1"].why
    assert rows["Castn2"].verdict == "unsupported"
    assert "'n1'" in rows["Castn2"].why
    with pytest.raises(graph.ModelError, match="n1"):
        graph.load(float_model, random_weights=0)


def test_float_tail_runs_on_the_host():
    """Behind the last accelerated layer the host computes whatever ONNX Runtime can."""
    net = FloatNet((3, 8, 8))
    x = net.dense(net.op("Flatten", net.conv("x", 4, 3)), 12, 256)
    values, indices = net.op("TopK", net.op("Softmax", x, axis=1), net.const([3], np.int64), outputs=2)
    float_model = net.model(values, indices)
    rows = {r.op: r.verdict for r in graph.check(float_model)}
    assert rows["TopK"] == rows["Softmax"] == "host"
    assert rows["Conv"] == "accelerator"
    g = graph.load(float_model, random_weights=0)
    assert len(g.outputs) == 2
    comparison = golden.reference(g, net.images(4))
    assert [d.mismatches for d in comparison.outputs] == [0, 0]


def test_weights_are_made_up_only_for_a_model_without_images():
    """Zeros that a trained network has in a bias are its own."""
    net = FloatNet((3, 8, 8))
    float_model = net.model(net.op("Conv", "x", net.const(net.rng.normal(size=(4, 3, 3, 3))), net.const(np.zeros(4))))
    images = net.images(3)
    for given, is_made_up in (
        ({}, True),
        ({"calibrate": images}, False),
        ({"calibrate": images, "random_weights": 1}, True),
    ):
        _, found = examine(float_model, **given)
        assert found.has_random_weights == is_made_up
        assert any("placeholder" in note for note in found.notes) == is_made_up
