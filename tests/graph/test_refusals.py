"""What load refuses and what check says are one: the same nodes of the user's model, each with the same reason."""

import numpy as np
import pytest
from float_nets import NETS, build
from onnx import helper
from qdq_models import SHAPE as QDQ_SHAPE
from qdq_models import QdqNet

from superlip import graph

FOREIGN_TEXT = ("ONNXRuntimeError", "superlip_", "QuantizeLinear_", "/quantized", "/table", "Traceback")


def residual_qdq(seed):
    net = QdqNet(QDQ_SHAPE, seed)
    x = net.both(net.op("Relu", net.op("Conv", net.both("x"), net.weights(4, 3, 3), pads=[1, 1, 1, 1])))
    y = net.both(net.op("Clip", net.op("Conv", x, net.weights(4, 4)), net.const(0.0), net.const(6.0)))
    x = net.both(net.op("Add", x, y))
    x = net.both(net.op("Sigmoid", net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])))
    x = net.op("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64), net.const(0.0))
    x = net.both(net.op("GlobalAveragePool", net.both(net.op("Conv", x, net.weights(6, 4, 3)))))
    return net.model(net.op("Softmax", net.op("Flatten", x), axis=1))


def operators(node, rng):
    node.op_type = rng.choice(
        ["ConvTranspose", "Einsum", "CumSum", "Relu", "Transpose", "Resize", "Softmax", "Nothing"]
    )


def domain(node, rng):
    node.domain = rng.choice(["ai.vendor", "com.microsoft", "ai.onnx", "ai.onnx.ml"])


def attribute(node, rng):
    name = rng.choice(["training_mode", "block_size", "axis", "mode", "auto_pad", "perm", "surprise", "pads", "group"])
    values = [1, 2, "linear", "SAME_UPPER", [0, 1, 3, 2], [1, 2, 3, 4]]
    value = values[rng.integers(len(values))]
    del node.attribute[:]
    node.attribute.append(helper.make_attribute(name, value))


def operands(node, rng):
    node.input[:] = rng.permutation(list(node.input))[: max(1, len(node.input) - rng.integers(2))]


MUTATIONS = [operators, domain, attribute, operands]
MODELS = [*(lambda seed, make=make: build(make, seed)[0] for make in NETS[:7]), *[residual_qdq] * 5]


def mutated(seed):
    """A model with one or two nodes changed; text of what was changed."""
    rng = np.random.default_rng(seed)
    found = MODELS[seed % len(MODELS)](seed)
    for _ in range(rng.integers(1, 3)):
        node = found.graph.node[rng.integers(len(found.graph.node))]
        MUTATIONS[rng.integers(len(MUTATIONS))](node, rng)
    found.opset_import.extend(helper.make_opsetid(name, 1) for name in ("ai.vendor", "ai.onnx.ml"))
    return found


@pytest.mark.parametrize("seed", [*range(60), *(pytest.param(s, marks=pytest.mark.slow) for s in range(60, 1000))])
def test_load_refuses_what_check_says(seed):
    given = mutated(seed)
    names = [n.name for n in given.graph.node]
    try:
        rows = graph.check(given)
    except graph.ModelError as error:  # the model as a whole is none
        whole = str(error)
        with pytest.raises(graph.ModelError) as again:
            graph.load(given, random_weights=0)
        assert str(again.value) == whole
        assert not any(text in whole for text in FOREIGN_TEXT), whole
        return
    assert [r.node for r in rows] == names
    refused = {r.node: r for r in rows if r.verdict == "unsupported"}
    if not refused:
        assert {r.verdict for r in rows} <= {"accelerator", "rewritten", "folded", "host"}
        graph.load(given, random_weights=0)
        return
    with pytest.raises(graph.ModelError) as error:
        graph.load(given, random_weights=0)
    text = str(error.value)
    lines = [line for line in text.splitlines() if "'" in line]
    named = [r for r in refused.values() if any(f"{r.op} {r.node!r}: {r.why}" in line for line in lines)]
    assert len(named) == len(lines), text
    assert all("needs the result of" not in r.why for r in named), text
    assert not any(foreign in text for foreign in FOREIGN_TEXT), text
    for row in refused.values():
        causes = [n for n in names if f"needs the result of {n!r}" in row.why]
        assert row in named or causes, f"{row}\n{text}"
        assert all(c in refused for c in causes)
