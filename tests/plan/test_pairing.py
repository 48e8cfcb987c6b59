"""Pairs of neighbouring pixels in a word: the same bits in fewer passes."""

import numpy as np
import pytest
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import check_lowered
from nets import Builder

from superlip.plan.blocks import conv_tiles
from superlip.plan.lower import lower
from superlip.plan.pairing import pair_pixels

TN = 16


def in_front(net, channels=4, kernel=(3, 3), **fields):
    return net.conv("image", channels, kernel, pads=(kernel[0] // 2, kernel[1] // 2) * 2, **fields)


def behind(net, x, channels=16, kernel=(3, 3), *, pads=(1, 1, 1, 1), **fields):
    return net.conv(x, channels, kernel, pads=pads, strides=(2, 2), **fields)


def built(make, seed=3, size=(9, 12)):
    net = Builder(np.random.default_rng(seed), (3, *size))
    return net, net.graph(make(net))


def cycles(network):
    """MATMUL's, of all operations."""
    return sum(
        block.sets * op.grid[0] * op.grid[1] for op in network.ops if op.is_conv for tile in conv_tiles(op, 4096)
        for block in tile.blocks
    )  # fmt: skip


@given(
    channels=st.integers(1, 8), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), left=st.integers(0, 2),
    right=st.integers(0, 3), first=st.sampled_from([(1, 1), (3, 3), (1, 2)]), step=st.integers(1, 2),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=80)
def test_the_same_bits(channels, kernel, left, right, first, step, seed):
    def make(net):
        x = net.conv("image", channels, first, pads=(0, first[1] - 1, 0, 0), strides=(1, step))
        return net.conv(x, 16, kernel, pads=(1, left, 0, right), strides=(2, 2))

    net, graph = built(make, seed)
    network = check_lowered(graph, net.image(), TN)
    plain = lower(graph, 1 << 20)  # one word holds everything: nothing is gained by pairs
    assert [op.macs for op in network.ops] == [op.macs for op in plain.ops]


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("channels, table", [(4, False), (3, True)])
def test_the_nodes_compute_them(boards, channels, table):
    net, graph = built(lambda net: behind(net, in_front(net, channels, table=table)))
    assert pair_pixels(graph, graph.outputs, 8) is not graph
    run_compiled(graph, net.image(), boards)


def test_fewer_passes():
    _, graph = built(lambda net: behind(net, in_front(net, 8)))
    paired = pair_pixels(graph, graph.outputs, TN)
    assert [node.name for node in paired.nodes] == [node.name for node in graph.nodes]
    one, two = lower(paired, TN), lower(graph, TN)
    assert [op.node.weights.shape for op in two.ops] == [(16, 36, 1, 1), (16, 16, 3, 2)]
    assert cycles(one) == cycles(two) == 9 * 6 * 3 + 5 * 6 * 6


def test_several_readers_of_one_value():
    net = Builder(np.random.default_rng(3), (3, 9, 12))
    x = in_front(net)
    graph = net.graph(behind(net, x), behind(net, x, kernel=(1, 1), pads=(0, 0, 0, 0)))
    network = check_lowered(graph, net.image(), TN)
    assert network.ops[0].output.channels == 8 and network.ops[0].output.size == (9, 6)


def test_one_behind_the_other():
    net, graph = built(lambda net: behind(net, behind(net, in_front(net), 4)), size=(9, 16))
    assert [op.output.storage.width for op in check_lowered(graph, net.image(), TN).ops] == [8, 4, 4]


@pytest.mark.parametrize(
    "make",
    [
        lambda net: behind(net, in_front(net, 9)),  # two pixels are more than a word
        lambda net: net.conv(in_front(net), 16, (3, 3)),  # no stride
        lambda net: net.pool(in_front(net), "average", (2, 2), strides=(2, 2)),
        lambda net: behind(net, net.table(in_front(net))),  # made by VECTOR
        lambda net: behind(net, in_front(net), groups=2),
        lambda net: behind(net, in_front(net, groups=1, strides=(1, 2), dilations=(1, 2))),
        lambda net: net.conv(in_front(net), 16, (1, 2), strides=(2, 2), dilations=(1, 2)),
    ],
)
def test_no_pairs(make):
    _, graph = built(make)
    assert pair_pixels(graph, graph.outputs, TN) is graph


def test_no_pairs_of_an_odd_width_or_what_the_host_reads():
    _, graph = built(lambda net: behind(net, in_front(net)), size=(9, 11))
    assert pair_pixels(graph, graph.outputs, TN) is graph
    _, graph = built(lambda net: behind(net, in_front(net)))
    assert pair_pixels(graph, [graph.nodes[0].output], TN) is graph
    assert pair_pixels(graph, [], TN) is not graph
