"""What ONNX Runtime says of a model, and of which node."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import model, node

from superlip.graph.errors import ModelError
from superlip.graph.onnx.validate.runtime import may_abort, why_it_does_not_run, with_runtime


def chain(ops):
    names = ["x", *(f"t{i}" for i in range(len(ops)))]
    nodes = [helper.make_node(op, [a], [b], name=b) for op, a, b in zip(ops, names, names[1:], strict=False)]
    return model(nodes, {"x": (np.float32, [1, 4])}, [names[-1]], {})


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["Relu", "Tanh"]), max_size=4), st.lists(st.just("Relu"), max_size=3))
def test_the_node_that_is_refused_is_named(before, behind):
    """Einsum without an equation, wherever it stands."""
    with pytest.raises(ModelError, match=f"'t{len(before)}'"):
        with_runtime(chain([*before, "Einsum", *behind]), "net")


def test_shapes_of_all_that_is_computed():
    assert with_runtime(chain(["Relu", "Tanh"]), "net") == {"t0": (1, 4), "t1": (1, 4)}
    foreign = chain(["Relu"])
    foreign.graph.node[0].domain = "nobody"  # an operator that it lacks is no fault of the model
    assert with_runtime(foreign, "net") == {}


def test_why_a_model_does_not_run():
    assert why_it_does_not_run(chain(["Relu"]).SerializeToString()) is None
    built = model(
        [node("MatMul", ["x", "w"], ["y"])], {"x": (np.float32, ["N", "C"])}, ["y"], {"w": np.zeros((3, 2), np.float32)}
    )
    assert "MatMul" in why_it_does_not_run(built.SerializeToString())


@pytest.mark.parametrize(
    ("inputs", "aborts"), [(["x", "s", "z", "s", "z"], False), (["x", "s", "", "s", "z"], True), (["x", "s"], True)]
)
def test_operators_that_look_for_zero_points(inputs, aborts):
    assert may_abort(node("QLinearSigmoid", inputs, ["y"])) == aborts
