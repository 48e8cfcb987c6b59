"""Why a plan divides each operation as it does."""

import json

import numpy as np
import pytest
from nets import Builder, random_branches

from superlip import api
from superlip.boards import TARGETS
from superlip.plan.partition import Split, possible_splits
from superlip.plan.planner import make_plan
from superlip.report.estimate import Estimate
from superlip.report.explained import explain

TINY = TARGETS["tiny"]


def design(boards, seed=1):
    net = Builder(np.random.default_rng(seed), (8, 16, 16))
    x = net.conv("image", 32, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(net.pool(x, "average", (2, 2), strides=(2, 2)), 24, (3, 3), pads=(1, 1, 1, 1))
    return api.plan(net.graph(net.conv(x, 16, (1, 1))), boards=boards, node=TINY)


def test_what_bounds_each_operation():
    made = design(2)
    assert made.plan.boards == 2
    for each, op, cost, split in zip(explain(made), made.network.ops, made.plan.costs, made.plan.splits, strict=True):
        assert each.name == op.name and each.partition == split.value and each.bound == cost.bound
        assert each.cycles == round(cost.cycles) and each.link_bytes == cost.link_bytes
        assert getattr(each, each.bound) == max(each.compute, each.vector, each.dram, each.link)
        assert each.one_board > 0 and each.bound_one_board in ("compute", "vector", "dram")
        assert each.instead.keys() == {s.value for s in possible_splits(op, 2) if s is not split}


@pytest.mark.parametrize("seed", range(3))
def test_another_partition_costs_what_a_plan_with_it_costs(seed):
    graph, _ = random_branches(np.random.default_rng(seed), ops=6)
    made = api.plan(graph, boards=2, node=TINY)
    if made.idle:
        pytest.skip("one board does it")
    for index, each in enumerate(explain(made)):
        for name, longer in each.instead.items():
            splits = list(made.plan.splits)
            splits[index] = Split(name)
            other = make_plan(made.network, TINY, 2, split=splits)
            assert longer == pytest.approx(other.cycles - made.plan.cycles, abs=1)


def test_one_board_has_no_other_way():
    made = design(1)
    assert all(not each.instead and each.one_board == each.cycles for each in explain(made))
    assert all(len(each.lines()) == 1 for each in explain(made))


def test_text_and_json():
    made = design(2)
    explained = explain(made)
    text = "\n".join(line for each in explained for line in each.lines())
    assert "conv0  " in text and " cycles by " in text and "instead: " in text and "MATMUL" in text
    content = json.loads(Estimate.of(made).to_json(explained))
    assert [row["name"] for row in content["explained"]] == [op.name for op in made.network.ops]
    assert "explained" not in json.loads(Estimate.of(made).to_json())
