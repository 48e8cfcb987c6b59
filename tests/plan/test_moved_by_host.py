"""Movements that a node has no room for."""

import dataclasses

import numpy as np
import pytest
from functional import run_compiled
from nets import Builder

import superlip
from superlip.boards import TARGETS
from superlip.graph import ir
from superlip.ops import apply
from superlip.plan.moved_by_host import moved_by_host

TINY = TARGETS["tiny"]


@pytest.mark.parametrize("kind", ["depth", "resize", "interpolate"])
def test_the_host_moves_what_the_node_would(kind):
    net = Builder(np.random.default_rng(0), (8, 5, 6))
    x = net.conv("image", 8, (1, 1))
    makers = {"depth": net.depth_to_space, "resize": net.resize, "interpolate": net.interpolate}
    moved = makers[kind](x, 2, *["CRD"] * (kind == "depth"))
    graph = net.graph(net.conv(moved, 3, (1, 1)))
    hosted = moved_by_host(graph, moved)
    (host,) = [n for n in hosted.nodes if isinstance(n, ir.Host)]
    image = np.random.default_rng(1).integers(-128, 128, (2, 8, 5, 6)).astype(np.int8)
    before = next(n for n in graph.nodes if n.output == moved)
    np.testing.assert_array_equal(apply(host, [image], graph.values), apply(before, [image], graph.values))
    run_compiled(hosted, net.image(), 1)
    assert moved_by_host(graph, x) is None


def test_a_plan_turns_to_the_host():
    net = Builder(np.random.default_rng(2), (8, 24, 24))
    x = net.depth_to_space(net.conv("image", 32, (1, 1)), 2, "CRD")
    graph = net.graph(net.conv(x, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)))
    small = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, act_words=2048, act_banks=1))
    design = superlip.plan(graph, node=small)
    assert [step.node.output for step in design.network.steps] == [x]
    assert "no room" in design.graph.notes[-1]
    assert not superlip.plan(graph, node=TINY).network.steps


@pytest.mark.parametrize(("boards", "words"), [(1, 1024), (2, 2048)])
def test_a_plan_turns_to_the_host_for_what_is_collected_for_a_result(boards, words):
    """Not only where the result itself has no room: on the way there, or between two boards."""
    net = Builder(np.random.default_rng(2), (8, 40, 40))
    x = net.conv(net.conv("image", 8, (1, 1)), 32, (3, 3), pads=(1, 1, 1, 1))
    graph = net.graph(net.depth_to_space(x, 2, "CRD"))
    small = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, act_words=words, act_banks=1))
    design = superlip.plan(graph, node=small, boards=boards)
    assert "moves pixels on the host" in design.graph.notes[-1]
    run_compiled(design.graph, net.image(), boards)
