"""One board's buffer: where results take the place of operands, what is in the way, and changes without a new start."""

import dataclasses

import numpy as np
import pytest
from buffers import NODE, board_buffer, two_convolutions_and_a_sum
from nets import Builder, random_branches, wide_and_narrow

from superlip.plan.allocate import DoesNotFit, Refused
from superlip.plan.arrangement import SLOTS, Arrangement
from superlip.plan.board_buffer import Trial
from superlip.plan.overlap import Overlap
from superlip.plan.partition import Split


def arranged(buffer, in_dram=(), after=None, streamed=()):
    """The plan; by default operations come one after the other."""
    after = range(-1, len(buffer.network.ops) - 1) if after is None else after
    trial = Trial(frozenset(in_dram), tuple(after), streamed=frozenset(streamed))
    arrangement = Arrangement(buffer, trial)
    arrangement.settle()
    return arrangement.plan(trial)


def test_a_sum_takes_the_place_of_an_operand():
    views = arranged(board_buffer(two_convolutions_and_a_sum())).views
    assert views["add2.y"].base == views["conv0.y"].base
    assert views["conv1.y"].base != views["conv0.y"].base


def test_not_of_one_that_an_overlapping_operation_may_still_read():
    views = arranged(board_buffer(two_convolutions_and_a_sum()), after=(-1, 0, 0, 0)).views
    assert views["add2.y"].base == views["conv1.y"].base, "conv1, which may still run, reads the other"


def test_rows_that_a_board_holds():
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    x = net.conv(net.conv("image", 8, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    buffer = board_buffer(net.graph(x), split=Split.ROWS, boards=2)
    views = arranged(buffer).views
    assert {name: (view.row0, view.row0 + view.rows) for name, view in views.items()} == buffer.rows


def test_storages_in_dram_have_slots_stages_and_an_inbox():
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    x = net.conv(net.conv("image", 8, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    plan = arranged(board_buffer(net.graph(x), split=Split.ROWS, boards=2), {"conv0.y"})
    assert len(plan.slots[0]) == SLOTS and plan.slots.keys() == {0}
    assert plan.stages.keys() == {(1, "conv0.y")}
    assert (plan.inboxes["conv0.y"].row0, plan.inboxes["conv0.y"].rows) == (4, 1), "the other board's row"
    assert plan.views.keys() == {"image", "conv1.y"}


def test_parameters_that_come_take_the_place_of_others():
    buffer = board_buffer(wide_and_narrow(np.random.default_rng(0), 4, channels=64)[0])
    stay, come = arranged(buffer), arranged(buffer, streamed=range(len(buffer.network.ops)))
    for plan in (stay, come):
        assert [table.keys() for table in plan.parameters] == [table.keys() for table in buffer.parameter_words]
    places = [[at for table in plan.parameters for at in table.values()] for plan in (stay, come)]
    assert len(set(places[0])) == len(places[0]) > len(set(places[1]))


def test_what_is_in_the_way():
    net = Builder(np.random.default_rng(0), (8, 16, 16))
    a = net.conv("image", 16, (1, 1))
    config = dataclasses.replace(NODE, act_words=512, act_banks=1, acc_words=64)
    buffer = board_buffer(net.graph(net.conv(a, 8, (1, 1))), config)
    arrangement = Arrangement(buffer, Trial(frozenset(), (-1, 0)))
    with pytest.raises(Refused, match=r"conv0\.y: 512 words do not fit beside") as caught:
        arrangement.settle()
    assert arrangement.in_the_way(caught.value.request) == "conv0.y"


def sums(rng):
    """Each takes the place of one operand or of the other, as the operations in front of it are over or not."""
    net = Builder(rng, (8, 6, 8))
    x = net.conv("image", 16, (1, 1))
    for _ in range(6):
        x = net.add(x, net.conv(net.conv(x, 8, (1, 1)), 16, (1, 1)))
    return net.graph(x)


@pytest.mark.parametrize("act_words", [512, 1024, 2048])
@pytest.mark.parametrize("seed", range(12))
def test_changes_end_where_a_new_start_would(seed, act_words):
    """Other depths, undone where there is no room, and storages that go to DRAM."""
    rng = np.random.default_rng(seed)
    config = dataclasses.replace(NODE, act_words=act_words, act_banks=1, acc_words=64)
    graph = random_branches(rng)[0] if seed % 4 < 2 else sums(rng)
    buffer = board_buffer(graph, config, [Split.ALL, Split.ROWS][seed % 2], 1 + seed % 2)
    ops, streamed = buffer.network.ops, frozenset({0, 2, 3} if seed % 3 else ())
    overlap, in_dram = Overlap([1] * len(ops)), frozenset()

    def trial():
        return Trial(in_dram, tuple(overlap.after), streamed=streamed)

    arrangement, kept = Arrangement(buffer, trial(), overlap.after), 0
    while True:
        try:
            arrangement.settle()
            break
        except Refused as error:
            with pytest.raises(Refused, match=str(error)):
                Arrangement(buffer, trial()).settle()
            name = arrangement.in_the_way(error.request)
        if name is None:
            return
        in_dram |= {name}
        changed = [overlap.bar(index) for index in buffer.lives.users.get(name, ())]
        arrangement.spill(name)
        for some in changed:
            arrangement.overlap(some)
    arrangement.keep()
    for _ in range(40):
        index = int(rng.integers(len(ops)))
        old = overlap.depths[index]
        changed = overlap.deepen(range(index, index + 1), int(rng.integers(1, 9)))
        arrangement.overlap(changed)
        try:
            arrangement.settle()
            arrangement.keep()
            kept += 1
        except DoesNotFit:
            with pytest.raises(DoesNotFit):
                arranged(buffer, in_dram, overlap.after, streamed)
            arrangement.undo()
            overlap.restore(range(index, index + 1), [old])
        fresh, mine = arranged(buffer, in_dram, overlap.after, streamed), arrangement.plan(trial())
        for name in ("parameters", "views", "strips", "stages", "slots", "inboxes"):
            assert getattr(mine, name) == getattr(fresh, name), name
    assert kept
