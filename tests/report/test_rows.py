"""Rows of the plan: one a layer, host operations where they are done, with what they move."""

import numpy as np
import pytest
from nets import Builder

from superlip import api
from superlip.boards import TARGETS
from superlip.report.rows import plan_rows, share_of_peak


def design(boards):
    net = Builder(np.random.default_rng(2), (8, 6, 6))
    x = net.conv(net.host(net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))), 16, (1, 1))
    return api.plan(net.graph(net.host(x, "Softmax")), boards=boards, node=TARGETS["tiny"])


@pytest.mark.parametrize("boards", [1, 2])
def test_host_operations_stand_where_they_are_done(boards):
    made = design(boards)
    rows = plan_rows(made)
    ops = [op.name for op in made.network.ops]
    assert [row.name for row in rows if row.partition != "host"] == ["input", *ops]
    assert [row.partition == "host" for row in rows] == [False, False, True, False, True]
    lrn, softmax = rows[2], rows[4]
    assert lrn.cycles == softmax.cycles == lrn.macs == 0 and lrn.host_macs >= 0
    # Read once and written to each board that needs it; the last one is only read.
    assert lrn.host_bytes >= 2 * 8 * 36 and softmax.host_bytes >= 16 * 36
    assert all(row.mismatches is None and row.busy is None for row in rows)


def test_rows_are_those_of_the_plan():
    made = design(2)
    given, *rows = [row for row in plan_rows(made) if row.partition != "host"]
    assert (given.name, given.partition, given.cycles) == ("input", "-", made.layer_cycles[0])
    assert given.cycles + sum(row.cycles for row in rows) == made.cycles
    for index, (row, op, split, cost) in enumerate(
        zip(rows, made.network.ops, made.plan.splits, made.plan.costs, strict=True), 1
    ):
        assert (row.name, row.partition, row.macs) == (op.name, split.value, op.macs)
        assert (row.cycles, row.bound) == (made.layer_cycles[index], cost.bound)


def test_share_of_peak():
    made = design(2)
    assert share_of_peak(64 * 2 * 100, 100, made) == 1.0 and share_of_peak(5, 0, made) == 0.0
