"""Product: exact, then rescaled in float32."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from superlip.graph import ir
from superlip.ops import spec_of

element = st.integers(-128, 127)


@given(element, element, st.tuples(element, element, element), st.floats(2**-12, 1, width=32))
def test_product(a, b, zero_points, scale):
    node = ir.Mul(name="mul", inputs=("a", "b"), output="y", scale=scale, high=100)
    values = [ir.Value(name, (1, 1, 1), 1.0, zero_point) for name, zero_point in zip("aby", zero_points, strict=True)]
    result = spec_of(node).compute([np.full((1, 1, 1, 1), x, np.int8) for x in (a, b)], values[:2], values[2])
    scaled = np.float32((a - zero_points[0]) * (b - zero_points[1])) * np.float32(scale)
    assert result.item() == min(max(int(np.rint(scaled)) + zero_points[2], -128), 100)


def test_one_number_a_channel():
    """In the golden; lowering refuses it (tests/plan/test_lower.py)."""
    node = ir.Mul(name="mul", inputs=("a", "b"), output="y", scale=1.0)
    value = ir.Value("x", (2, 1, 2), 1.0, 0)
    a, b = np.array([1, 2, 3, 4], np.int8).reshape(1, 2, 1, 2), np.array([3, -5], np.int8).reshape(1, 2, 1, 1)
    assert spec_of(node).compute([a, b], [value, value], value).ravel().tolist() == [3, 6, -15, -20]
