"""Constants with a number for each element, on the accelerator."""

import numpy as np
import pytest
from functional import run_compiled
from onnx_models import FloatNet, model, node
from qdq_models import QdqNet, assert_equal

from superlip import golden
from superlip.graph import check, ir, load
from superlip.plan.lower import lower

SIZES = [(5, 6, 7), (1, 5, 6, 7), (1, 1, 6, 7), (6, 1), (7,), (1, 5, 1, 7)]


def runs_without_a_stop(graph, images):
    assert [n.reason for n in graph.nodes if isinstance(n, ir.Host)] == ["a constant with a number for each element"]
    assert not lower(graph, 8).cuts
    for boards in (1, 2):
        run_compiled(graph, golden.quantize_input(graph, images[:1])[0], boards, seeds=(0,))


def quantized(net, size, kind):
    limits = np.iinfo(kind)
    integers = net.rng.integers(limits.min, limits.max + 1, size).astype(kind)
    return net.dequantize(net.const(integers, kind), scale=0.0173, zero=kind(limits.min + 120))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("op", "is_first", "kind"), [("Add", 0, np.uint8), ("Mul", 1, np.int8), ("Sub", 1, np.uint8)])
def test_of_quantized_models(size, op, is_first, kind):
    net = QdqNet((3, 6, 7))
    x = net.both(net.op("Conv", net.both("x"), net.weights(5, 3)))
    operands = [x, quantized(net, size, kind)]
    x = net.both(net.op(op, *(operands[::-1] if is_first else operands)), scale=0.0631)
    x = net.both(net.op("Conv", x, net.weights(4, 5)))
    images = net.images(3)
    graph = assert_equal(net.model(x), images)
    runs_without_a_stop(graph, images)
    assert {row.verdict for row in check(net.model(x))} == {"accelerator", "folded"}


def test_a_constant_that_makes_the_tensor_larger():
    net = QdqNet((3, 6, 7))
    x = net.op("GlobalAveragePool", net.both(net.op("Conv", net.both("x"), net.weights(5, 3))))
    x = net.both(x, scale=0.0137)
    x = net.both(net.op("Add", x, quantized(net, (1, 5, 6, 7), np.uint8)))
    images = net.images(3)
    runs_without_a_stop(assert_equal(net.model(net.both(net.op("Conv", x, net.weights(4, 5)))), images), images)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("position", [0, 3])
def test_of_integer_models(op, position):
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.05), "z": np.uint8(120), "t": np.float32(0.0173), "r": np.float32(0.0631)}
    constants["c"] = rng.integers(0, 256, (4, 5)).astype(np.uint8)
    operands = ["q", "s", "z"], ["c", "t", "z"]
    taken = [*operands[0], *operands[1]] if position else [*operands[1], *operands[0]]
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node(op, [*taken, "r", "z"], ["p"])]
    nodes.append(node("DequantizeLinear", ["p", "r", "z"], ["y"]))
    images = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    graph = load(model(nodes, {"x": (np.float32, [1, 2, 4, 5])}, ["y"], constants))
    assert golden.reference(graph, images).outputs[0].largest <= 1
    runs_without_a_stop(graph, images)


def test_of_float_models():
    """In the middle; at the end they stay real numbers."""
    net = FloatNet((3, 6, 7))
    x = net.op("Add", net.conv("x", 5, 3), net.const(net.rng.normal(size=(5, 6, 7))))
    x = net.op("Mul", net.conv(x, 4, 5), net.const(net.rng.random(size=(6, 7))))
    source, images = net.model(x), net.images(4)
    graph = load(source, calibrate=images)
    first, last = (n for n in graph.nodes if isinstance(n, ir.Host))
    assert first.inputs == (graph.input,) and graph.values[last.output].is_float
    assert not lower(graph, 8).cuts
    assert golden.agree(graph, images).decibels > 30
    assert golden.reference(graph, images).outputs[0].largest < 0.05


def test_others_are_the_hosts():
    """Real numbers of a quantized model, which would have to be rounded, and a scale for each row."""
    for scale in (None, 0.01 + 0.001 * np.arange(6, dtype=np.float32)):
        net = QdqNet((3, 6, 7))
        x = net.both(net.op("Conv", net.both("x"), net.weights(5, 3)))
        numbers = net.rng.normal(size=(5, 6, 7))
        constant = net.const(numbers)
        if scale is not None:
            constant = net.dequantize(net.const(np.rint(numbers * 40), np.int8), scale=scale, axis=1)
        x = net.both(net.op("Add", x, constant))
        graph = assert_equal(net.model(x), net.images(2))
        assert isinstance(graph.nodes[-1], ir.Host) and len(graph.nodes) == 2
