"""Order: every task once, behind what it needs, and no sums are left open for another convolution."""

import dataclasses

import numpy as np
import pytest
from nets import random_branches, random_graph

from superlip.boards import TARGETS
from superlip.plan.lower import lower
from superlip.plan.planner import make_plan
from superlip.plan.schedule import order
from superlip.plan.tasks import tasks_of

TINY = TARGETS["tiny"]


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("make", [random_graph, random_branches])
@pytest.mark.parametrize("seed", range(4))
def test_order_of_random_networks(make, seed, boards):
    """With a small weight buffer, so that sums take several blocks."""
    network = lower(make(np.random.default_rng(seed))[0], 8)
    target = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, weight_words=256))
    plan = make_plan(network, target, boards)
    tasks = tasks_of(network, plan.parts, plan.tiles, plan.activations, target.node)
    after = plan.activations[0].trial.after
    ordered = order(network, tasks, after)
    assert {id(task) for task in ordered} == {id(task) for mine in tasks for task in mine}
    assert len(ordered) == sum(map(len, tasks))
    assert [id(t) for index in range(len(tasks)) for t in ordered if t.op == index] == [id(t) for m in tasks for t in m]

    writers, done = network.writers(), [0] * len(tasks)
    made = [np.zeros((op.output.storage.groups, op.output.storage.height), int) for op in network.ops]
    whole = [rows.copy() for rows in made]
    for mine in tasks:
        for task in mine:
            for group0, group1, rows in task.makes:
                whole[task.op][group0:group1, rows] += 1
    unfinished = None
    for task in ordered:
        assert all(done[op] == len(tasks[op]) for op in range(after[task.op] + 1)), "too early for the buffer"
        for need in task.needs:
            block = np.s_[need.group0 : need.group1, need.row0 : need.row1]
            for writer in writers.get(need.storage, ()):
                assert writer >= task.op or (made[writer][block] == whole[writer][block]).all(), (
                    "reads what is not there"
                )
        if task.weight_steps:
            assert unfinished in (None, task.op), "sums of another convolution are still open"
            unfinished = task.op if task.leaves_open else None
        for group0, group1, rows in task.makes:
            made[task.op][group0:group1, rows] += 1
        done[task.op] += 1
