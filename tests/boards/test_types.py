"""Amounts of an FPGA."""

from hypothesis import given
from hypothesis import strategies as st

from superlip.boards.types import XCZU9EG, Resources, Target
from superlip.rtl.config import NodeConfig

AMOUNTS = st.builds(Resources, **dict.fromkeys(("dsp", "bram36", "uram", "lut", "ff"), st.integers(0, 10**6)))


@given(AMOUNTS, AMOUNTS, st.integers(0, 20))
def test_amounts_add_up(a, b, times):
    assert a + b == b + a and a + Resources() == a
    assert sum([a] * times, Resources()) == a * times
    assert (a + b) * times == a * times + b * times


def test_a_target_is_a_node_in_a_zcu102_by_default():
    target = Target(name="mine")
    assert (target.node, target.resources) == (NodeConfig(), XCZU9EG)
