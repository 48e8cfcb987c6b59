"""Trials: what a change gains is what the whole estimate says of it, whatever was changed before."""

import dataclasses

import numpy as np
import pytest
from nets import random_branches, wide_and_narrow

from superlip.boards import TARGETS
from superlip.plan.cost import Estimator, score
from superlip.plan.lower import lower
from superlip.plan.partition import possible_splits
from superlip.plan.trials import Trials

TINY = TARGETS["tiny"]


def networks(seed):
    """Branches, and layers of which some weights stay; the host stops in between."""
    rng = np.random.default_rng(seed)
    return lower(random_branches(rng)[0] if seed % 2 else wide_and_narrow(rng, 4, channels=64, host=True)[0], 8)


@pytest.mark.parametrize("weight_words", [256, 1024, 4096])
@pytest.mark.parametrize("seed", range(6))
def test_gains_are_those_of_the_whole_estimate(seed, weight_words):
    network, rng = networks(seed), np.random.default_rng(seed)
    target = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, weight_words=weight_words))
    estimator = Estimator(network, 0.7, target, 2)
    options = [possible_splits(op, 2) for op in network.ops]

    def drawn(index):
        return options[index][rng.integers(len(options[index]))]

    trials, streamed = Trials(estimator, [drawn(index) for index in range(len(options))]), set()
    for _ in range(80):
        index = int(rng.integers(len(options)))
        before, split = list(trials.splits), drawn(index)
        changed = [*before[:index], split, *before[index + 1 :]]
        gain = trials.gain(index, split)
        fresh = Estimator(network, 0.7, target, 2)
        assert trials.splits == before and trials.costs == fresh.estimate(before), "looking changes nothing"
        assert gain == pytest.approx(score(fresh.estimate(before)) - score(fresh.estimate(changed)), abs=1e-6)
        if rng.random() < 0.5:
            trials.change(index, split)
            assert trials.splits == changed and trials.costs == fresh.estimate(changed)
        streamed.add(tuple(words > 0 for words, _ in fresh.streamed(trials.splits)))
    assert weight_words > 256 or seed % 2 or len(streamed) > 1, "what stays depends on the divisions"
