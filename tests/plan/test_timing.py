"""Formulas of words and cycles, on cases that are counted by hand."""

import dataclasses

import numpy as np
import pytest
from nets import Builder

from superlip.boards import TARGETS
from superlip.plan import timing
from superlip.plan.lower import lower
from superlip.rtl.link.frame import FrameSizes

TINY = TARGETS["tiny"]


def test_a_pass_reads_the_pixels_of_a_block_and_those_ahead_of_each_row():
    net = Builder(np.random.default_rng(0), (9, 9, 9))
    op = lower(net.graph(net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))), 8).ops[0]
    assert timing.pass_pixels(op, 2, 5) == 3 * 9
    assert timing.pass_pixels(op, 2, 5, 4, 6) == 3 * 2
    assert timing.pass_pixels(op, 2, 5, fold=4) == 3 * (9 + 3)


def test_sums_of_a_fused_pooling_are_those_of_its_windows():
    net = Builder(np.random.default_rng(0), (9, 9, 9))
    x = net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))
    net.nodes[0].scale[:] = 0.001
    op = lower(net.graph(net.pool(x, "max", (3, 3), strides=(3, 3))), 8).ops[0]
    assert op.pool is not None
    assert timing.pass_pixels(op, 1, 3) == 6 * 9
    assert timing.block_cycles(op, 2, 3) == 54
    assert timing.vector_cycles(op, [2, 1], 2) == 2 * (9 * 3 * op.grid[1] + timing.GROUP_START)


@pytest.mark.parametrize("pixels, chunks, cycles", [(100, 1, 100), (3, 1, 4), (5, 1, 5), (10, 3, 12), (12, 3, 12)])
def test_a_pass_takes_at_least_a_weight_load_for_each_chunk(pixels, chunks, cycles):
    """FEED loads the 8 words of a set in 4 cycles."""
    assert timing.matmul_cycles(7, pixels, chunks, 8) == 7 * cycles


def test_vector_reads_a_word_a_cycle():
    net = Builder(np.random.default_rng(0), (8, 6, 6))
    a = net.add("image", "image")
    graph = net.graph(net.pool(net.table(a), "average", (2, 3)))
    assert [timing.block_cycles(op, 1, 1) for op in lower(graph, 8).ops] == [2, 1, 6]


def test_dram_moves_bytes_at_its_rate():
    assert timing.dram_cycles(TINY.dram.bytes_per_cycle * 10, TINY) == 10
    assert timing.dram_words(timing.dram_cycles(7 * TINY.node.tn, TINY), TINY) == pytest.approx(7)


def test_a_link_carries_frames_with_their_headers():
    """Slower than its rate without them, and no slower than one flit more a frame than the longest frames have."""
    node, words = TINY.node, 100 * TINY.node.frame_words
    frames = 100 * FrameSizes(node).flits(node.frame_words) * node.link_bytes / TINY.link.bytes_per_cycle
    cycles = timing.link_cycles(words * node.tn, TINY)
    assert frames < cycles <= frames + 100 * node.link_bytes / TINY.link.bytes_per_cycle


def test_a_layer_behind_a_link_begins_later():
    far = dataclasses.replace(TINY, link=dataclasses.replace(TINY.link, latency=1000))
    assert timing.start_cycles(False, far) == timing.start_cycles(False, TINY) == timing.LAYER_START
    assert timing.start_cycles(True, far) - timing.start_cycles(True, TINY) == 1000 - TINY.link.latency


def test_fusing_pays_where_vector_is_slower():
    assert timing.fusing_pays(100, 25, 9, passes=1)
    assert not timing.fusing_pays(100, 25, 9, passes=9)
