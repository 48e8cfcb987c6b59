"""Small helpers over ONNX's protobufs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import model, node

from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import (
    constants,
    fixed_shape,
    label,
    name_nodes,
    opset,
    reshape_model,
    shapes,
    static_shape,
    tensor_type,
)
from superlip.graph.session import open_session


@given(st.lists(st.sampled_from(["", "a", "b", "Relu", "Relu_1", "a_1"]), max_size=8))
def test_every_node_gets_a_name_of_its_own(names):
    nodes = [helper.make_node("Relu", ["x"], [f"y{i}"], name=n) for i, n in enumerate(names)]
    graph = helper.make_graph(nodes, "g", [], [])
    name_nodes(graph)
    found = [n.name for n in graph.node]
    assert "" not in found and len(set(found)) == len(found)
    for name in set(names) - {""}:  # the first keeps it
        assert found[names.index(name)] == name


def test_shapes_and_what_is_not_known_of_them():
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    assert static_shape(info) == (None, 3)
    with pytest.raises(ModelError, match="'x' has no fixed shape"):
        fixed_shape(info)
    assert fixed_shape(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])) == (1, 3)
    assert static_shape(helper.make_tensor_value_info("x", TensorProto.FLOAT, None)) is None


def test_what_is_known_of_a_model():
    value = helper.make_node("Constant", [], ["k"], value_floats=[1.0, 2.0])
    built = model([value, node("Add", ["x", "k"], ["y"])], {"x": (np.float32, [4, 2])}, ["y"], {"c": np.int8([3])})
    assert {n: a.tolist() for n, a in constants(built.graph).items()} == {"k": [1.0, 2.0], "c": [3]}
    assert shapes(built)["y"] == (4, 2) and opset(built)[""] == 17
    assert label(built.graph.node[1]) == "Add 'add'" and label(built.graph.node[0]) == "Constant 'k'"
    assert tensor_type(np.int8) == TensorProto.INT8 and tensor_type("uint16") == TensorProto.UINT16


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_a_reshape_moves_nothing(dtype):
    image = np.arange(24).astype(dtype).reshape(1, 2, 3, 4)
    (result,) = open_session(reshape_model((2, 3, 4), (4, 6, 1), dtype)).run(None, {"image": image})
    assert result.dtype == dtype and result.shape == (1, 4, 6, 1)
    np.testing.assert_array_equal(result.reshape(-1), image.reshape(-1))
