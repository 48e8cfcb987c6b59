"""Plans: of divisions that were asked for, of the best one, and refusals."""

import dataclasses

import numpy as np
import pytest
from nets import Builder, random_graph

from superlip.boards import TARGETS
from superlip.graph import ir
from superlip.plan.lower import lower
from superlip.plan.partition import Split, possible_splits
from superlip.plan.planner import PlanError, best_plan, expected_cycles, lowered, make_plan

TINY = TARGETS["tiny"]


def network(seed=1):
    return lower(random_graph(np.random.default_rng(seed))[0], 8)


@pytest.mark.parametrize("split", list(Split))
def test_one_split_for_all_is_used_where_it_is_possible(split):
    net = network()
    for op, chosen in zip(net.ops, make_plan(net, TINY, 2, split=split).splits, strict=True):
        assert chosen is (split if split in possible_splits(op, 2) else possible_splits(op, 2)[0])


def test_a_split_for_each_operation_is_used_as_it_is():
    net = network()
    splits = [possible_splits(op, 2)[-1] for op in net.ops]
    assert make_plan(net, TINY, 2, split=splits).splits == splits


@pytest.mark.parametrize("seed", range(3))
def test_what_was_chosen_is_no_worse_than_a_uniform_division(seed):
    net = network(seed)
    best = make_plan(net, TINY, 2)
    assert best.cycles == expected_cycles(net, TINY, 2)
    for split in Split:
        uniform = make_plan(net, TINY, 2, split=split)
        assert sum(c.cycles + 0.1 * (c.dram + c.link) for c in best.costs) <= sum(
            c.cycles + 0.1 * (c.dram + c.link) for c in uniform.costs
        )


def test_layers_may_be_divided_differently():
    """Rows where there is one channel group, channels where there is one row."""
    net = Builder(np.random.default_rng(0), (8, 32, 32))
    x = net.pool(net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1)), "average", (32, 32))
    deep = lower(net.graph(net.conv(x, 512, (1, 1))), 8)
    best = make_plan(deep, TINY, 2)
    assert best.splits[0] is Split.ROWS and best.splits[-1] is Split.CHANNELS
    assert all(best.cycles < make_plan(deep, TINY, 2, split=split).cycles for split in Split)


@pytest.mark.parametrize("boards", [0, 3])
def test_boards_that_can_not_be_joined(boards):
    for function in (make_plan, expected_cycles):
        with pytest.raises(
            PlanError, match=f"{boards} boards asked for; node tiny can be joined 1 or 2 at a time today"
        ):
            function(network(), TINY, boards)


def test_a_plan_needs_no_weights():
    """The same plan for weights that are all 0, but for poolings, whose fusion asks which sums can wrap."""
    net = Builder(np.random.default_rng(0), (20, 9, 9))
    graph = net.graph(net.add(net.conv("image", 12, (3, 3)), net.conv("image", 12, (3, 3))))
    nodes = [
        dataclasses.replace(node, weights=np.zeros_like(node.weights)) if isinstance(node, ir.Conv) else node
        for node in graph.nodes
    ]
    plans = [make_plan(lower(g, 8), TINY, 2) for g in (graph, dataclasses.replace(graph, nodes=nodes))]
    assert plans[0].cycles == plans[1].cycles and plans[0].tiles == plans[1].tiles
    assert [board.views for board in plans[0].activations] == [board.views for board in plans[1].activations]


def test_rows_that_are_not_whole_can_not_go_to_dram():
    """A row of results that fills more than a bank of accumulators, and an activation buffer too small for all rows."""
    net = Builder(np.random.default_rng(0), (8, 4, 200))
    x = net.conv("image", 8, (1, 1))
    node = dataclasses.replace(TINY.node, acc_words=64, act_words=2048, act_banks=1)
    wide = lower(net.graph(net.conv(net.conv(x, 16, (1, 1)), 8, (1, 1))), 8)
    with pytest.raises(PlanError, match="rows of 200 pixels do not fit the accumulators and the buffer"):
        make_plan(wide, dataclasses.replace(TINY, node=node), 1)


def wide_first_layers(rows):
    """A convolution of few channels and one pixel by pixel, of as many rows."""
    net = Builder(np.random.default_rng(0), (1, rows, 64))
    x = net.conv("image", 4, (1, 2), pads=(0, 0, 0, 1))
    return net.graph(net.conv(x, 8, (1, 1)))


def test_halves_where_they_fit():
    """What is written in halves must stay on chip."""
    network, plan = best_plan(wide_first_layers(16), TINY, 1)
    assert network.has_halves and plan.boards == 1
    assert not lowered(wide_first_layers(16), TINY, 2).has_halves
    large = wide_first_layers(256)
    assert lowered(large, TINY, 1).has_halves
    with pytest.raises(PlanError):
        make_plan(lowered(large, TINY, 1), TINY, 1)
    network, _ = best_plan(large, TINY, 1)
    assert not network.has_halves
