"""Constants of a file: shape, type and data agree, or the constant is named."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node

from superlip.graph.errors import ModelError
from superlip.graph.onnx.validate.tensors import check_tensors, constants_of, make_plain

KINDS = [np.float32, np.int8, np.uint8, np.int64, np.float64, np.float16, np.bool_]


def built(*tensors):
    found = model([node("Relu", ["x"], ["y"])], {"x": (np.float32, [1])}, ["y"], {})
    found.graph.initializer.extend(tensors)
    return found


@given(st.sampled_from(KINDS), array_shapes(max_dims=3, max_side=3, min_side=0), st.integers(-3, 3))
def test_data_of_another_length_is_refused(kind, shape, more):
    tensor = numpy_helper.from_array(np.zeros(shape, kind), "c")
    size = len(tensor.raw_data)
    tensor.raw_data = bytes(max(0, size + more))
    if len(tensor.raw_data) == size:
        check_tensors(built(tensor))
    else:
        with pytest.raises(ModelError, match=rf"constant 'c' has shape .*, {size:,} bytes, but holds"):
            check_tensors(built(tensor))


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=4))
def test_tensors_without_their_data_are_refused(shape):
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=shape)
    with pytest.raises(ModelError) if math.prod(shape) else nullcontext():  # there is no data in it
        check_tensors(built(tensor))


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (TensorProto(name="c", data_type=99), "has the type 99"),
        (TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[-1]), "negative dimension"),
        (TensorProto(name="c", data_type=TensorProto.STRING, dims=[1], raw_data=b"x"), "text has none"),
        (TensorProto(name="c", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL), "in another file"),
    ],
)
def test_tensors_that_are_none(tensor, why):
    with pytest.raises(ModelError, match=rf"constant 'c' .*{why}|{why}"):
        check_tensors(built(tensor))


@given(st.sets(st.integers(0, 11), min_size=1), st.booleans())
def test_sparse_constants_become_dense(places, is_flat):
    dense = np.zeros((3, 4), np.float32)
    dense.reshape(-1)[sorted(places)] = 1 + np.arange(len(places))
    at = np.array(sorted(places)) if is_flat else np.argwhere(dense)
    found = built()
    values = numpy_helper.from_array(dense[dense > 0], "c")
    found.graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(at), [3, 4]))
    check_tensors(found)
    make_plain(found.graph)
    np.testing.assert_array_equal(constants_of(found.graph)["c"], dense)
    assert not found.graph.sparse_initializer


def test_a_zero_point_takes_the_shape_of_its_scale():
    found = built(numpy_helper.from_array(np.float32(1), "s"), numpy_helper.from_array(np.uint8([3]), "z"))
    found.graph.node.append(helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]))
    check_tensors(found)
    make_plain(found.graph)
    assert constants_of(found.graph)["z"].shape == ()
