"""The activation buffers: what lives together lies apart, on every board; what does not fit goes to DRAM."""

import dataclasses
import itertools

import numpy as np
import pytest
from nets import Builder, random_branches, wide_and_narrow

from superlip.boards import TARGETS
from superlip.plan import activations
from superlip.plan.allocate import Allocator
from superlip.plan.board_buffer import AHEAD
from superlip.plan.lifetimes import lifetimes_of
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.planner import PlanError, make_plan

TINY = TARGETS["tiny"]


def node(**sizes):
    return dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, **sizes))


def words(view):
    return set(range(view.base, view.base + view.words))


def reused():
    """A result that is added to another and read again behind it."""
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    a = net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))
    b = net.conv(a, 8, (3, 3), pads=(1, 1, 1, 1))
    return net.graph(net.add(net.conv(net.add(a, b), 8, (1, 1)), a))


GRAPHS = [reused, *(lambda seed=seed: random_branches(np.random.default_rng(seed))[0] for seed in range(4))]


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("graph", GRAPHS)
def test_storages_that_live_together_lie_apart(graph, boards):
    """Also where operations overlap: a place is free when all that may run beside its last reader is over."""
    network = lower(graph(), 8)
    plan, lives = make_plan(network, TINY, boards), lifetimes_of(network)

    def follows(one, other, after):
        """Whether one begins when the other is over; or takes its place pixel by pixel, as its last reader."""
        if lives.first[one] == lives.last[other] and board.views[one].base == board.views[other].base:
            return network.ops[lives.first[one] - 1].spec.works_in_place
        return after[lives.first[one] - 1] >= lives.last[other] - 1

    for board in plan.activations:
        parameters = {
            address + n
            for index, table in enumerate(board.parameters)
            for key, address in table.items()
            for n in range(plan.parameter_words[index][key])
        }
        assert len(parameters) == sum(sum(table.values()) for table in plan.parameter_words)
        for name, view in board.views.items():
            assert words(view) <= set(range(TINY.node.act_words)) - parameters
            for other, beside in board.views.items():
                after = board.trial.after
                if name != other and not follows(name, other, after) and not follows(other, name, after):
                    assert words(view).isdisjoint(words(beside)), f"{name} lies in {other}"


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS)])
def test_what_does_not_fit_goes_to_dram(boards, split):
    net = Builder(np.random.default_rng(6), (16, 24, 16))
    a = net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1))
    network = lower(net.graph(net.conv(net.conv(a, 16, (3, 3), pads=(1, 1, 1, 1)), 8, (1, 1))), 8)
    cramped = node(act_words={1: 1024, 2: 768}[boards], act_banks={1: 1, 2: 3}[boards], acc_words=64)
    plan = make_plan(network, cramped, boards, split=split)
    assert "image" in plan.in_dram and plan.streamed == [], "the parameters are few"
    assert make_plan(network, TINY, boards, split=split).in_dram == frozenset()
    for board in plan.activations:
        assert not plan.in_dram & board.views.keys()
        assert board.slots.keys() == {i for i, op in enumerate(network.ops) if op.output.storage.name in plan.in_dram}
        for (index, name), stages in board.stages.items():
            assert name in plan.in_dram and 2 <= len(stages) <= 3
            op, storage = network.ops[index], network.storages()[name]
            rows = max(np.diff(op.input_rows(strip.row0, strip.row1))[0] for strip in board.strips[index])
            assert all(b - a >= rows * storage.width * storage.groups for a, b in itertools.pairwise(stages))


@pytest.mark.parametrize("act_words, stay", [(4096, True), (1024, False)])
def test_parameters_stay_where_all_fits(act_words, stay):
    """Otherwise each operation's are there while it may run, and take the place of others."""
    network = lower(wide_and_narrow(np.random.default_rng(5), 4, channels=256)[0], 8)
    plan = make_plan(network, node(act_words=act_words, act_banks=1, acc_words=64), 1)
    everything = [index for index, table in enumerate(plan.parameter_words) if table]
    assert plan.streamed == ([] if stay else everything)
    loads = [(at, index) for at, mine in plan.parameter_loads.items() for index in mine]
    assert loads == [(max(0, index - AHEAD), index) for index in plan.streamed]
    (board,) = plan.activations
    taken = [
        {at + n for key, at in table.items() for n in range(words[key])}
        for table, words in zip(board.parameters, plan.parameter_words, strict=True)
    ]
    for one, other in itertools.combinations(everything, 2):
        together = stay or board.trial.after[max(other - 1, 0)] < one
        assert not together or taken[one].isdisjoint(taken[other]), (one, other)
    assert stay == (len(set().union(*taken)) == sum(map(len, taken)))


def test_more_overlaps_where_there_is_room():
    network = lower(random_branches(np.random.default_rng(0))[0], 8)
    roomy = make_plan(network, TINY, 1).activations[0].trial.after
    assert any(last < index - 1 for index, last in enumerate(roomy))


def test_a_longer_network_takes_no_longer_for_each_operation(monkeypatch):
    """Blocks alike: each change of one would move all behind it."""
    placed, place = [], Allocator._place
    monkeypatch.setattr(Allocator, "_place", lambda self, request: (placed.append(request.key), place(self, request)))
    monkeypatch.setattr(activations, "MOVES", 10)
    counts = {}
    for blocks in (10, 40):
        net = Builder(np.random.default_rng(0), (16, 8, 8))
        x = net.conv("image", 32, (1, 1))
        for _ in range(blocks):
            y = net.conv(net.conv(x, 16, (1, 1)), 16, (3, 3), pads=(1, 1, 1, 1))
            x = net.add(x, net.conv(y, 32, (1, 1)))
        network = lower(net.graph(x), 8)
        placed.clear()
        make_plan(network, node(act_words=1024, act_banks=1), 1)
        counts[blocks] = len(placed) / len(network.ops)
    assert counts[40] < 1.5 * counts[10], counts


def test_what_fits_in_no_way_is_refused_by_name():
    net = Builder(np.random.default_rng(0), (64, 8, 64))
    network = lower(net.graph(net.conv("image", 64, (3, 3), pads=(1, 1, 1, 1))), 8)
    with pytest.raises(PlanError, match="random on node tiny: conv0: stages: 4096 words do not fit beside 576 of 1024"):
        make_plan(network, node(act_words=1024, act_banks=1), 1)


def test_what_is_refused_is_what_fits_in_no_way():
    """Not the parameters, which need not stay."""
    network = lower(wide_and_narrow(np.random.default_rng(5), 4, channels=512)[0], 8)
    with pytest.raises(PlanError, match="conv0: parameters: 512 words do not fit beside 137 of 1024"):
        make_plan(network, node(act_words=1024, act_banks=1, acc_words=64), 1)
