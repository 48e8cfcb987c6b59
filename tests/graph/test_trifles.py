"""What stands between operations of the host, and is not worth a stop."""

import numpy as np
import pytest
from qdq_models import QdqNet, assert_equal

from superlip.graph import check, ir
from superlip.graph.onnx.trifles import trifles
from superlip.plan.lower import lower


def head(net, filters):
    """As detectors have it: a Softmax, a convolution of it, what is made of that, and a branch beside it."""
    x = net.both(net.op("Conv", net.both("x"), net.weights(8, 3, 3)))
    y = net.both(net.op("Softmax", x, axis=1), scale=0.0041)
    y = net.both(net.op("Conv", y, net.weights(filters, 8)), scale=0.0313)
    y = net.both(net.op("Relu", net.both(net.op("Mul", y, net.const(3.0)))))
    z = net.both(net.op("Sigmoid", x), scale=0.0041)
    return net.both(net.op("Concat", y, z, axis=1), scale=0.0173)


@pytest.mark.parametrize("filters", [1, 8])
def test_the_tail_of_a_quantized_detector(filters):
    """It is computed as the model has it, behind the boards; where there is much to multiply, they stop."""
    net = QdqNet((3, 8, 8))
    model = net.model(head(net, filters), opset=17)
    graph = assert_equal(model, net.images(3))
    is_kept = filters > 1
    assert bool(lower(graph, 8).cuts) == is_kept
    rows = {row.op: row for row in check(model) if row.op in ("Concat", "Mul")}
    assert [row.verdict for row in rows.values()] == ["accelerator" if is_kept else "host"] * 2
    if not is_kept:
        assert "288 multiplications for 900 numbers" in rows["Mul"].why


def test_only_what_needs_the_host_counts():
    """Of two convolutions of the host's result, joined by an addition, and one of the image."""
    shape, rng = (4, 3, 3), np.random.default_rng(0)
    names = ("x", "h", "a", "b", "c", "s", "y")
    graph = ir.Graph("g", {name: ir.Value(name, shape, 0.1, 0) for name in names}, [], "x", ["y"], b"")

    def conv(name, source):
        weights = rng.integers(-3, 4, (4, 4, 1, 1)).astype(np.int8)
        return ir.Conv(
            name=name, inputs=(source,), output=name, onnx_names=(name,), weights=weights, bias=np.zeros(4, np.int32),
            scale=np.ones(4, np.float32),
        )  # fmt: skip

    factors = {"mult_a": 1, "mult_b": 1, "shift": 0}
    graph.nodes += [
        conv("a", "x"), ir.Host(name="h", inputs=("a",), output="h", model=b"", reason=""),
        conv("b", "h"), conv("c", "h"),
        ir.Add(name="s", inputs=("b", "c"), output="s", onnx_names=("s",), **factors),
        ir.Add(name="y", inputs=("s", "a"), output="y", onnx_names=("y",), **factors),
    ]  # fmt: skip
    assert trifles(graph, {"a", "b", "c", "s", "y"}) == {}  # 288 multiplications, and 108 numbers moved
    graph.nodes[2:4] = [
        ir.Table(name=n.name, inputs=n.inputs, output=n.output, onnx_names=n.onnx_names, table=np.arange(-128, 128))
        for n in graph.nodes[2:4]
    ]
    found = trifles(graph, {"a", "b", "s", "y"})
    assert found.keys() == {"b", "s", "y"}
    assert "0 multiplications for 108 numbers" in found["y"]
    graph.nodes[1] = ir.Host(name="h", inputs=("x",), output="h", model=b"", reason="")
    assert trifles(graph, {"a", "b", "s", "y"}) == {}  # the host does that with the image, before the boards begin
