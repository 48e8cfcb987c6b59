"""The Python interface: what goes in, what comes out, and what does not go together."""

import dataclasses

import numpy as np
import pytest
from nets import Builder

from superlip import api, golden
from superlip.boards import TARGETS, TargetError
from superlip.plan.planner import PlanError

TINY = TARGETS["tiny"]


@pytest.fixture(scope="module")
def net():
    built = Builder(np.random.default_rng(3), (8, 6, 6))
    return built.graph(built.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))), built.image()


@pytest.mark.parametrize("node", [TINY, "tiny"])
def test_a_plan_is_a_design(net, node):
    design = api.plan(net[0], boards=2, node=node)
    assert design.target is TINY and len(design.compiled.boards) == design.plan.boards == 2
    assert design.graph is net[0] and "2 boards" in repr(design)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"boards": 0}, PlanError, "0 boards asked for; node tiny can be joined 1 or 2 at a time"),
        ({"boards": 3}, PlanError, "3 boards asked for"),
        ({"node": "huge"}, TargetError, "huge"),
    ],
)
def test_what_can_not_be_planned(net, arguments, error, message):
    with pytest.raises(error, match=message):
        api.plan(net[0], **({"node": TINY} | arguments))


@pytest.mark.parametrize("other", [{"boards": 2}, {"node": "zcu102"}, {"boards": 2, "node": TINY}])
def test_a_design_is_run_as_it_is(net, other):
    with pytest.raises(PlanError, match="the design is for 1 board of node tiny: leave boards and node out"):
        api.run(api.plan(net[0], node=TINY), **other)


def test_the_same_target_by_another_name_is_the_same(net):
    design = api.plan(net[0], node=TINY)
    assert api._given(design, 1, "tiny")[:2] == (net[0], {1: design})
    renamed = dataclasses.replace(TINY, name="mine")
    with pytest.raises(PlanError, match="leave boards and node out"):
        api._given(design, None, renamed)


def test_predictions_are_the_goldens(net):
    graph, image = net
    value = graph.values[graph.input]
    real = (image.astype(np.float32) - value.zero_point) * np.float32(value.scale)
    outputs = api.predict(graph, real[None])
    expected = golden.own_outputs(graph, golden.run(graph, image[None]))
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(outputs[name], values)


def test_what_boards_would_make_slower_one_does():
    """By a link of a byte in a hundred cycles; the report of two boards is that of one, and says so."""
    slow = dataclasses.replace(TINY, link=dataclasses.replace(TINY.link, bytes_per_cycle=0.01))
    built = Builder(np.random.default_rng(1), (8, 6, 6))
    graph, image = built.graph(built.conv(built.conv("image", 8, (3, 3)), 8, (4, 4))), built.image()
    design = api.plan(graph, boards=2, node=slow)
    assert design.idle == 1 and api._given(design, 2, None)[1] == {2: design}
    real = (image.astype(np.float32) - graph.values["image"].zero_point) * np.float32(graph.values["image"].scale)
    report = api.run(graph, boards=2, node=slow, images=real[None])
    assert report.bit_exact and report.boards == 2 and report.cycles == report.cycles_one_board
    assert report.speedup == 1 and [text for text in report.warnings if text.startswith("1 of 2 boards is idle")]
    alone = api.run(graph, boards=1, node=slow, images=real[None])
    assert report.share_of_peak == pytest.approx(alone.share_of_peak / 2)
