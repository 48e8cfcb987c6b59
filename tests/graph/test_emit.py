"""Nodes of the quantized graph, from operands that are already integers."""

import numpy as np
import pytest
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import Quantized
from onnx_models import FloatNet
from qdq_models import QdqNet, assert_equal

from superlip import golden
from superlip.graph import check, ir, load
from superlip.graph.onnx.importer import emit
from superlip.graph.onnx.importer.importer import Importer
from superlip.graph.onnx.importer.states import Params, Unsupported
from superlip.graph.onnx.views import View, image_shape

SHAPE = (3, 2, 2)
X = View("x", (1, *SHAPE))


def importer(scale=0.05, zero_point=-8):
    net = Quantized()
    net.op("Relu", "x")
    found = Importer(net.model("n0.0"), "test")
    found.values["x"] = ir.Value("x", SHAPE, scale, zero_point)
    return found


def computed(found, view, elements):
    """What the golden makes of the nodes of an import."""
    graph = ir.Graph("g", found.values, found.nodes, "x", [view.value], b"")
    return golden.dequantize(graph, view.value, golden.run(graph, elements)[view.value])


FACTORS = st.lists(st.integers(-3000, 3000), min_size=3, max_size=3).map(lambda parts: np.array(parts) / 1000)


@settings(max_examples=40, deadline=None)
@given(FACTORS, FACTORS)
def test_a_factor_and_an_offset_a_channel(scale, shift):
    """Within a step of the result: half of it is rounded, and the offset is as near as a weight allows."""
    found = importer()
    elements = np.random.default_rng(0).integers(-128, 128, (2, *SHAPE)).astype(np.int8)
    params = Params(np.float32(0.2), 0)
    view = emit.channel_affine(found, ("n",), X, scale, shift, params, "y", params.element.bounds)
    real = found.values["x"].dequantize(elements) * scale[:, None, None] + shift[:, None, None]
    low, high = found.values[view.value].real_bounds
    assert np.abs(computed(found, view, elements) - np.clip(real, low, high)).max() <= 0.2


def test_factors_that_are_no_numbers():
    params = Params(np.float32(0.2), 0)
    for scale, shift, why in ((np.inf, 0.0, "not finite"), (1e-9, 1.0, "too large for int32")):
        with pytest.raises(Unsupported, match=why):
            emit.channel_affine(
                importer(), ("n",), X, np.array([scale]), np.array([shift]), params, "y", params.element.bounds
            )


@pytest.mark.parametrize("turned", [True, False])
def test_a_dense_layer_of_a_moved_view_moves_its_weights(turned):
    found = importer()
    index = np.arange(12).reshape(SHAPE)
    view = View("x", (1, 12), index.transpose(1, 2, 0).reshape(1, 12) if turned else None)
    weights = np.random.default_rng(0).integers(-9, 10, (4, 12)).astype(np.int8)
    params = Params(np.float32(0.5), 0)
    made = emit.dense(found, ("n",), view, weights, np.ones(1, np.float32), None, params, "y", params.element.bounds)
    assert [type(n) for n in found.nodes] == [ir.Conv] and made.shape == (1, 4)
    elements = np.random.default_rng(1).integers(-40, 40, (1, *SHAPE)).astype(np.int8)
    operand = found.values["x"].dequantize(elements).reshape(-1)[view.numbers().reshape(-1)]
    wanted = np.clip(weights @ operand.astype(np.float64), -64, 63.5)
    assert np.abs(computed(found, made, elements).reshape(-1) - wanted).max() <= 0.2501


@pytest.mark.parametrize("function", [emit.add, emit.mul])
@pytest.mark.parametrize("shapes", [
    [(1, 3, 2, 2), (1, 1, 2, 2)], [(1, 2, 2), (1, 3, 2, 2)], [(1, 3, 2, 1), (1, 3, 1, 40)],
    [(1, 3, 1, 1), (1, 1, 1, 9)],
    [(1, 5, 1, 1), (1, 1, 1, 1)], [(1, 3, 40), (1, 3, 1)], [(1, 1, 300, 2), (1, 4, 1, 2)],
], ids=str)  # fmt: skip
def test_operands_are_broadcast(function, shapes):
    """To the channels, rows and columns of each other, whatever either has one of."""
    found, rng = importer(), np.random.default_rng(0)
    views, reals = [], []
    for name, shape in zip("ab", shapes, strict=True):
        found.values[name] = ir.Value(name, image_shape(shape), 0.05, 3)
        views.append(View(name, shape))
        reals.append(rng.integers(-128, 128, (1, *image_shape(shape))).astype(np.int8))
    params = Params(np.float32(0.4), 0)
    made = function(found, ("n",), *views, params, "y", params.element.bounds)
    whole = found.values["all"] = ir.Value("all", (reals[0].size + reals[1].size, 1, 1), 1.0, 0)
    parts = [
        ir.Part(name=f"part {name}", inputs=("all",), output=name, first=first)
        for name, first in (("a", 0), ("b", reals[0].size))
    ]
    graph = ir.Graph("g", found.values, [*parts, *found.nodes], "all", [made.value], b"")
    elements = np.concatenate([real.reshape(-1) for real in reals]).reshape(1, *whole.shape)
    y = golden.dequantize(graph, made.value, golden.run(graph, elements)[made.value]).reshape(made.shape)
    a, b = ((real.astype(int) - 3).reshape(shape) * 0.05 for real, shape in zip(reals, shapes, strict=True))
    assert made.shape == np.broadcast_shapes(*shapes)
    assert np.abs(y - (a + b if function is emit.add else a * b)).max() <= 0.2001


def test_operands_of_different_shapes():
    found = importer()
    found.values["b"] = ir.Value("b", (3, 1, 1), 0.1, 0)
    params, row = Params(np.float32(0.1), 0), View("b", (1, 3, 1, 1))
    view = emit.add(found, ("n",), row, X, params, "y", params.element.bounds)
    assert found.nodes[-1].inputs == ("x", "b") and view.shape == (1, *SHAPE)
    for shape in ((1, 3), (1, 1, 3, 1), (3, 1)):  # which the model aligns to other axes
        with pytest.raises(Unsupported, match="only of the same shape, or of images"):
            emit.add(found, ("n",), X, View("b", shape), params, "y", params.element.bounds)
    view = emit.mul(found, ("n",), row, X, params, "y", params.element.bounds)
    assert found.nodes[-1].inputs == ("x", "b") and view.shape == (1, *SHAPE)


@pytest.mark.parametrize(("shape", "axis"), [((3, 6, 5), 2), ((3, 6, 5), -1), ((3, 9), 2), ((3, 6, 5), 1)])
def test_tensors_are_joined_along_any_axis(shape, axis):
    """Of several scales, on one board and on two."""
    net = QdqNet(shape)
    kernel = (3,) * (len(shape) - 1)
    integers = [net.const(net.rng.integers(-7, 8, (4, n, *kernel)), np.int8) for n in (3, 3, 4)]
    weights = [net.dequantize(each, scale=0.0313) for each in integers]
    pads = {"pads": [1] * 2 * len(kernel)}
    parts = [
        net.both(net.op("Conv", net.both("x"), w, **pads), scale=s) for w, s in zip(weights, (0.05, 0.07), strict=False)
    ]
    x = net.both(net.op("Concat", *parts, net.both(net.op("Relu", parts[0])), axis=axis), scale=0.061)
    if axis % (len(shape) + 1) != 1:
        x = net.both(net.op("Conv", x, weights[2]))
    model, images = net.model(x), net.images(3)
    found = assert_equal(model, images)
    assert not any(isinstance(node, ir.Host) for node in found.nodes)
    assert any(isinstance(node, ir.Concat if axis == 1 else ir.Stack) for node in found.nodes)
    for boards in (1, 2):
        run_compiled(found, golden.quantize_input(found, images[:1])[0], boards, seeds=(0,))


def test_reshaped_images_are_joined_by_the_host():
    """As detectors have it: at the end, with no stop."""
    net = FloatNet((3, 8, 8))
    first = net.conv("x", 6, 3)
    heads = [(first, 64), (net.conv(first, 6, 6, strides=[2, 2]), 16)]
    parts = [net.op("Reshape", x, net.const([1, 6, size], np.int64)) for x, size in heads]
    model, images = net.model(net.op("Sigmoid", net.op("Concat", *parts, axis=2))), net.images(3)
    found = load(model, calibrate=images)
    assert [type(node) for node in found.nodes] == [ir.Conv, ir.Conv, ir.Host]
    assert any("behind a reshape" in row.why for row in check(model) if row.op == "Concat")
