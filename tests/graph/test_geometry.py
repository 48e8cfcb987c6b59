"""Sizes of results, from a model's attributes."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from superlip.graph.onnx.importer.geometry import concat_shape, geometry, reduced_shape, window
from superlip.graph.onnx.importer.states import Unsupported
from superlip.graph.onnx.onnxtools import small_model
from superlip.graph.onnx.views import View
from superlip.graph.session import SessionError, open_session

ATTRIBUTES = st.fixed_dictionaries(
    {
        "kernel_shape": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    },
    optional={
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
        "auto_pad": st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]),
        "ceil_mode": st.integers(0, 1),
    },
)


@settings(max_examples=60, deadline=None)
@given(ATTRIBUTES, st.integers(2, 8), st.integers(2, 8))
def test_a_pooling_has_the_size_that_onnx_runtime_gives_it(attributes, height, width):
    if attributes.get("auto_pad", "NOTSET") != "NOTSET":
        attributes.pop("pads", None)
    node = helper.make_node("MaxPool", ["x"], ["y"], **attributes)
    model = small_model([node], [("x", TensorProto.FLOAT, [1, 1, height, width])], ["y"], {}, {"": 17})
    try:
        (theirs,) = open_session(model).run(None, {"x": np.zeros((1, 1, height, width), np.float32)})
        shape = geometry(attributes, (1, 1, height, width), attributes["kernel_shape"], "MaxPool")
    except Exception as error:  # a window that ONNX Runtime does not take (its exceptions share no base class), or we
        assert isinstance(error, Unsupported | SessionError) or "onnxruntime" in type(error).__module__
        reject()
    assert shape["size"] == theirs.shape[2:]
    reach = [(n - 1) * s + k for n, s, k in zip(shape["size"], shape["strides"], shape["kernel"], strict=True)]
    assert all(
        r <= n + shape["pads"][i] + shape["pads"][i + 2]
        for i, (r, n) in enumerate(zip(reach, (height, width), strict=True))
    )


def test_a_window_in_one_dimension_is_one_column():
    shape = geometry({"strides": (2,), "pads": (1, 0)}, (1, 3, 9), (3,), "Conv")
    assert (shape["kernel"], shape["strides"], shape["pads"], shape["size"]) == ((1, 3), (1, 2), (0, 1, 0, 0), (4,))


@pytest.mark.parametrize(
    ("attributes", "kernel", "why"),
    [
        ({"pads": (-1, 0, 0, 0)}, (3, 3), "negative padding"),
        ({}, (5, 1), "larger than the padded image"),
        ({"auto_pad": "SAME_UPPER", "strides": (9, 9)}, (1, 1), "write pads"),
    ],
)
def test_windows_that_no_node_has(attributes, kernel, why):
    with pytest.raises(Unsupported, match=why):
        window(attributes, (4, 4), kernel)


def test_shapes_of_what_is_joined_and_reduced():
    assert concat_shape([View("a", (1, 2, 3, 3)), View("b", (1, 5, 3, 3))]) == (1, 7, 3, 3)
    assert reduced_shape("ReduceMean", (1, 6, 3, 4), [-1, 2], True) == (1, 6, 1, 1)
    assert reduced_shape("ReduceMean", (1, 6, 3), [2], False) == (1, 6)
    for axes in (None, [1, 2], []):
        with pytest.raises(Unsupported, match="ReduceMean over other axes"):
            reduced_shape("ReduceMean", (1, 6, 3, 4), axes, True)
