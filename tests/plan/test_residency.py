"""Which weights stay, and how often the others are loaded."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import random_branches

from superlip.boards import TARGETS
from superlip.plan.lower import lower
from superlip.plan.planner import make_plan
from superlip.plan.residency import Load, Residents, plan_weights

BLOCKS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), max_size=12)


@given(BLOCKS, st.integers(1, 120), st.integers(1, 60))
def test_residents_lie_apart_and_leave_the_ring_its_room(sizes, capacity, ring_words):
    blocks = [(key, words, uses) for key, (words, uses) in enumerate(sizes)]
    residents = Residents(blocks, capacity, ring_words)
    total = sum(words for words, _ in sizes)
    taken = sorted((address, address + sizes[key][0]) for key, address in residents.address.items())
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(taken))
    assert residents.words == sum(end - first for first, end in taken)
    if total <= capacity:
        assert len(residents.address) == len(blocks), "all fit, and all stay"
    else:
        assert residents.words <= max(0, capacity - ring_words)
        left = [block for block in blocks if block[0] not in residents.address]
        room = max(0, capacity - ring_words)
        for key, words, uses in left:  # what is used less was kept before it
            kept = sum(sizes[k][0] for k in residents.address if (sizes[k][1], k) < (uses, key))
            assert kept + words > room


@pytest.mark.parametrize("weight_words", [256, 512, 4096])
@pytest.mark.parametrize("seed", range(4))
def test_every_step_finds_its_block(seed, weight_words):
    """A block stays, or each of its steps has a load: the same one for all, or one for each."""
    tiny = TARGETS["tiny"]
    network = lower(random_branches(np.random.default_rng(seed))[0], 8)
    tasks = make_plan(network, tiny, 2).order
    plans, loads = plan_weights(tasks, 2, weight_words)
    for board, plan in enumerate(plans):
        base, words = plan.ring
        used = [(load, step) for task, row in zip(tasks, loads, strict=True) for load, step in
                zip(row, task.weight_steps, strict=True) if step.board == board]  # fmt: skip
        assert list(plan.blocks) == list(dict.fromkeys(step.key for _, step in used))
        assert base + words == weight_words and sum(plan.blocks[key].words for key in plan.residents) == base
        uses: dict[Load, int] = {}
        for load, step in used:
            assert (load is None) == (step.key in plan.residents)
            if load is not None:
                assert load.key == step.key
                uses[load] = uses.get(load, 0) + 1
        assert all(load.uses == count for load, count in uses.items())


def test_a_layer_that_fits_half_of_the_ring_is_loaded_once():
    block, large = SimpleNamespace(words=10), SimpleNamespace(words=60)
    steps = [SimpleNamespace(board=0, op=op, key=(op, 0, 0), block=b, sums=9) for op, b in ((0, block), (1, large)) * 2]
    tasks = [SimpleNamespace(weight_steps=[step]) for step in steps]
    plans, loads = plan_weights(tasks, 1, 60)
    assert not plans[0].residents and plans[0].ring == (0, 60)
    assert loads[0] == loads[2] == [Load((0, 0, 0), 0, 2)]
    assert [loads[1][0].number, loads[3][0].number] == [0, 1] and loads[1][0].uses == 1
