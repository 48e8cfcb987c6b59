"""The division of layers: no change of a single layer makes it better."""

import numpy as np
import pytest
from nets import random_branches

from superlip.boards import TARGETS
from superlip.plan.cost import Estimator, score
from superlip.plan.lower import lower
from superlip.plan.partition import Split, possible_splits
from superlip.plan.search import balanced_share, divide_network

TINY = TARGETS["tiny"]


@pytest.mark.parametrize("seed", range(3))
def test_no_single_change_helps(seed):
    network = lower(random_branches(np.random.default_rng(seed))[0], 8)
    division = divide_network(network, TINY, 2)
    estimator = Estimator(network, division.share, TINY, 2)
    best = score(division.costs)
    assert division.costs == estimator.estimate(division.splits)
    for index, op in enumerate(network.ops):
        for other in possible_splits(op, 2):
            trial = [*division.splits[:index], other, *division.splits[index + 1 :]]
            assert score(estimator.estimate(trial)) >= best


def test_one_board_is_not_divided():
    network = lower(random_branches(np.random.default_rng(0))[0], 8)
    division = divide_network(network, TINY, 1)
    assert set(division.splits) == {Split.ALL} and division.share == 1
    assert division.cycles == sum(cost.cycles for cost in division.costs)


def test_both_ways_end_together_with_a_balanced_share():
    """A share s from DRAM at D, the rest over the link at L: s / D = (1 - s) / L."""
    share = balanced_share(TINY)
    assert share / TINY.dram.bytes_per_cycle == pytest.approx((1 - share) / TINY.link.bytes_per_cycle)
