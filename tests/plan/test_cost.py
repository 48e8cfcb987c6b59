"""The estimate: what bounds a layer, and that a cost is the same whether it was asked for before or not."""

import dataclasses

import numpy as np
import pytest
from nets import Builder, random_branches

from superlip.boards import TARGETS
from superlip.plan import timing
from superlip.plan.cost import Estimator, LayerCost, score, total_cycles
from superlip.plan.lower import lower
from superlip.plan.partition import Split, possible_splits

TINY = TARGETS["tiny"]
ALL, ROWS, CHANNELS = Split.ALL, Split.ROWS, Split.CHANNELS


def layer(channels, filters, size=8):
    net = Builder(np.random.default_rng(0), (channels, size, size))
    return lower(net.graph(net.conv("image", filters, (1, 1))), 8)


@pytest.mark.parametrize("bound", ["compute", "vector", "dram", "link"])
def test_a_layer_takes_as_long_as_the_slowest_resource(bound):
    sizes = dict.fromkeys(("compute", "vector", "dram", "link"), 5.0) | {bound: 9.0}
    cost = LayerCost(**sizes, start=2, dram_bytes=0, link_bytes=0)
    assert cost.bound == bound and cost.cycles == 11
    assert total_cycles([cost, cost]) == 22
    assert score([cost]) == pytest.approx(11 + 0.1 * (sizes["dram"] + sizes["link"]))


def test_one_layer_on_one_board_by_hand():
    """16 channels of 8x8 to 24: three output groups, two passes of 64 pixels each, on a node of 8x8."""
    (cost,) = Estimator(layer(16, 24), 1.0, TINY, 1).estimate([ALL])
    assert cost.compute == 3 * 2 * 64
    assert cost.vector == 3 * (64 + timing.GROUP_START)
    assert cost.dram_bytes == 16 * 8 * 8, "the image; weights stay"
    assert cost.link_bytes == cost.link == 0 and cost.start == timing.LAYER_START


def test_weights_that_do_not_stay_are_shared_by_rows():
    """Each of two boards loads its share of a layer's weights and is sent the rest."""
    network = layer(128, 72)
    words = 72 * 16
    small = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, weight_words=512))
    (alone,) = Estimator(network, 1.0, small, 2).estimate([ROWS])
    (shared,) = Estimator(network, 0.75, small, 2).estimate([ROWS])
    assert alone.dram_bytes - shared.dram_bytes == 2 * words * 8 // 4
    assert shared.link_bytes - alone.link_bytes == 2 * words * 8 // 4
    (stay,) = Estimator(network, 0.75, TINY, 2).estimate([ROWS])
    assert stay.dram_bytes == alone.dram_bytes - 2 * words * 8


def test_estimates_do_not_depend_on_what_was_asked_before():
    network = lower(random_branches(np.random.default_rng(2))[0], 8)
    small = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, weight_words=1024))
    rng, used = np.random.default_rng(0), Estimator(network, 0.7, small, 2)
    for _ in range(20):
        splits = [possible_splits(op, 2)[rng.integers(len(possible_splits(op, 2)))] for op in network.ops]
        assert used.estimate(splits) == Estimator(network, 0.7, small, 2).estimate(splits)
