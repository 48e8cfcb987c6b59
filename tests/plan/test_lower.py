"""Lowered networks give the graph's values where they should lie."""

import numpy as np
import pytest
from lowered import check_lowered
from nets import Builder, random_branches, random_graph

from superlip.ops.lowering import LoweringError
from superlip.plan.lower import lower


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    check_lowered(*random_graph(np.random.default_rng(seed)))


@pytest.mark.parametrize("seed", range(40))
def test_random_branches(seed):
    """Poolings in front of and behind concatenations, additions of what begins at different lanes."""
    check_lowered(*random_branches(np.random.default_rng(seed)))


def moves(net, x):
    c, h, w = net.values[x].shape
    yield net.pad(x, (1, 0, 2, 3), 5)
    yield net.resize(x, 2)
    yield net.pick(x, np.arange(1, h, 2), np.arange(w - 1))
    yield net.shuffle(x)
    yield net.slice(x, 3, c)
    yield net.space_to_depth(net.slice(x, 1, 6), 2)
    for mode in ("DCR", "CRD"):
        yield net.depth_to_space(net.slice(x, 2, 10), 2, mode)


@pytest.mark.parametrize("number", range(8))
def test_moves(number):
    """Behind a convolution, in a concatenation with a table, and once more behind a slice."""
    net = Builder(np.random.default_rng(number), (5, 6, 8))
    moved = list(moves(net, net.conv("image", 12, (1, 1))))[number]
    again = net.slice(moved, 1, net.values[moved].shape[0])
    check_lowered(net.graph(net.concat(moved, again, tables=True), net.add(again, again)), net.image())


def test_host_between_operations():
    """A host's node comes as late as it can, and what it makes has a place like any other value."""
    net = Builder(np.random.default_rng(1), (5, 6, 6))
    a = net.conv("image", 12, (1, 1))
    first, second = net.host(a), net.host(net.conv(a, 4, (1, 1)))
    network = check_lowered(net.graph(net.concat(net.conv(first, 5, (1, 1)), second)), net.image())
    assert [step.position for step in network.steps] == [2, 2]


def test_what_does_not_run():
    net = Builder(np.random.default_rng(0), (4, 3, 3))
    net.mul(net.conv("image", 4, (1, 1)), net.pool("image", "average", (3, 1)))
    with pytest.raises(LoweringError, match=r"mul2: tensors of shape .* do not go together"):
        lower(net.graph("mul2.y"), 8)
    net = Builder(np.random.default_rng(0), (4, 3, 3))
    with pytest.raises(LoweringError, match="random: no operation for the accelerator"):
        lower(net.graph(net.host("image")), 8)
    net = Builder(np.random.default_rng(0), (512, 1, 1))
    with pytest.raises(LoweringError, match="blocks of more than 15 pixels"):
        lower(net.graph(net.depth_to_space(net.conv("image", 256, (1, 1)), 16, "DCR")), 8)
    net = Builder(np.random.default_rng(0), (4, 3, 40))
    with pytest.raises(LoweringError, match="no regular pattern"):
        lower(net.graph(net.pick("image", [0, 1, 2], net.rng.permutation(40))), 8)
