"""Which of the host's nodes come behind the accelerator."""

import dataclasses

import numpy as np
import pytest
from nets import Builder

from superlip.graph import ir
from superlip.ops.lowering import LoweringError
from superlip.plan.host_division import divide_host


def divided(net, *outputs):
    """Names of the nodes that are not behind, and of those that are."""
    nodes, behind = divide_host(net.graph(*outputs))
    return [node.name for node in nodes], [node.name for node in behind]


@pytest.fixture
def net():
    return Builder(np.random.default_rng(0), (4, 3, 3))


def test_behind_where_nothing_accelerated_needs_it(net):
    first = net.host("image")
    last = net.host(net.host(net.conv(first, 4, (1, 1))))
    assert divided(net, last) == (["host0", "conv1"], ["host2", "host3"])


def test_a_host_node_that_another_one_needs_between_is_between(net):
    y = net.conv(net.host(net.host("image")), 4, (1, 1))
    assert divided(net, y) == (["host0", "host1", "conv2"], [])


def test_a_reshape_that_mixes_channels_and_pixels_is_the_hosts(net):
    same, mixed = net.reshape("image", (4, 3, 3)), net.reshape("image", (3, 4, 3))
    nodes, behind = divide_host(net.graph(net.conv(same, 4, (1, 1)), mixed))
    assert [type(node) for node in nodes] == [ir.Reshape, ir.Conv]
    assert [(type(node), node.name) for node in behind] == [(ir.Host, "reshape1")]


def test_what_the_host_keeps_for_both_is_computed_twice(net):
    kept = net.host_real("image")
    y = net.conv(net.host_quantized(kept), 4, (1, 1))
    assert divided(net, net.host_real(y, kept)) == (["host0", "host1", "conv2"], ["host0", "host3"])


def test_the_hosts_nodes_come_as_early_as_they_can(net):
    """Two branches behind one operation of the host: one stop."""
    first = net.host("image")
    y = net.conv(first, 4, (1, 1))
    z = net.conv(net.host(first), 4, (1, 1))
    assert divided(net, net.add(y, z))[0] == ["host0", "host2", "conv1", "conv3", "add4"]


def test_a_result_in_floating_point_cannot_go_on(net):
    y = net.host("image")
    net.values[y] = dataclasses.replace(net.values[y], is_float=True)
    with pytest.raises(LoweringError, match="host0: its result is no integer tensor, and the accelerator needs it"):
        divided(net, net.conv(y, 4, (1, 1)))
