"""A model of a fixed batch as one of one image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import model

from superlip.graph.errors import ModelError
from superlip.graph.onnx.batch import set_batch
from superlip.graph.session import open_session


def flattened(batch, rows, target):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("Reshape", ["a", "shape"], ["y"], name="reshape"),
    ]
    return model(nodes, {"x": (np.float32, [batch, rows, 3])}, ["y"], {"shape": np.array(target, np.int64)})


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4))
def test_each_image_alone_gives_what_it_gave_in_the_batch(batch, rows):
    built = flattened(batch, rows, [batch, 3 * rows])
    images = np.random.default_rng(0).normal(size=(batch, rows, 3)).astype(np.float32)
    (together,) = open_session(built.SerializeToString()).run(None, {"x": images})
    set_batch(built)
    session = open_session(built.SerializeToString())
    np.testing.assert_array_equal([session.run(None, {"x": image[None]})[0][0] for image in images], together)


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_batch_that_is_open_or_one_changes_nothing_else(batch):
    built = flattened(batch, 2, [1, 6])
    before = built.graph.node[1].SerializeToString()
    set_batch(built)
    assert built.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert built.graph.node[1].SerializeToString() == before


@pytest.mark.parametrize(
    "mix",
    [
        helper.make_node("ReduceMean", ["x"], ["y"], name="mix", axes=[0], keepdims=0),
        helper.make_node("MatMul", ["x", "transposed"], ["y"], name="mix"),
    ],
)
def test_images_that_are_mixed_are_named(mix):
    """Also where the result is as large as it was: a mean over the batch."""
    built = model(
        [helper.make_node("Transpose", ["x"], ["transposed"], name="t"), mix], {"x": (np.float32, [4, 3])}, ["y"], {}
    )
    with pytest.raises(ModelError, match=f"{mix.op_type} 'mix' mixes the images"):
        set_batch(built)


def test_several_inputs_have_one_batch():
    built = model(
        [helper.make_node("Add", ["x", "z"], ["y"], name="a")],
        {"x": (np.float32, [2, 3]), "z": (np.float32, [2, 3])},
        ["y"],
        {},
    )
    set_batch(built)
    assert [info.type.tensor_type.shape.dim[0].dim_value for info in built.graph.input] == [1, 1]
    built.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    with pytest.raises(ModelError, match="different batches \\('x' 4, 'z' 1\\)"):
        set_batch(built)
