"""Addition: exact integers, rounded once."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.params import add_params

element = st.integers(-128, 127)
factor = st.integers(-(1 << 26) + 1, (1 << 26) - 1)


@given(element, element, st.tuples(element, element, element), factor, factor, st.integers(0, 40), element)
def test_one_rounding_to_even(a, b, zero_points, mult_a, mult_b, shift, low):
    node = ir.Add(name="add", inputs=("a", "b"), output="y", mult_a=mult_a, mult_b=mult_b, shift=shift, low=low)
    zp_a, zp_b, zp_out = zero_points
    values = [ir.Value(name, (1, 1, 1), 1.0, zero_point) for name, zero_point in zip("aby", zero_points, strict=True)]
    result = spec_of(node).compute([np.full((1, 1, 1, 1), x, np.int8) for x in (a, b)], values[:2], values[2])
    exact = round(Fraction((a - zp_a) * mult_a + (b - zp_b) * mult_b, 1 << shift)) + zp_out
    assert result.dtype == np.int8
    assert result.item() == min(max(exact, low), 127)


def test_parameters_are_the_factors():
    node = ir.Add(name="add", inputs=("a", "b"), output="y", mult_a=5, mult_b=-7, shift=3)
    (block,) = spec_of(node).params(None, 4)
    np.testing.assert_array_equal(block, add_params(5, -7, 4))
    assert spec_of(node).constants == (("factor a", "<i4"), ("factor b", "<i4"))
