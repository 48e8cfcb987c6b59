"""Which maximum pooling is fused into the convolution in front of it."""

import dataclasses

import numpy as np
import pytest
from functional import run_compiled
from lowered import check_lowered
from nets import Builder

from superlip.element import INT8

RISING = np.sort(np.random.default_rng(0).integers(-128, 128, 256)).astype(np.int8)
"""Of a table by number; by pattern, the negative half comes last."""


def pooled(kernel=(2, 2), strides=(2, 2), kind="max", **fields):
    """A pooling behind a convolution whose fields are replaced."""
    net = Builder(np.random.default_rng(3), (8, 8, 8))
    x = net.conv("image", 12, (3, 3))
    net.nodes[-1] = dataclasses.replace(net.nodes[-1], low=INT8.low, high=INT8.high, **fields)
    y = net.pool(x, kind, kernel, strides=strides)
    return net, x, y


def is_fused(net, *outputs):
    """Whether the pooling was fused; the bits are checked in any case."""
    network = check_lowered(net.graph(*outputs), net.image())
    assert len(network.ops) == (1 if network.ops[0].pool else 2)
    return network.ops[0].pool is not None


def test_fused_where_it_costs_nothing():
    net, _, y = pooled()
    assert is_fused(net, y)


@pytest.mark.parametrize("table, fused", [(np.roll(RISING, 128), True), (np.roll(RISING[::-1], 128), False)])
def test_a_table_behind_the_sums_must_rise(table, fused):
    net, _, y = pooled(table=table)
    assert is_fused(net, y) == fused


@pytest.mark.parametrize("room, fused", [(0, True), (-1, False)])
def test_sums_that_wrap_have_no_order(room, fused):
    """A bias with which the largest sum is the largest int32, and one more."""
    net, _, y = pooled()
    weights = net.nodes[0].weights.astype(np.int64).reshape(12, -1)
    largest = np.maximum(weights * INT8.low, weights * INT8.high).sum(axis=1)
    bias = (np.iinfo(np.int32).max - largest - room).astype(np.int32)
    net.nodes[0] = dataclasses.replace(net.nodes[0], bias=bias)
    assert is_fused(net, y) == fused


@pytest.mark.parametrize("fields", [{"kind": "average"}, {"kernel": (1, 1)}, {"scale": np.zeros(12, np.float32)}])
def test_not_fused(fields):
    net, _, y = pooled(**fields)
    assert not is_fused(net, y)


@pytest.mark.parametrize("boards", [1, 2])
def test_a_window_of_more_sums_than_there_are_at_once(boards):
    """The maximum over a whole image: its sums don't fit the accumulators together."""
    net = Builder(np.random.default_rng(3), (8, 12, 12))
    x = net.conv("image", 8, (1, 1))
    net.nodes[-1] = dataclasses.replace(net.nodes[-1], low=INT8.low, high=INT8.high)
    y = net.conv(net.pool(x, "max", (12, 12)), 4, (1, 1))
    run_compiled(net.graph(y), net.image(), boards)


def test_not_fused_where_the_sums_are_wanted_themselves():
    net, x, y = pooled()
    assert not is_fused(net, x, y)


def concatenated(tables=(None, None)):
    """A pooling of a concatenation of two convolutions."""
    net = Builder(np.random.default_rng(4), (8, 8, 8))
    parts = [net.conv("image", channels, (1, 1)) for channels in (5, 9)]
    x = net.concat(*parts)
    net.nodes[-1] = dataclasses.replace(net.nodes[-1], tables=tables)
    return net, parts, net.pool(x, "max", (2, 2), strides=(2, 2))


@pytest.mark.parametrize("tables", [(None, None), (np.roll(RISING, 128), None)])
def test_a_pooling_of_a_concatenation_is_one_of_each_part(tables):
    net, _, y = concatenated(tables)
    network = check_lowered(net.graph(y), net.image())
    assert [op.pool is not None for op in network.ops] == [True, True]


def test_a_pooling_of_a_concatenation_stays_behind_a_table_that_falls():
    net, _, y = concatenated((np.roll(RISING[::-1], 128), None))
    assert [op.pool for op in check_lowered(net.graph(y), net.image()).ops] == [None] * 3


def test_a_pooling_of_a_concatenation_stays_behind_a_part_that_is_wanted_itself():
    net, parts, y = concatenated()
    assert [op.pool for op in check_lowered(net.graph(y, parts[0]), net.image()).ops] == [None] * 3
