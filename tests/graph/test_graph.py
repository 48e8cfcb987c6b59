"""A model's graph: its nodes in order, of tensors alone, with one image for input (graph/onnx/validate/graph.py)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_models import model

from superlip.graph.errors import ModelError
from superlip.graph.onnx.validate.graph import check_kinds, sort_nodes, take_images


def chain(order):
    nodes = [
        helper.make_node("Relu", ["x" if i == 0 else f"t{i - 1}"], [f"t{i}"], name=f"n{i}") for i in range(len(order))
    ]
    return model([nodes[i] for i in order], {"x": (np.float32, [1, 4])}, [f"t{len(order) - 1}"], {})


@given(st.integers(1, 7).flatmap(lambda n: st.permutations(range(n))))
def test_nodes_come_behind_those_whose_results_they_take(order):
    built = chain(order)
    sort_nodes(built.graph, "net")
    assert [n.name for n in built.graph.node] == [f"n{i}" for i in range(len(order))]


@pytest.mark.parametrize(
    ("nodes", "outputs", "why"),
    [
        ([("n", "y", "y")], ["y"], "in a circle: n > n"),
        ([("n", "q", "y")], ["y"], "Relu 'n' takes 'q', which nothing gives"),
        ([("n", "x", "y"), ("m", "x", "y")], ["y"], "Relu 'm' gives 'y', which Relu 'n' gives already"),
        ([("n", "x", "x")], ["x"], "gives 'x', which an input gives already"),
        ([("n", "x", "y")], ["z"], "output 'z' of net is given by nothing"),
        ([("n", "x", "y")], ["y", "y"], "output 'y' more than once"),
    ],
)
def test_graphs_that_are_none(nodes, outputs, why):
    made = [helper.make_node("Relu", [source], [result], name=name) for name, source, result in nodes]
    with pytest.raises(ModelError, match=why):
        sort_nodes(model(made, {"x": (np.float32, [1])}, outputs, {}).graph, "net")


def test_control_flow_and_dynamic_quantization():
    inner = helper.make_graph([], "inner", [], [])
    for node, why in (
        (helper.make_node("If", ["x"], ["y"], name="i", then_branch=inner), "If 'i' has a subgraph"),
        (helper.make_node("DynamicQuantizeLinear", ["x"], ["y"], name="d"), "dynamic quantization"),
    ):
        with pytest.raises(ModelError, match=why):
            check_kinds(model([node], {"x": (np.float32, [1])}, ["y"], {}).graph)


@pytest.mark.parametrize(
    ("shape", "why"), [(["N", "C", 4, 4], "no fixed size along axis 1"), ([1] * 5, "an image input is")]
)
def test_images_of_no_fixed_size(shape, why):
    built = model([helper.make_node("Relu", ["x"], ["y"], name="r")], {"x": (np.float32, shape)}, ["y"], {})
    with pytest.raises(ModelError, match=why):
        take_images(built, "net")


def test_inputs_that_are_constants_go():
    nodes = [helper.make_node("Add", ["x", "c"], ["y"], name="a")]
    built = model(nodes, {"c": (np.float32, [4]), "x": (np.float32, ["N", 4])}, ["y"], {"c": np.zeros(4, np.float32)})
    take_images(built, "net")
    assert [i.name for i in built.graph.input] == ["x"]


def test_inputs_that_nobody_takes_go_and_others_stay_in_order():
    shapes = {name: (np.float32, ["N", 4]) for name in ("unused", "b", "a")}
    built = model([helper.make_node("Add", ["a", "b"], ["y"], name="n")], shapes, ["y"], {})
    take_images(built, "net")
    assert [i.name for i in built.graph.input] == ["b", "a"]
