"""The arithmetic of two MACs in one multiplier, without hardware."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.rtl.pe_array import CHAIN, PackedMAC, PEArray, pack, psum_latency, split

INT8 = st.one_of(st.sampled_from([-128, -127, -1, 0, 1, 127]), st.integers(-128, 127))


def chain_sum(terms):
    return sum(pack(w0, w1) * x for w0, w1, x in terms)


@given(st.lists(st.tuples(INT8, INT8, INT8), min_size=1, max_size=CHAIN))
def test_packed_chain_is_exact(terms):
    total = chain_sum(terms)
    assert split(total) == (sum(w0 * x for w0, _, x in terms), sum(w1 * x for _, w1, x in terms))
    assert all(fits(pack(w0, w1), PackedMAC.multiplicand.width) for w0, w1, _ in terms)
    assert fits(total, PackedMAC.total.width)


def test_every_low_sum_at_every_kind_of_high_sum():
    low = np.arange(-8 * 128 * 127, 8 * 128 * 128 + 1)
    for high in (-8 * 128 * 127, -1, 0, 1, 8 * 128 * 128):
        got_low, got_high = split(pack(low, high))
        assert (got_low == low).all()
        assert (got_high == high).all()


def test_the_corner():
    """Eight times -128 * -128 in both fields: the one pattern that two's complement would get wrong."""
    total = chain_sum([(-128, -128, -128)] * CHAIN)
    assert total & 0x3FFFF == 0x20000
    assert split(total) == (1 << 17, 1 << 17)


def test_nine_products_would_not_fit():
    """Why chains end at eight."""
    assert split(chain_sum([(-128, 0, -128)] * (CHAIN + 1)))[0] != (CHAIN + 1) << 14


def fits(value, bits):
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1)


@pytest.mark.parametrize("tm, tn, mac", [(8, 8, "double"), (7, 8, "packed"), (0, 8, "single"), (8, 12, "single")])
def test_impossible_arrays_are_refused(tm, tn, mac):
    with pytest.raises(ValueError, match="must be"):
        PEArray(tm, tn, mac)


def test_latency():
    assert [psum_latency(tn) for tn in (8, 16, 64)] == [10, 11, 13]
