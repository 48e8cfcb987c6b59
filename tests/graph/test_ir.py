"""Values of the graph: real numbers and elements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.element import INT8, ElementType
from superlip.graph import ir

VALUES = st.builds(
    lambda element, part, scale, unsigned: ir.Value(
        "x", (1, 1, 1), scale, int(part * element.high), unsigned, element=element
    ),
    st.sampled_from(list(ElementType)), st.floats(-1, 1), st.floats(2.0**-10, 2.0**4, width=32), st.booleans(),
)  # fmt: skip


@given(VALUES)
def test_elements_survive_their_real_numbers(value):
    elements = value.element.by_pattern()
    np.testing.assert_array_equal(value.quantize(value.dequantize(elements)), elements)


@given(VALUES, st.floats(-1e6, 1e6, width=32))
def test_real_numbers_are_off_by_half_a_step_at_most_within_their_bounds(value, real):
    low, high = value.real_bounds
    found = float(value.dequantize(value.quantize(np.array([real])))[0])
    inside = min(max(real, low), high)
    assert abs(found - inside) <= value.scale * 0.501 + 1e-6 * abs(inside)


@given(VALUES)
def test_the_zero_point_in_the_models_own_numbers(value):
    own = value.element.to_own(np.array([value.zero_point], value.element.dtype), value.is_unsigned)
    assert own[0] == value.own_zero_point


def test_a_graph_knows_the_models_names():
    value = ir.Value("y", (2, 3, 4), 1.0, 0)
    graph = ir.Graph("g", {"y": value}, [], "y", ["y"], b"")
    assert graph.own_tensor(ir.integers_of("y")) == "y" == graph.own_tensor("y")
    assert repr(graph) == "<Graph 'g': y (2, 3, 4) -> y (2, 3, 4), 0 nodes>"


def test_the_bounds_of_a_node_are_the_elements():
    add = ir.Add(name="a", inputs=("x", "y"), output="z", mult_a=1, mult_b=1, shift=0)
    assert (add.low, add.high) == INT8.bounds
    with pytest.raises(AttributeError):
        add.low = 0
