"""A model as given, in one spelling, and the part of it that is in front of what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_models import model, node

from superlip.graph.errors import ModelError
from superlip.graph.onnx.normalize import in_front, normalize


def chain(ops):
    names = ["x", *(f"t{i}" for i in range(len(ops)))]
    nodes = [helper.make_node(op, [a], [b], name=b) for op, a, b in zip(ops, names, names[1:], strict=False)]
    return model(nodes, {"x": (np.float32, [1, 4])}, [names[-1]], {})


@given(st.lists(st.sampled_from(["Relu", "Tanh", "Neg"]), min_size=1, max_size=6), st.data())
def test_in_front_of_a_refused_node(ops, data):
    """A chain ends where the first refused node would take something; those behind know which it was."""
    refused = data.draw(st.sets(st.integers(0, len(ops) - 1)))
    part, behind = in_front(chain(ops), {f"t{i}": "no" for i in refused})
    first = min(refused, default=len(ops))
    assert [n.name for n in part.graph.node] == [f"t{i}" for i in range(first)]
    assert behind == {
        f"t{i}": f"t{max(k for k in refused if k < i)}" for i in range(first, len(ops)) if i not in refused
    }
    ends = [o.name for o in part.graph.output]
    assert ends == ([] if first == 0 else [f"t{first - 1}"])


def test_the_default_domain_has_one_name():
    built = chain(["Relu"])
    built.graph.node[0].domain = "ai.onnx"
    normalized = normalize(built)
    assert normalized.model.graph.node[0].domain == "" and normalized.operators == {"t0": "Relu"}
    built.opset_import.append(helper.make_opsetid("ai.onnx", 13))
    with pytest.raises(ModelError, match="are one, and have opsets"):
        normalize(built)


def test_local_functions_are_inlined_and_named():
    """A node of a function is named after the node that calls it."""
    body = [helper.make_node("Relu", ["a"], ["b"], name="r"), helper.make_node("Neg", ["b"], ["c"], name="n")]
    function = helper.make_function("local", "Twice", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    built = model(
        [helper.make_node("Twice", ["x"], ["y"], name="call", domain="local")], {"x": (np.float32, [1, 4])}, ["y"], {}
    )
    built.opset_import.append(helper.make_opsetid("local", 1))
    built.functions.append(function)
    found = normalize(built)
    assert found.operators == {"call/r": "local::Twice/Relu", "call/n": "local::Twice/Neg"}
    assert [n.op_type for n in found.model.graph.node] == ["Relu", "Neg"]


def test_an_opset_of_the_future():
    with pytest.raises(ModelError, match="opset 999 is newer"):
        normalize(model([node("Relu", ["x"], ["y"])], {"x": (np.float32, [1])}, ["y"], {}, opset=999))
