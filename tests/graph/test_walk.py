"""The nodes of a model, once, in order: verdicts, and who is to blame."""

import pytest
from imported import Quantized

from superlip.graph import ir
from superlip.graph.errors import ModelError


def test_every_node_gets_a_verdict():
    net = Quantized()
    net.op("Softmax", net.op("Flatten", net.both(net.op("Relu", net.conv(net.both("x"), 3, 2)))), axis=1)
    graph, importer = net.imported(f"{net.nodes[-1].name}.0")
    verdicts = {n.op_type: importer.verdicts[n.name][0] for n in net.nodes}
    assert verdicts == {
        "QuantizeLinear": "folded", "DequantizeLinear": "folded", "Conv": "accelerator", "Relu": "accelerator",
        "Flatten": "accelerator", "Softmax": "host",
    }  # fmt: skip
    assert [type(n) for n in graph.nodes] == [ir.Conv, ir.Host]


def test_nodes_behind_a_refused_one_need_its_result():
    net = Quantized()
    first = net.conv(net.both("x"), 3, 2)
    net.both(net.conv(net.both(first), 2, 3))
    graph, importer = net.imported(f"{net.nodes[-1].name}.0", refused={first.removesuffix(".0"): "because"})
    assert graph is None and [(n.op_type, why) for n, why in importer.unsupported] == [("Conv", "because")]
    last = next(n for n in reversed(net.nodes) if n.op_type == "Conv")
    assert importer.verdicts[last.name] == ("unsupported", f"needs the result of {first.removesuffix('.0')!r}")


def test_constants_are_folded():
    net = Quantized()
    weights = net.op("Neg", net.op("Neg", net.weights(3, 2, 1, 1)))
    graph, importer = net.imported(net.both(net.op("Conv", net.both(net.conv(net.both("x"), 2, 2)), weights)))
    # weights in floating point are not the walk's to quantize
    assert [type(n) for n in graph.nodes] == [ir.Conv, ir.Host]
    assert importer.verdicts[weights.removesuffix(".0")][0] == "host"


def test_models_without_anything_to_accelerate():
    net = Quantized()
    with pytest.raises(ModelError, match="no convolution, dense layer, pooling or addition"):
        net.imported(net.both(net.op("Sigmoid", net.both("x"))))
    with pytest.raises(ModelError, match="output 'x': the model's input 'x' is used without being quantized"):
        net.imported("x")
