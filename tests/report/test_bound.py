"""The physical bound: MACs at the peak, bytes at the bandwidth of all boards."""

import dataclasses
import math

import numpy as np
import pytest
from nets import Builder

from superlip import api
from superlip.boards import TARGETS
from superlip.report.bound import Bound

TINY = TARGETS["tiny"]


def design(boards=1, target=TINY):
    net = Builder(np.random.default_rng(1), (6, 10, 9))
    return api.plan(net.graph(net.conv("image", 20, (3, 3), pads=(1, 1, 1, 1))), boards=boards, node=target)


def test_macs_and_bytes_are_those_of_the_model():
    """Without padding to whole words: 20 x 6 x 3 x 3 weights, the image, the output."""
    bound = Bound.of(design())
    assert bound.macs == 20 * 6 * 9 * 90
    assert bound.bytes_once == 20 * 6 * 9 + 6 * 90 + 20 * 90
    assert bound.cycles == math.ceil(bound.macs / 64)


def test_the_slower_of_the_two_counts():
    slow = dataclasses.replace(TINY, dram=dataclasses.replace(TINY.dram, bytes_per_cycle=0.25))
    bound = Bound.of(design(target=slow))
    assert bound.cycles == math.ceil(bound.bytes_once / 0.25) > bound.macs / 64


@pytest.mark.parametrize(("macs", "once", "cycles"), [(6400, 0, 50), (6401, 8, 51), (0, 1600, 100)])
def test_boards_share_the_work(macs, once, cycles):
    assert Bound.within(macs, once, design(boards=2)) == Bound(macs, once, cycles)
