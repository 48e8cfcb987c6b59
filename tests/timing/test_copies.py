"""Bursts of copies: merged rows, pages."""

import dataclasses

import numpy as np
import pytest

from superlip.boards import TARGETS
from superlip.rtl.config import PAGE
from superlip.timing.copies import bursts_of

NODE = TARGETS["tiny"].node  # beats of 8 bytes: 512 a page, bursts of 64


def copy(start, counts, strides):
    names = ("count0", "count1", "count2", "dram_stride1", "dram_stride2")
    return {"dram": 2 << 32 | start, **dict(zip(names, (*counts, *strides), strict=True))}


@pytest.mark.parametrize(
    "start, counts, strides, expected",
    [
        (0, (10, 1, 1), (0, 0), (1, [[10]])),
        (0, (10, 3, 1), (10, 0), (3, [[30]])),  # rows merge
        (0, (10, 3, 1), (20, 0), (3, [[10], [10], [10]])),
        (0, (10, 2, 2), (10, 20), (5, [[40]])),
        (0, (10, 2, 2), (10, 99), (5, [[20], [20]])),
        (500, (20, 1, 1), (0, 0), (1, [[12, 8]])),  # a page ends
        (0, (130, 1, 1), (0, 0), (1, [[64, 64, 2]])),
    ],
)
def test_bursts(start, counts, strides, expected):
    assert bursts_of(copy(start, counts, strides), NODE) == expected


def test_no_word_is_left_out_and_no_burst_crosses_a_page():
    rng = np.random.default_rng(1)
    node = dataclasses.replace(NODE, axi_burst_beats=256)
    for _ in range(100):
        counts = tuple(int(n) for n in rng.integers(1, 40, 3))
        strides = (int(rng.integers(counts[0], 80)), int(rng.integers(3000, 4000)))
        _, rows = bursts_of(copy(int(rng.integers(0, 5000)), counts, strides), node)
        assert sum(map(sum, rows)) == np.prod(counts)
        assert max(map(max, rows)) <= min(256, PAGE // node.axi_bytes)
