"""What is pending: clips in elements, and operators that collect one more clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.element import INT8, INT16, ElementType
from superlip.graph import ir
from superlip.graph.onnx.importer.states import Params, Pending

SCALES = st.floats(2.0**-20, 2.0**4, width=32)


@pytest.mark.parametrize("element", ElementType)
@given(st.data())
def test_a_bound_is_the_element_of_a_number(element, data):
    """As ``Value.quantize`` gives it, and at the ends for what is infinite."""
    zero_point, scale = data.draw(st.integers(*element.bounds)), np.float32(data.draw(SCALES))
    params = Params(scale, zero_point, element=element)
    real = data.draw(st.floats(-100, 100, width=32))
    value = ir.Value("x", (1, 1, 1), float(scale), zero_point, element=element)
    assert params.bound(real) == value.quantize(np.float32(real))
    assert params.bounds((-np.inf, np.inf)) == element.bounds
    assert Params.of(value) == params


def test_the_offset_is_that_of_the_models_own_numbers():
    assert Params(np.float32(1), 0).offset == 0
    assert Params(np.float32(1), 0, True).offset == 128
    assert Params(np.float32(1), 0, True, INT16).offset == 1 << 15


def test_clips_behind_are_collected():
    pending = Pending(lambda *_: None, (1, 2), ("conv",), chain=("view", (), {}))
    clipped = pending.clipped((0.0, np.inf), "relu").clipped((-1.0, 6.0), "clip")
    assert clipped.clip == (0.0, 6.0) and clipped.names == ("conv", "relu", "clip") and clipped.chain is None
    assert Params(np.float32(0.5), INT8.low).bounds(clipped.clip) == (-128, -116)
