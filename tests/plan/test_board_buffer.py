"""What one board holds: its rows, what may take the place of an operand, and what is in the way."""

import dataclasses

import numpy as np
from buffers import NODE, board_buffer, two_convolutions_and_a_sum
from nets import Builder

from superlip.plan.partition import Split
from superlip.rtl.isa import PARAM_WORDS


def test_a_result_may_take_the_place_of_an_operand_that_it_ends():
    """Once its other readers are over: of conv0's result conv1 is one; conv1's has none."""
    buffer = board_buffer(two_convolutions_and_a_sum())
    assert buffer.gives_way == [[], [], [("conv0.y", 1), ("conv1.y", -1)], []]


def test_rows_that_a_board_needs_lie_in_its_buffer():
    """Half of the rows, and one of the other board's for a 3x3 kernel."""
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    x = net.conv(net.conv("image", 8, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    buffer = board_buffer(net.graph(x), split=Split.ROWS, boards=2)
    assert buffer.rows == {"image": (0, 4), "conv0.y": (0, 5), "conv1.y": (0, 4)}
    assert [buffer.inbox_rows(name) for name in buffer.rows] == [(0, 0), (4, 5), (0, 0)]


def test_what_is_in_the_way_is_the_largest_that_is_alive():
    net = Builder(np.random.default_rng(0), (8, 16, 16))
    a = net.conv("image", 16, (1, 1))
    config = dataclasses.replace(NODE, act_words=512, act_banks=1, acc_words=64)
    buffer = board_buffer(net.graph(net.conv(a, 8, (1, 1))), config)
    assert buffer.largest(1, 2, ()) == "conv0.y"
    assert buffer.largest(1, 1, frozenset({"conv0.y"})) == "image"
    assert buffer.largest(2, 2, frozenset({"conv0.y", "conv1.y"})) is None


def test_traffic_by_hand():
    """The image is loaded anyway, an intermediate result is stored and loaded by each reader; parameters are loaded."""
    buffer = board_buffer(two_convolutions_and_a_sum())
    assert buffer.traffic(frozenset(), frozenset()) == 0
    assert buffer.traffic(frozenset({"image"}), frozenset()) == 0
    assert buffer.traffic(frozenset({"conv0.y"}), frozenset()) == 3 * 64, "for conv1 and the sum"
    assert buffer.traffic(frozenset({"conv3.y"}), frozenset()) == 0, "the host reads it"
    assert buffer.traffic(frozenset(), frozenset({0, 2})) == 2 * PARAM_WORDS
