"""Transposed convolutions on the accelerator."""

import numpy as np
import pytest
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import FloatNet
from qdq_models import QdqNet, assert_equal

import superlip
from superlip import golden
from superlip.graph import check, ir, load
from superlip.graph.onnx.onnxtools import small_model
from superlip.graph.onnx.transposed import block_convolution
from superlip.graph.session import open_session


def run(nodes, constants, image, output):
    model = small_model(nodes, [("x", TensorProto.FLOAT, image.shape)], [output], constants, {"": 17})
    return open_session(model, is_optimized=False).run(None, {"x": image})[0]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_is_the_same_function(data):
    """Wherever there is a convolution for it, which there is for the shapes that networks have."""
    pick = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    stride, groups, size = pick(1, 3), pick(1, 2), (pick(1, 5), pick(1, 5))
    kernel = pick(1, 5), pick(1, 5)
    rng = np.random.default_rng(pick(0, 99))
    weights = rng.normal(size=(2 * groups, 3, *kernel)).astype(np.float32)
    attributes = {
        "strides": [stride] * 2, "group": groups, "pads": [pick(0, k - 1) for k in kernel * 2],
        "output_padding": [pick(0, stride - 1) for _ in range(2)], "dilations": [pick(1, 3), pick(1, 2)],
    }  # fmt: skip
    found = block_convolution(weights, attributes, size)
    if found is None:
        return
    image = rng.normal(size=(1, 2 * groups, *size)).astype(np.float32)
    wanted = run([helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)], {"w": weights}, image, "y")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=list(found.pads), group=groups)]
    if found.block > 1:
        nodes.append(helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=found.block, mode="CRD"))
    result = run(nodes, {"w": found.weights}, image, "y" if found.block > 1 else "c")
    assert found.size == wanted.shape[2:]
    np.testing.assert_allclose(result[:, :, : found.size[0], : found.size[1]], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "attributes", "size"),
    [
        (2, {"strides": [2, 2]}, 1), (4, {"strides": [2, 2], "pads": [1] * 4}, 3),
        (3, {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}, 2), (3, {"pads": [1] * 4}, 3),
    ],
)  # fmt: skip
def test_those_of_networks(kernel, attributes, size):
    found = block_convolution(np.ones((4, 6, kernel, kernel), np.float32), attributes, (8, 8))
    assert found.weights.shape[2:] == (size, size)


@pytest.mark.parametrize("attributes", [{"auto_pad": b"SAME_UPPER"}, {"strides": [2, 1]}, {"output_shape": [9, 9]}])
def test_others_are_left_to_the_host(attributes):
    assert block_convolution(np.ones((4, 6, 3, 3), np.float32), attributes, (8, 8)) is None


def test_a_network_runs_it_whole():
    """With its normalization and activation, which cost nothing."""
    net = FloatNet((3, 8, 8))
    x = net.op("ConvTranspose", net.conv("x", 6, 3), net.const(net.rng.normal(size=(6, 4, 2, 2))), strides=[2, 2])
    x = net.conv(net.op("Relu", net.norm(x, 4)), 4, 4)
    model, images = net.model(x), net.images(4)
    graph = load(model, calibrate=images)
    assert [type(n) for n in graph.nodes] == [ir.Conv, ir.Conv, ir.DepthToSpace, ir.Conv]
    verdicts = {row.op: row.verdict for row in check(model, calibrate=images)}
    assert verdicts["ConvTranspose"] == "rewritten" and verdicts["BatchNormalization"] == "folded"
    (ours,), (theirs,) = superlip.predict(graph, images).values(), graph.given.run(images).values()
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 0.04 * np.ptp(theirs)


def test_a_result_of_no_whole_blocks_is_cut():
    net = FloatNet((3, 8, 8))
    x = net.op("ConvTranspose", net.conv("x", 6, 3), net.const(net.rng.normal(size=(6, 4, 3, 3))), strides=[2, 2])
    model, images = net.model(net.conv(x, 4, 4)), net.images(4)
    graph = load(model, calibrate=images)
    assert [type(n) for n in graph.nodes] == [ir.Conv, ir.Conv, ir.DepthToSpace, ir.Resize, ir.Conv]
    assert golden.agree(graph, images).decibels > 25


@pytest.mark.parametrize(
    ("size", "scales", "attributes"),
    [
        (2, 1, {"strides": [2, 2]}), (3, 4, {"strides": [2, 2], "pads": [1] * 4}), (3, 4, {"dilations": [2, 1]}),
        (2, 1, {"strides": [2, 2], "group": 3}),
    ],
)  # fmt: skip
def test_of_a_quantized_model(size, scales, attributes):
    net = QdqNet((3, 8, 8))
    channels = 4 if "group" not in attributes else 2
    integers = net.const(net.rng.integers(-90, 91, (3, channels, size, size)), np.int8)
    scale = 0.004 + 0.002 * net.rng.random(scales) if scales > 1 else 0.005
    weights = net.dequantize(integers, scale=scale, axis=1)
    bias = net.const(net.rng.normal(size=channels * attributes.get("group", 1)))
    x = net.op("ConvTranspose", net.both("x"), weights, bias, **attributes)
    model, images = net.model(net.both(net.op("Relu", x))), net.images(3)
    graph = assert_equal(model, images)
    for boards in (1, 2):
        run_compiled(graph, golden.quantize_input(graph, images[:1])[0], boards, seeds=(0,))
