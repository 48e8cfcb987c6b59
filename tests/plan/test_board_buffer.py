"""One board's buffer, for one trial: where results may take the place of operands, and what is in the way."""

import dataclasses

import numpy as np
import pytest
from nets import Builder

from superlip.boards import TARGETS
from superlip.plan.blocks import conv_tiles, parameter_words
from superlip.plan.board_buffer import SLOTS, BoardBuffer, NoRoom, Trial
from superlip.plan.lifetimes import lifetimes_of
from superlip.plan.lower import lower
from superlip.plan.partition import Split, exchange_of, part_of
from superlip.rtl.isa import PARAM_WORDS

NODE = TARGETS["tiny"].node


def board_buffer(graph, config=NODE, split=Split.ALL, boards=1):
    network = lower(graph, config.tn)
    splits = [split] * len(network.ops)
    parts = [part_of(op, split, 0, boards) for op in network.ops]
    words = [
        parameter_words(op, conv_tiles(op, config.weight_words) if op.is_conv else None, config.tn)
        for op in network.ops
    ]
    exchange = exchange_of(network, splits, boards)
    return BoardBuffer(network, lifetimes_of(network), parts, exchange, words, config, 0)


def one_after_the_other(buffer, in_dram=()):
    return Trial(frozenset(in_dram), tuple(range(-1, len(buffer.network.ops) - 1)))


def two_convolutions_and_a_sum():
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    a = net.conv("image", 8, (1, 1))
    b = net.conv(a, 8, (1, 1))
    return net.graph(net.conv(net.add(a, b), 8, (1, 1)))


def test_a_sum_takes_the_place_of_an_operand():
    buffer = board_buffer(two_convolutions_and_a_sum())
    views = buffer.plan(one_after_the_other(buffer)).views
    assert views["add2.y"].base == views["conv0.y"].base
    assert views["conv1.y"].base != views["conv0.y"].base


def test_not_of_one_that_an_overlapping_operation_may_still_read():
    buffer = board_buffer(two_convolutions_and_a_sum())
    views = buffer.plan(Trial(frozenset(), (-1, 0, 0, 0))).views
    assert views["add2.y"].base == views["conv1.y"].base, "conv1, which may still run, reads the other"


def test_rows_that_a_board_needs_lie_in_its_buffer():
    """Half of the rows, and one of the other board's for a 3x3 kernel."""
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    x = net.conv(net.conv("image", 8, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    buffer = board_buffer(net.graph(x), split=Split.ROWS, boards=2)
    assert buffer.rows == {"image": (0, 4), "conv0.y": (0, 5), "conv1.y": (0, 4)}
    views = buffer.plan(one_after_the_other(buffer)).views
    assert {name: (view.row0, view.row0 + view.rows) for name, view in views.items()} == buffer.rows


def test_storages_in_dram_have_slots_stages_and_an_inbox():
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    x = net.conv(net.conv("image", 8, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    buffer = board_buffer(net.graph(x), split=Split.ROWS, boards=2)
    plan = buffer.plan(one_after_the_other(buffer, {"conv0.y"}))
    assert len(plan.slots[0]) == SLOTS and plan.slots.keys() == {0}
    assert plan.stages.keys() == {(1, "conv0.y")}
    assert (plan.inboxes["conv0.y"].row0, plan.inboxes["conv0.y"].rows) == (4, 1), "the other board's row"
    assert plan.views.keys() == {"image", "conv1.y"}


def test_what_is_in_the_way_is_the_largest_that_is_alive():
    net = Builder(np.random.default_rng(0), (8, 16, 16))
    a = net.conv("image", 16, (1, 1))
    config = dataclasses.replace(NODE, act_words=512, act_banks=1, acc_words=64)
    buffer = board_buffer(net.graph(net.conv(a, 8, (1, 1))), config)
    with pytest.raises(NoRoom, match=r"conv0\.y: 512 words do not fit beside") as caught:
        buffer.plan(one_after_the_other(buffer))
    assert caught.value.spill == "conv0.y"
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
