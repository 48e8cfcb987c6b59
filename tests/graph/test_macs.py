"""Multiplications of what the host computes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from superlip.graph.onnx.macs import host_macs
from superlip.graph.onnx.onnxtools import small_model

SIZES = st.integers(1, 6)


def one(op, shape, weights, **attributes):
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    constants = {"w": np.zeros(weights, np.float32)}
    return host_macs(small_model([node], [("x", TensorProto.FLOAT, shape)], ["y"], constants, {"": 17}))


@given(SIZES, SIZES, SIZES)
def test_a_matrix_product(rows, inner, columns):
    wanted = rows * inner * columns
    assert one("MatMul", [rows, inner], (inner, columns)) == wanted
    assert one("Gemm", [rows, inner], (columns, inner), transB=1) == wanted
    assert one("Gemm", [rows, inner], (inner, columns)) == wanted


@given(SIZES, SIZES, SIZES, st.sampled_from([1, 3]))
def test_a_convolution(channels, filters, size, kernel):
    macs = one("Conv", [1, channels, size + 2, size + 2], (filters, channels, kernel, kernel))
    assert macs == filters * (size + 3 - kernel) ** 2 * channels * kernel**2


@given(SIZES, SIZES, SIZES)
def test_a_transposed_convolution(channels, filters, size):
    macs = one("ConvTranspose", [1, channels, size, size], (channels, filters, 2, 2), strides=[2, 2])
    assert macs == channels * size**2 * filters * 4


@pytest.mark.parametrize(("op", "groups"), [("Add", None), ("Conv", 2)])
def test_groups_count_what_they_multiply_and_others_nothing(op, groups):
    if groups is None:
        assert one(op, [1, 4], (4,)) == 0
    else:
        assert one(op, [1, 4, 3, 3], (6, 2, 1, 1), group=groups) == 9 * 6 * 2
