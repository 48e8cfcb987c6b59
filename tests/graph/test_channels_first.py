"""Transposes to channels last and back, wherever they stand, absorbed in the layout."""

import numpy as np
import pytest
from channels_last import first, keras, last
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import FloatNet
from qdq_models import QdqNet, assert_equal

from superlip import golden
from superlip.graph import check, ir, load
from superlip.graph.onnx.channels_first import put_channels_first
from superlip.graph.onnx.rewrite import Prepared
from superlip.graph.session import open_session


def of_more_than_vectors(state):
    """Transposes that change the order of numbers."""
    return sum(
        node.op_type == "Transpose" and sum(size != 1 for size in state.shapes[node.input[0]]) > 1
        for node in state.nodes
    )


def counted(model):
    """How many Transposes there were and are left; the outputs are the same, run by ONNX Runtime."""
    image = np.random.default_rng(1).normal(size=[d.dim_value or 1 for d in dims(model)]).astype(np.float32)
    before = open_session(model.SerializeToString(), is_optimized=False).run(None, {"x": image})
    state = Prepared(model)
    transposes = of_more_than_vectors(state)
    put_channels_first(state)
    left = of_more_than_vectors(state)
    state.finish()
    after = open_session(state.model.SerializeToString(), is_optimized=False).run(None, {"x": image})
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    return transposes, left


def dims(model):
    return model.graph.input[0].type.tensor_type.shape.dim


def test_a_network_of_keras_has_none_left():
    net = FloatNet((9, 8, 3))
    model, images = net.model(keras(net)), net.images(4)
    graph = load(model, calibrate=images)
    assert not any(isinstance(node, ir.Host) for node in graph.nodes)
    verdicts = {row.verdict for row in check(model, calibrate=images)}
    assert verdicts <= {"accelerator", "folded", "rewritten"}
    assert golden.agree(graph, images).decibels > 25
    for boards in (1, 2):
        run_compiled(graph, golden.quantize_input(graph, images[:1])[0], boards, seeds=(0,))


def test_nor_has_a_quantized_one():
    net = QdqNet((9, 8, 3))
    model, images = net.model(keras(net, net.both), opset=17), net.images(3)
    graph = assert_equal(model, images)
    assert not any(isinstance(node, ir.Host) for node in graph.nodes)
    gone = [row for row in check(model) if row.op == "Transpose"]
    assert all(row.verdict in ("folded", "accelerator") for row in gone)
    assert sum("layout" in row.why for row in gone) > 8
    for boards in (1, 2):
        run_compiled(graph, golden.quantize_input(graph, images[:1])[0], boards, seeds=(0,))


def test_those_of_a_model_without_gain_stay():
    """One Transpose in front of an output is no matter; it stays where it stands."""
    net = FloatNet((3, 8, 8))
    model = net.model(net.op("Relu", last(net, net.conv("x", 4, 3))))
    state = Prepared(model)
    assert put_channels_first(state) == 0
    assert [node.op_type for node in state.nodes] == ["Conv", "Transpose", "Relu"]


def test_outputs_keep_their_name_and_order():
    net = FloatNet((3, 6, 5))
    x = last(net, net.conv("x", 4, 3))
    y = net.op("Sigmoid", net.op("Relu", x))
    back = first(net, y)
    model = net.model(y, back, net.conv(back, 3, 4), first(net, y))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert counted(model) == (3, 1)


def test_a_normalization_moves_behind_the_transpose_of_the_input():
    net = FloatNet((6, 5, 3))
    x = net.op("Mul", net.op("Sub", "x", net.const([0.1, 0.2, 0.3])), net.const([1.5, 2.0, 0.7]))
    model, images = net.model(net.conv(first(net, x), 4, 3)), net.images(3)
    graph = load(model, calibrate=images)
    assert not any(isinstance(node, ir.Host) for node in graph.nodes)
    assert graph.onnx_input_order == (2, 0, 1)


STEPS = {}


def step(function):
    STEPS[function.__name__] = function
    return function


@step
def constant(net, x, shape, pick):
    """Of any size that is broadcast."""
    sizes = [size if pick(0, 1) else 1 for size in shape[pick(0, len(shape) - 1) :]]
    op = ["Add", "Mul", "Sub", "Max"][pick(0, 3)]
    operands = [x, net.const(net.rng.normal(size=sizes))]
    return net.op(op, *(operands[::-1] if pick(0, 1) else operands)), shape


@step
def function(net, x, shape, pick):
    return net.op(["Relu", "Sigmoid", "HardSwish", "Tanh"][pick(0, 3)], x), shape


@step
def padded(net, x, shape, pick):
    pads = [0, *(pick(0, 1) for _ in shape[1:])], [0, *(pick(0, 1) for _ in shape[1:])]
    shape = tuple(n + a + b for n, a, b in zip(shape, *pads, strict=True))
    return net.op("Pad", x, net.const([*pads[0], *pads[1]], np.int64)), shape


@step
def sliced(net, x, shape, pick):
    axis = pick(1, len(shape) - 1)
    cut = [net.const([n], np.int64) for n in (0, max(1, shape[axis] - 1), axis - pick(0, 1) * len(shape))]
    return net.op("Slice", x, *cut), tuple(max(1, n - 1) if a == axis else n for a, n in enumerate(shape))


@step
def joined(net, x, shape, pick):
    axis = pick(1, len(shape) - 1)
    other = net.const(net.rng.normal(size=shape)) if pick(0, 1) else x
    return net.op("Concat", x, other, axis=axis), tuple(2 * n if a == axis else n for a, n in enumerate(shape))


@step
def split(net, x, shape, pick):
    axis = pick(1, len(shape) - 1)
    if shape[axis] < 2:
        return x, shape
    parts = net.const([1, shape[axis] - 1], np.int64)
    return net.op("Split", x, parts, outputs=2, axis=axis)[1], tuple(
        n - 1 if a == axis else n for a, n in enumerate(shape)
    )


@step
def gated(net, x, shape, pick):
    axes = [axis for axis in range(1, len(shape)) if pick(0, 1)]
    if not axes:
        return x, shape
    return net.op("Mul", x, net.op("ReduceMax", x, axes=axes, keepdims=1)), shape


@step
def reduced(net, x, shape, pick):
    axis = pick(1, len(shape) - 1)
    mean = net.op("ReduceMean", x, axes=[axis], keepdims=0)
    return net.op("Add", x, net.op("Unsqueeze", mean, net.const([axis], np.int64))), shape


@step
def softmax(net, x, shape, pick):
    return net.op("Softmax", x, axis=pick(1, len(shape) - 1)), shape


@step
def resized(net, x, shape, pick):
    scales = [1.0] + [1.0 + pick(0, 1) for _ in shape[1:]]
    none = net.const(np.zeros(0))
    y = net.op("Resize", x, none, net.const(scales), coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return y, tuple(int(n * s) for n, s in zip(shape, scales, strict=True))


@step
def tiled(net, x, shape, pick):
    times = [1, *(pick(1, 2) for _ in shape[1:])]
    return net.op("Tile", x, net.const(times, np.int64)), tuple(n * t for n, t in zip(shape, times, strict=True))


@step
def taken(net, x, shape, pick):
    axis = pick(1, len(shape) - 1)
    index = net.rng.integers(0, shape[axis], pick(1, 3))
    y = net.op("Gather", x, net.const(index, np.int64), axis=axis)
    return y, tuple(len(index) if a == axis else n for a, n in enumerate(shape))


@step
def vector(net, x, shape, pick):
    """A gate of all channels, reshaped there and back."""
    axes = list(range(1, len(shape) - 1))
    y = net.op("ReduceMean", x, axes=axes, keepdims=pick(0, 1))
    y = net.op("Reshape", y, net.const([1, shape[-1]], np.int64))
    if pick(0, 1):
        y = net.op("Reshape", net.op("Relu", y), net.const([1, *(1 for _ in axes), shape[-1]], np.int64))
    else:
        y = net.op("Unsqueeze", y, net.const(axes, np.int64))
    return net.op("Add", x, y), shape


@step
def turned(net, x, shape, pick):
    """There and back, with a function between."""
    rank = len(shape)
    perm = [0, rank - 1, *range(1, rank - 1)]
    y = net.op("Transpose", x, perm=perm)
    if pick(0, 1):
        y = net.op("Sigmoid", y)
    return net.op("Transpose", y, perm=[0, *range(2, rank), 1]), shape


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_it_is_the_same_function(data):
    """Of random nodes in a row, some of whose tensors are outputs, in rank 3 and 4; no Transpose is added."""
    pick = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    rank = pick(3, 4)
    shape = (1, *(pick(1, 4) for _ in range(rank - 1)))
    net = FloatNet(shape[1:], seed=pick(0, 99))
    outputs, x = [], "x"
    for _ in range(pick(1, 7)):
        x, shape = STEPS[data.draw(st.sampled_from(sorted(STEPS)))](net, x, shape, pick)
        if int(np.prod(shape)) > 4000:
            break
        if x != "x" and pick(0, 5) == 0:
            outputs.append(x)
    x = net.op("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    model = net.model(*dict.fromkeys([*outputs, net.op("Relu", x)]))
    dims(model)[0].dim_value = 1
    transposes, left = counted(model)
    assert left <= transposes


@pytest.mark.parametrize("block", range(1, 3))
def test_scales_of_channels_are_turned(block):
    """A scale for each channel, along the last axis, goes where the channels go."""
    net = QdqNet((4, 5, 3))
    scale = 0.02 * (1 + np.arange(3, dtype=np.float32)) * block
    x = last(net, net.op("Relu", first(net, "x")))
    x = net.dequantize(net.quantize(x, scale=scale, axis=3), scale=scale, axis=3)
    model = net.model(first(net, net.op("Relu", x)), opset=17)
    assert counted(model) == (3, 1)
