"""Bands of what the host wrote: each row once, to the boards that are given it, before it is needed."""

import numpy as np
import pytest
from nets import Builder, random_graph

from superlip.boards import TARGETS
from superlip.ops.layout import Storage
from superlip.plan.bands import BANDS_AHEAD, Band, bands_due, bands_of
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.planner import make_plan
from superlip.plan.tasks import Need, Task

TINY = TARGETS["tiny"]


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_loaded_once_and_before_they_are_read(seed, boards, split):
    network = lower(random_graph(np.random.default_rng(seed))[0], 8)
    plan = make_plan(network, TINY, boards, split=split)
    name = network.input.storage.name
    bands = list(plan.bands[0])
    ends = [band.end for band in bands]
    assert ends == sorted(ends) and ends[-1] == network.input.storage.height
    needed = plan.exchange.needed[name].any(axis=(0, 1))
    for board in range(boards):
        rows = np.concatenate([band.rows[board] for band in bands])
        np.testing.assert_array_equal(rows, np.flatnonzero(plan.exchange.produced[name][board, 0] & needed))
    loaded = 0
    for task in plan.order:
        due = bands_due(bands, task)
        loaded = bands[due - 1].end if due else loaded
        del bands[:due]
        assert all(need.row1 <= loaded for need in task.needs if need.storage == name), "read before it is loaded"


def test_a_few_bands_come_ahead_and_no_more():
    storage = Storage("image", 8, 40, 4, 8)
    bands = [Band(storage, end, [np.arange(end - 4, end)]) for end in range(4, 44, 4)]

    def due(name, row1):
        return bands_due(bands, Task(0, [], [], [Need(name, 0, 1, 0, row1)], [], 0, 0))

    assert [due("image", row1) for row1 in (1, 4, 5, 17, 40)] == [BANDS_AHEAD + n for n in (1, 1, 2, 5, 8)]
    assert due("other", 17) == 0


def test_rows_that_nobody_reads_are_not_loaded():
    net = Builder(np.random.default_rng(0), (8, 6, 6))
    network = lower(net.graph(net.conv("image", 16, (1, 1), strides=(2, 2))), 8)
    plan = make_plan(network, TINY, 2, split=Split.CHANNELS)
    assert sorted(row for band in plan.bands[0] for rows in band.rows for row in rows) == [0, 1, 2, 3, 4]


def test_results_of_the_host_have_bands_of_their_own():
    net = Builder(np.random.default_rng(0), (9, 8, 8))
    network = lower(net.graph(net.conv(net.host(net.conv("image", 8, (1, 1))), 8, (1, 1))), 8)
    plan = make_plan(network, TINY, 1)
    assert list(plan.bands) == [0, 1]
    assert {band.storage.name for band in plan.bands[1]} == {"host1.y"}


def test_what_goes_to_dram_has_no_bands():
    network = lower(random_graph(np.random.default_rng(0))[0], 8)
    plan = make_plan(network, TINY, 1)
    assert bands_of(network, plan.exchange, frozenset({network.input.storage.name})) == {0: []}
