"""Element-wise functions as tables, against the function on the real numbers that the elements stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_models import node

from superlip.element import INT8, INT16
from superlip.graph import ir
from superlip.graph.onnx.importer.states import Params
from superlip.graph.onnx.importer.tables import clamp_of, float_table, operator_table

OPSETS = {"": 17}


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(2.0**-7, 1, width=32), st.floats(2.0**-7, 1, width=32))
def test_a_change_of_scale(zero, other, scale, result):
    """As dequantizing and quantizing by the value itself."""
    source, target = Params(np.float32(scale), zero), Params(np.float32(result), other)
    values = [ir.Value("x", (1, 1, 1), float(p.scale), p.zero_point) for p in (source, target)]
    table = float_table([], {}, ("x", source), ("", target), OPSETS)
    np.testing.assert_array_equal(table, values[1].quantize(values[0].dequantize(INT8.by_pattern())))


def test_a_chain_of_nodes_is_one_table():
    nodes = [helper.make_node("Mul", ["x", "two"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    params = Params(np.float32(0.125), -3), Params(np.float32(0.25), 0)
    table = float_table(nodes, {"two": np.float32(2)}, ("x", params[0]), ("y", params[1]), OPSETS)
    numbers = INT8.by_pattern().astype(int) + 3
    np.testing.assert_array_equal(table, np.clip(np.maximum(numbers, 0), None, 127))


@pytest.mark.parametrize("is_unsigned", [True, False])
def test_a_quantized_operator_is_a_table_of_its_elements(is_unsigned):
    kind, zero = INT8.own_type(is_unsigned), INT8.own_offset(is_unsigned)
    leaky = node("QLinearLeakyRelu", ["x", "s", "z", "s", "z"], ["y"], alpha=0.5)
    operands = {"s": np.float32(0.1), "z": np.array(zero, kind)}
    table = operator_table(leaky, operands, Params(np.float32(0.1), 0, is_unsigned), OPSETS)
    numbers = INT8.by_pattern().astype(float)
    assert table.dtype == INT8.dtype
    np.testing.assert_array_less(np.abs(table - np.where(numbers < 0, numbers / 2, numbers)), 0.51)


@pytest.mark.parametrize("element", [INT8, INT16])
@given(st.data())
def test_a_table_that_clips_is_known(element, data):
    low, high = sorted(data.draw(st.tuples(*[st.integers(*element.bounds)] * 2)))
    table = np.clip(element.by_pattern(), low, high)
    assert clamp_of(table, element) == (low, high)
    if high - low > 1:
        table[(low + high) // 2] += 1
        assert clamp_of(table, element) is None
