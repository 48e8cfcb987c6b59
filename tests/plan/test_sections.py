"""Channels in sections, so that each group of a grouped convolution begins a word."""

from unittest.mock import patch

import numpy as np
import pytest
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import check_lowered
from nets import Builder, straddling_groups

from superlip.plan.blocks import conv_tiles
from superlip.plan.lower import lower
from superlip.plan.partition import Split

TN = 8


def built(make, channels=8):
    net = Builder(np.random.default_rng(3), (channels, 9, 9))
    outputs = make(net)
    return net.graph(*([outputs] if isinstance(outputs, str) else outputs)), net.image()


def sections(network):
    """By storage, of those that have sections."""
    return {name: storage.section for name, storage in network.storages().items() if storage.section is not None}


def reads(network):
    """Words of a pixel that the tiles of each convolution read, all together."""
    tiles = [conv_tiles(op, 4096) for op in network.ops if op.is_conv]
    return [sum(tile.blocks[-1].n1 - tile.blocks[0].n0 for tile in mine) for mine in tiles]


def grouped(net, x, filters=16, groups=2):
    return net.conv(x, filters, (3, 3), groups=groups)


def pointwise(net, channels):
    return net.conv("image", channels, (1, 1))


def added(net):
    return grouped(net, net.add(pointwise(net, 12), net.table(pointwise(net, 12))))


def beside(net):
    x = pointwise(net, 12)
    return [net.conv(net.pool(x, "max", (2, 2)), 8, (1, 1)), grouped(net, x)]


@pytest.mark.parametrize(
    "make, section, names, words",
    [
        (lambda net: grouped(net, pointwise(net, 12)), 6, 1, 2),
        (lambda net: grouped(net, net.pool(net.host(pointwise(net, 12)), "max", (2, 2))), 6, 2, 2),
        (lambda net: grouped(net, net.pool(pointwise(net, 12), "average", (2, 2))), 6, 2, 2),
        (added, 6, 4, 2),
        (lambda net: grouped(net, pointwise(net, 12), 32, 4), 6, 1, 4),
        (lambda net: grouped(net, pointwise(net, 30)), 15, 1, 4),
        (lambda net: grouped(net, grouped(net, pointwise(net, 12), 12)), 6, 2, 2),
        (lambda net: net.concat(net.conv("image", 4, (3, 3)), grouped(net, pointwise(net, 12))), 6, 1, 4),
        (beside, 6, 2, 2),
    ],
    ids=[
        "convolution", "host and pooling", "average", "operands alike", "two groups", "two words", "one after another",
        "into a concatenation", "a pooling beside it",
    ],
)  # fmt: skip
def test_groups_that_straddle_words_begin_one(make, section, names, words):
    network = check_lowered(*built(make), TN)
    assert list(sections(network).values()) == [section] * names
    assert reads(network)[-1] == words


@pytest.mark.parametrize(
    "make",
    [
        lambda net: grouped(net, pointwise(net, 16)),
        lambda net: grouped(net, pointwise(net, 32), 32, 8),
        lambda net: grouped(net, pointwise(net, 20), 20, 4),
        lambda net: grouped(net, pointwise(net, 12), 12, 12),
        lambda net: [x := pointwise(net, 12), grouped(net, x)],
        lambda net: [net.pool(x := pointwise(net, 12), "max", (2, 2)), grouped(net, x)],
        lambda net: [net.host(x := pointwise(net, 12)), grouped(net, x)],
        lambda net: grouped(net, net.concat(pointwise(net, 4), pointwise(net, 8))),
        lambda net: [net.concat(x := pointwise(net, 12), pointwise(net, 8)), grouped(net, x)],
        lambda net: [grouped(net, x := pointwise(net, 12)), net.conv(x, 8, (3, 3))],
        lambda net: [grouped(net, x := pointwise(net, 12), 64), net.conv(x, 12, (3, 3), groups=12)],
        lambda net: grouped(net, net.conv(pointwise(net, 12), 12, (3, 3), groups=12)),
    ],
    ids=[
        "whole words", "groups that share words", "more words", "depthwise", "an output", "an output beside it",
        "read by the host", "a concatenation", "in a concatenation", "columns folded", "also depthwise",
        "made depthwise",
    ],
)  # fmt: skip
def test_channels_that_fill_their_words(make):
    graph, image = built(make)
    assert not sections(check_lowered(graph, image, TN)) and not sections(lower(graph, TN, depthwise=True))


def test_the_image_fills_its_words():
    assert not sections(check_lowered(*built(lambda net: grouped(net, "image"), 12), TN))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.integers(1, 6), st.booleans(),
)  # fmt: skip
def test_no_convolution_reads_more_and_nothing_takes_more_words(per_group, groups, between, others, filters, pooled):
    def make(net):
        x = pointwise(net, per_group * groups)
        x = grouped(net, x, between * groups * others, groups)
        x = net.pool(x, "max", (2, 2)) if pooled else x
        return grouped(net, x, filters * others, others)

    graph, image = built(make)
    network = check_lowered(graph, image, TN)
    with patch("superlip.plan.lower.sections_of", return_value={}):
        without = lower(graph, TN)
    assert [op.name for op in network.ops] == [op.name for op in without.ops]
    assert {n: s.words for n, s in network.storages().items()} == {n: s.words for n, s in without.storages().items()}
    now, before = reads(network), reads(without)
    assert all(a <= b for a, b in zip(now, before, strict=True))
    assert not sections(network) or sum(now) < sum(before)


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.CHANNELS), (2, Split.ROWS), (2, None)])
def test_instructions_of_channels_in_sections(boards, split):
    graph, image = straddling_groups(np.random.default_rng(4))
    assert sections(lower(graph, TN))
    run_compiled(graph, image, boards, split=split)
