"""Steps of VECTOR's instructions."""

import pytest

from superlip.rtl.isa import VectorOp
from superlip.timing.vector import steps_of


@pytest.mark.parametrize(
    "op, changed, expected",
    [
        (VectorOp.REQUANTIZE, {}, 2 * 3 * 5),
        (VectorOp.MAX, {"kh": 3, "kw": 2}, 2 * 3 * 5 * 6),
        (VectorOp.ADD, {}, 2 * 2 * 3 * 5),
        (VectorOp.MUL, {}, 2 * 2 * 3 * 5),
        (VectorOp.DEPTHWISE, {"kh": 3, "kw": 3}, 2 * 5 * 7),
        (VectorOp.DEPTHWISE, {"kh": 3, "kw": 3, "stride_y": 2, "stride_x": 2}, 2 * 7 * 11),
    ],
)
def test_steps(op, changed, expected):
    body = {"op": op, "groups": 2, "rows": 3, "cols": 5, "kh": 1, "kw": 1, "stride_y": 1, "stride_x": 1} | changed
    assert steps_of(body) == expected
