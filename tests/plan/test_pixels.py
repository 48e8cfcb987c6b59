"""Convolutions that make several pixels of a pooling's window at once: which ones, and the same bits."""

import dataclasses

import numpy as np
import pytest
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import check_lowered
from nets import Builder, few_channels, rising

from superlip.boards import TARGETS
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.pixels import share_pixels


def node_of(tn, **sizes):
    """A small node of ``tn`` channels a word."""
    tiny = TARGETS["tiny"]
    return dataclasses.replace(tiny, node=dataclasses.replace(tiny.node, tm=tn, tn=tn, **sizes))


def layer(channels=4, kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), *, tn=16, inputs=3, size=(12, 14), **fields):
    """What a convolution and the pooling behind it become; the bits are checked."""
    net = Builder(np.random.default_rng(1), (inputs, *size))
    geometry = {name: fields.pop(name) for name in ("dilations", "groups") if name in fields}
    x = net.conv("image", channels, (3, 3), pads=(1, 1, 1, 1), **geometry)
    net.nodes[-1] = dataclasses.replace(net.nodes[-1], **fields)
    network = check_lowered(net.graph(net.pool(x, "max", kernel, strides=strides, pads=pads)), net.image(), tn)
    return network.ops[0], network


def test_all_pixels_of_a_window_where_lanes_are_there_for_them():
    """3 channels of 4x4 are 48 taps, a pass for a quarter of the pixels where 27 taps took two."""
    op, network = layer()
    assert (op.pixels, op.pool, op.grid, op.window.kernel) == (4, None, (6, 7), (1, 1))
    assert network.taps.window.kernel == (4, 4) and network.taps.window.strides == (2, 2)
    assert network.input.storage.channels == 48 and network.input.size == (6, 7)
    assert op.macs == 4 * 27 * 12 * 14 and op.name == "conv0 + pool1"


def test_two_pixels_below_each_other_and_the_others_as_before():
    """The channels of a convolution are there four times, for its kernel's columns: its stride must stay 1."""
    net = Builder(np.random.default_rng(1), (16, 12, 14))
    x = net.conv(net.conv("image", 4, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    network = check_lowered(net.graph(net.pool(x, "max", (2, 2), strides=(2, 2))), net.image(), 16)
    op = network.ops[1]
    assert (op.pixels, op.fold, op.window.kernel, op.window.strides) == (2, 4, (4, 3), (2, 1))
    assert (op.pool.kernel, op.pool.strides, op.sums_size, op.grid) == ((1, 2), (1, 2), (6, 14), (6, 7))


@pytest.mark.parametrize(
    "channels, tn, pixels",
    [(2, 8, 4), (3, 8, 2), (4, 8, 2), (5, 8, 1), (16, 64, 4), (17, 64, 2), (32, 64, 2), (33, 64, 1)],
)
def test_as_many_as_there_are_lanes_for(channels, tn, pixels):
    assert layer(channels, tn=tn)[0].pixels == pixels


@pytest.mark.parametrize(
    "kernel, strides, pads, pixels",
    [
        ((3, 1), (3, 1), (0, 0, 0, 0), 4),  # one of them twice
        ((1, 2), (1, 2), (0, 0, 0, 0), 2),
        ((2, 2), (2, 2), (1, 1, 0, 0), 1),
        ((2, 2), (2, 2), (0, 1, 0, 1), 2),
        ((2, 2), (2, 2), (0, 0, 1, 1), 4),  # odd sizes of the sums would need the padding below
        ((3, 3), (3, 3), (0, 0, 0, 0), 4),
    ],
)
def test_windows(kernel, strides, pads, pixels):
    assert layer(kernel=kernel, strides=strides, pads=pads)[0].pixels == pixels


def test_a_window_that_leaves_the_sums_is_pooled_as_before():
    for size, pixels in (((12, 13), 2), ((13, 12), 2), ((13, 13), 1), ((12, 12), 4)):
        assert layer(pads=(0, 0, 1, 1), size=size)[0].pixels == pixels, size


@pytest.mark.parametrize(
    "fields", [{"dilations": (2, 2)}, {"groups": 3, "channels": 3}, {"table": rising(np.random.default_rng(0))[::-1]}]
)
def test_not_done(fields):
    op, _ = layer(**fields)
    assert op.pixels == 1


def test_a_table_that_rises_is_no_hindrance():
    assert layer(table=rising(np.random.default_rng(0)))[0].pixels == 4


def test_only_where_it_saves_cycles():
    """A kernel of 3x3 grows by 7/9 for a quarter of the pixels, one of 1x1 fourfold."""
    net = Builder(np.random.default_rng(1), (16, 12, 12))
    x = net.add("image", "image")  # no copies
    for kernel, pixels in (((1, 1), 1), ((3, 3), 4)):
        y = net.pool(net.conv(x, 4, kernel), "max", (2, 2), strides=(2, 2))
        assert lower(net.graph(y), 16).ops[-1].pixels == pixels
    few = Builder(np.random.default_rng(1), (16, 4, 4))  # passes take as long as the next weights
    y = few.pool(few.conv(few.add("image", "image"), 4, (3, 3)), "max", (2, 2), strides=(2, 2))
    assert lower(few.graph(y), 16).ops[-1].pixels == 1


@pytest.mark.parametrize(
    "weight_words, pixels", [(4 * 3 * 16, 2), (4 * 4 * 16 - 1, 2), (4 * 4 * 16, 4), (4 * 48 - 1, 1)]
)
def test_a_kernel_row_must_fit_the_weight_buffer(weight_words, pixels):
    net = Builder(np.random.default_rng(1), (20, 12, 12))
    x = net.add("image", "image")
    y = net.pool(net.conv(x, 4, (3, 3)), "max", (2, 2), strides=(2, 2))
    assert lower(net.graph(y), 16, weight_words=weight_words).ops[-1].pixels == pixels


def test_kernels_and_strides_are_those_that_matmul_can_have():
    """A stride of 128 in front of a pooling's of 2 would be one more than there can be."""
    for stride, shared in ((127, True), (128, False)):
        net = Builder(np.random.default_rng(1), (3, 3 * stride + 1, 3 * stride + 1))
        net.pool(net.conv("image", 4, (1, 1), strides=(stride, stride)), "max", (2, 2), strides=(2, 2))
        conv, pool = net.nodes
        found = share_pixels(conv, pool, net.values, 16, copied=False, is_first=True, row_words=1 << 20)
        assert (found is not None) == shared


def test_results_that_straddle_two_words():
    """Parts of a concatenation, whose pixels' lanes begin again behind the last one of their word."""
    net = Builder(np.random.default_rng(2), (3, 12, 12))
    parts = []
    for channels in (3, 3, 4, 2):
        x = net.conv("image", channels, (3, 3), pads=(1, 1, 1, 1))
        parts.append(net.pool(x, "max", (2, 2), strides=(2, 2)))
    network = check_lowered(net.graph(net.conv(net.concat(*parts), 5, (1, 1))), net.image(), 8)
    assert [op.pixels for op in network.ops[:4]] == [2, 2, 2, 4]
    assert [(op.output.first_group, op.output.end_group) for op in network.ops[:4]] == [(0, 1), (0, 1), (0, 2), (1, 2)]
    for boards, split in ((1, None), (2, Split.ROWS), (2, Split.CHANNELS)):
        run_compiled(net.graph(net.conv(net.concat(*parts), 5, (1, 1))), net.image(), boards, split=split, seeds=(0,))


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS), (2, None)])
@pytest.mark.parametrize("tn, channels", [(8, (2, 4)), (8, (1, 2, 3)), (16, (4, 8)), (32, (5, 16)), (64, (16, 32))])
def test_on_boards(tn, channels, boards, split):
    """Odd sizes, with and without a table; the words of some hold their channels several times."""
    graph, image = few_channels(np.random.default_rng(tn), channels, size=(33, 31) if tn == 64 else (17, 15))
    compiled = run_compiled(graph, image, boards, split=split, seeds=(0,), target=node_of(tn))
    assert compiled.network.ops[0].pixels > 1 and compiled.network.ops[1].pixels > 1
    assert any(op.copies > 1 and op.pixels > 1 for op in compiled.network.ops)


kernels, sides = st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(0, 1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 12), channels=st.integers(1, 8), size=kernels,
    pads=st.tuples(sides, sides, sides, sides), strides=kernels, window=kernels, steps=kernels,
    ends=st.tuples(sides, sides, sides, sides), tn=st.sampled_from([8, 16, 32]), table=st.booleans(),
)  # fmt: skip
def test_any_convolution_and_pooling(
    seed, inputs, channels, size, pads, strides, window, steps, ends, tn, table
):  # fmt: skip
    """The words that are written are the golden's, whatever is done at once."""
    rng = np.random.default_rng(seed)
    net = Builder(rng, (inputs, 13, 16))
    x = net.conv("image", 2, (1, 1)) if seed % 2 else "image"
    x = net.conv(x, channels, size, pads=pads, strides=strides)
    net.nodes[-1] = dataclasses.replace(net.nodes[-1], table=rising(rng) if table else None)
    window = tuple(min(n, k) for n, k in zip(net.values[x].shape[1:], window, strict=True))
    ends = tuple(min(end, k - 1) for end, k in zip(ends, (*window, *window), strict=True))
    x = net.pool(x, "max", window, strides=steps, pads=ends)
    graph, image = net.graph(net.conv(x, 3, (1, 1))), net.image()
    check_lowered(graph, image, tn)
    run_compiled(graph, image, 1 + seed % 2, seeds=(0,), target=node_of(tn))
