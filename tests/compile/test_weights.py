"""Weights as words: multiplied with what the array is given for them, they are the convolution."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder, few_channels

from superlip.compile.weights import parameter_blocks, tile_words
from superlip.plan.blocks import conv_tiles, parameter_words
from superlip.plan.lower import lower

TN = 8


def convolution(channels, filters, kernel, groups=1, *, seed=0, table=False):
    net = Builder(np.random.default_rng(seed), (channels, 7, 7))
    return lower(net.graph(net.conv("image", filters, kernel, groups=groups, table=table)), TN).ops[0]


def check_sums(op, weight_words, seed):
    """Sums over blocks, with words of random input in the place of pixels, are those of the weights."""
    weights, place = op.conv.weights.astype(int), op.inputs[0]
    kh, kw = weights.shape[2:]
    x = np.random.default_rng(seed).integers(-128, 128, (place.end_group * TN, kh, kw + op.fold))
    lanes = [place.storage.lane(channel) for channel in range(place.storage.channels)]
    if op.fold > 1:  # the last channel group holds its channels ``fold`` times
        last = x[-TN:].reshape(op.fold, TN // op.fold, kh, kw + op.fold)
        last[:] = last[0]
    expected = np.zeros(op.output.end_group * TN, int)
    for m in range(len(weights)):
        first = place.offset + m // (len(weights) // op.conv.groups) * weights.shape[1]
        taken = x[lanes[first : first + weights.shape[1]], :, :kw]
        expected[op.output.storage.lane(op.output.offset + m)] = (weights[m] * taken).sum()
    for tile in conv_tiles(op, weight_words):
        sums = np.zeros(tile.end_lane, int)
        for block, words in zip(tile.blocks, tile_words(op, tile), strict=True):
            assert words.shape == (block.words, TN) and words.dtype == np.int8
            sets = words.reshape(block.n1 - block.n0, block.ky1 - block.ky0, block.columns, block.rows, TN).astype(int)
            for n, ky, column in np.ndindex(*sets.shape[:3]):
                cols = column * block.fold + np.arange(TN) * block.fold // TN
                lanes = x[(block.n0 + n) * TN : (block.n0 + n + 1) * TN, block.ky0 + ky][np.arange(TN), cols]
                sums += sets[n, ky, column, : tile.end_lane] @ lanes
            assert not sets[..., tile.end_lane :, :].any(), "rows that fill FEED's last read are zeros"
        np.testing.assert_array_equal(sums, expected[tile.group * TN : tile.group * TN + tile.end_lane])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 5), st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([1, 2, 4]), st.sampled_from([256, 1024]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_each_weight_is_a_byte_and_all_others_are_zero(per_group, filters, kernel, groups, weight_words, seed):
    check_sums(convolution(per_group * groups, filters * groups, kernel, groups, seed=seed), weight_words, seed)


@pytest.mark.parametrize("channels, fold", [(2, 4), (4, 2), (10, 4)])
def test_kernel_columns_that_share_a_pass(channels, fold):
    net = Builder(np.random.default_rng(channels), (8, 9, 9))
    x = net.conv("image", channels, (1, 1))
    op = lower(net.graph(net.conv(x, 8, (3, 3))), TN).ops[1]
    assert op.fold == fold
    check_sums(op, 4096, channels)


@pytest.mark.parametrize("weight_words", [256, 1024])
def test_channels_in_sections(weight_words):
    """Of what a convolution writes, and of what those behind it read: one with groups, one without."""
    net = Builder(np.random.default_rng(7), (8, 9, 9))
    x = net.conv("image", 12, (1, 1))
    ops = lower(net.graph(net.conv(x, 16, (3, 3), groups=2), net.conv(x, 5, (1, 1))), TN).ops
    assert ops[0].output.storage.section == 6
    for op in ops:
        check_sums(op, weight_words, 7)
    blocks = parameter_blocks(ops[0], conv_tiles(ops[0], weight_words), TN)
    for group, channels in enumerate((range(6), range(6, 12))):
        biases = blocks[group].reshape(-1).view("<i4").reshape(TN, 2)[:, 0]
        np.testing.assert_array_equal(biases, [*ops[0].conv.bias[channels], 0, 0])


@pytest.mark.parametrize("table", [False, True])
def test_parameter_blocks_are_as_large_as_was_planned(table):
    op = convolution(8, 20, (1, 1), table=table)
    tiles = conv_tiles(op, 4096)
    blocks = parameter_blocks(op, tiles, TN)
    assert {key: len(words) for key, words in blocks.items()} == parameter_words(op, tiles, TN)
    pairs = blocks[2][:8].reshape(-1).view("<i4").reshape(TN, 2)
    np.testing.assert_array_equal(pairs[:4, 0], op.conv.bias[16:20])
    np.testing.assert_array_equal(pairs[:4, 1].view("<f4"), op.conv.scale[16:20])
    assert not pairs[4:].any()
    if table:
        np.testing.assert_array_equal(blocks[0][8:].reshape(-1)[:256], op.conv.table)


def test_channels_that_are_written_several_times_have_their_weights_several_times():
    """Two channels, for a 3x3 convolution behind them that folds its columns."""
    net = Builder(np.random.default_rng(0), (8, 9, 9))
    x = net.conv("image", 2, (1, 1))
    op = lower(net.graph(net.conv(x, 8, (3, 3))), TN).ops[0]
    assert op.copies > 1
    (tile,) = conv_tiles(op, 4096)
    (words,) = tile_words(op, tile)
    size = TN // op.copies
    for copy in range(op.copies):
        np.testing.assert_array_equal(words[copy * size : copy * size + 2], op.conv.weights[:, :, 0, 0])
    assert not words[2:size].any()


@pytest.mark.parametrize("is_copied", [True, False])
def test_several_pixels_have_their_weights_and_constants(is_copied):
    """Words of a tile by lane: the filters' weights, and their bias and scale, in the lanes of each pixel."""
    graph, _ = few_channels(np.random.default_rng(1), (2,))
    if not is_copied:
        graph = replace(graph, nodes=graph.nodes[:2], outputs=[graph.nodes[1].output])
    op = lower(graph, TN).ops[0]
    (tile,) = conv_tiles(op, 1024)
    assert (op.pixels, op.copies) == (4, 4 if is_copied else 1)
    assert (tile.first_lane, tile.end_lane, tile.blocks[0].rows) == (0, TN if is_copied else 2, TN)
    weights = np.concatenate(tile_words(op, tile)).reshape(-1, TN, TN).transpose(1, 0, 2).reshape(TN, -1)
    np.testing.assert_array_equal(weights[:, : op.conv.weights.shape[1]], op.conv.weights[:, :, 0, 0])
    params = parameter_blocks(op, [tile], TN)[0].reshape(TN, 8)
    np.testing.assert_array_equal(params[:, :4].copy().view("<i4")[:, 0], np.tile(graph.nodes[0].bias, 4))
    np.testing.assert_array_equal(params[:, 4:].copy().view("<f4")[:, 0], np.tile(graph.nodes[0].scale, 4))
