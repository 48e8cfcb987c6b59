"""Tasks: together they are the whole of every operation, on every board its part, strip by strip."""

import numpy as np
import pytest
from nets import Builder, random_branches

from superlip.boards import TARGETS
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.planner import make_plan
from superlip.rtl.config import FEED_WORDS

TINY = TARGETS["tiny"]


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
@pytest.mark.parametrize("seed", range(3))
def test_tasks_are_all_that_the_boards_compute(seed, boards, split):
    network = lower(random_branches(np.random.default_rng(seed))[0], 8)
    plan = make_plan(network, TINY, boards, split=split)
    for index, op in enumerate(network.ops):
        tasks = [task for task in plan.order if task.op == index]
        for board, part in enumerate(plan.parts[index]):
            done = np.zeros((op.output.end_group, *op.grid), int)
            for step in (step for task in tasks for step in task.weight_steps if step.board == board and step.last):
                for chunk in step.chunks:
                    done[step.tile.group, chunk.row0 : chunk.row1, chunk.col0 : chunk.col1] += 1
            for step in (at.step for task in tasks for at in task.vector_steps if at.board == board):
                done[step.group, step.row0 : step.row1, step.col0 : step.col1] += 1
            assert (done[part.group0 : part.group1, part.row0 : part.row1] == 1).all()
            assert done.sum() == (part.group1 - part.group0) * (part.row1 - part.row0) * op.grid[1]


def test_sums_are_open_from_their_first_block_to_their_last():
    """A kernel whose weights fill several blocks: each chunk's sums take them one after the other."""
    net = Builder(np.random.default_rng(5), (40, 12, 12))
    network = lower(net.graph(net.conv("image", 16, (12, 12))), 8)
    tasks = make_plan(network, TINY, 1).order
    steps = [task.weight_steps[0] for task in tasks]
    assert len(steps[0].tile.blocks) > 1
    assert [task.leaves_open for task in tasks] == [not step.last for step in steps]
    for task, step in zip(tasks, steps, strict=True):
        assert step.first == (step.block is step.tile.blocks[0]) == bool(task.needs)
        assert step.last == (step.block is step.tile.blocks[-1]) == bool(task.makes)
        assert task.matmul == step.matmul_cycles(TINY.node.tm) >= step.block.sets * TINY.node.tm // FEED_WORDS
        assert task.vector == (sum(chunk.vector_cycles(network.ops[0]) for chunk in step.chunks) if step.last else 0)
        assert task.strips() == [(0, 0)]
