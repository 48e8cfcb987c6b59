"""A board's DRAM: words striped over the ports, nothing twice in one place, and a full one is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.boards import TARGETS
from superlip.compile.dram import DramImage
from superlip.rtl.isa import Region

TINY = TARGETS["tiny"]


def image(ports):
    return DramImage(dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, axi_ports=ports)))


@settings(deadline=None)
@given(st.sampled_from([1, 2]), st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_words_come_back_from_the_ports(ports, sizes, seed):
    dram, rng = image(ports), np.random.default_rng(seed)
    placed = [(words := rng.integers(-128, 128, (n, TINY.node.tn)).astype(np.int8), dram.place(words)) for n in sizes]
    contents = dict(dram.extents)
    assert len(contents) == ports * len(sizes), "no two at one offset"
    taken = sorted((offset, offset + len(data)) for offset, data in contents.items())
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(taken))
    for words, base in placed:
        assert base * dram.ranges(0, 1)[0][1] % 64 == 0
        parts = [contents[offset] for offset, _ in dram.ranges(base, len(words))]
        assert [len(part) for part in parts] == [length for _, length in dram.ranges(base, len(words))]
        np.testing.assert_array_equal(dram.join(parts, len(words)), words)


def test_a_program_lies_in_the_stripe_of_port_0():
    dram = image(2)
    dram.place(np.zeros((5, TINY.node.tn), np.int8))
    address = dram.place_program(b"program!" * 8)
    assert address < dram.stripe_bytes and dram.program_at(address) == b"program!" * 8
    assert dram.place_program(b"other...") > address


def test_a_full_dram_is_refused():
    dram = image(1)
    room = dram.stripe_bytes // TINY.node.tn
    dram.reserve(room // 2, Region.WEIGHTS)
    dram.reserve(room // 2, Region.IMAGES)
    with pytest.raises(ValueError, match=f"needs more than the {TINY.dram.megabytes} MB of DRAM of a board"):
        dram.reserve(1, Region.RESULTS)
