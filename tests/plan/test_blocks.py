"""How weights are cut: every weight in one block, no block too large, and whole sets in each portion."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip.plan.allocate import DoesNotFit
from superlip.plan.blocks import Block, block_limit, conv_tiles, parameter_words, portions
from superlip.plan.lower import lower
from superlip.rtl.config import FEED_WORDS
from superlip.rtl.isa import PARAM_WORDS, table_words

TN = 8


def convolution(channels, filters, kernel, groups=1, *, table=False):
    net = Builder(np.random.default_rng(0), (channels, 9, 9))
    return lower(net.graph(net.conv("image", filters, kernel, groups=groups, table=table)), TN).ops[0]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 5), st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([1, 2, 4]), st.sampled_from([64, 256, 1024]),
)  # fmt: skip
def test_blocks_cover_a_tile_once(per_group, filters, kernel, groups, weight_words):
    op = convolution(per_group * groups, filters * groups, kernel, groups)
    (kh, kw), limit = op.conv.weights.shape[2:], block_limit(weight_words)
    assume(kw * TN <= limit)
    tiles = conv_tiles(op, weight_words)
    assert [tile.group for tile in tiles] == list(range(op.output.first_group, op.output.end_group))
    assert [m for tile in tiles for m in range(tile.first_channel, tile.end_channel)] == list(
        range(len(op.conv.weights))
    )
    for tile in tiles:
        assert tile.first_lane + tile.end_channel - tile.first_channel == tile.end_lane, "no copies here"
        covered = np.zeros((tile.blocks[-1].n1 - tile.blocks[0].n0, kh), int)
        for block in tile.blocks:
            covered[block.n0 - tile.blocks[0].n0 : block.n1 - tile.blocks[0].n0, block.ky0 : block.ky1] += 1
            several = block.n1 - block.n0 > 1
            assert block.words <= limit + several * block.words // (block.n1 - block.n0)
            assert block.words == block.sets * block.rows and block.rows % FEED_WORDS == 0
            assert 0 <= block.rows - tile.end_lane < FEED_WORDS, "no more rows than FEED's reads want"
            assert block.columns == -(-kw // block.fold)
        assert (covered == 1).all()
        assert tile.words == sum(block.words for block in tile.blocks)


def test_the_words_of_a_plain_layer_are_those_of_its_passes():
    """What the estimate counts (`Op.kernel_passes`) and what is loaded are the same number."""
    op = convolution(24, 20, (3, 3))
    tiles = conv_tiles(op, 4096)
    assert sum(tile.words for tile in tiles) == 20 * op.kernel_passes == 20 * 3 * 3 * 3


def test_a_kernel_row_beyond_a_block_is_refused():
    with pytest.raises(
        DoesNotFit, match="one kernel row needs 40 words of weights at once; the weight buffer gives 32"
    ):
        conv_tiles(convolution(8, 8, (1, 5)), 128)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 16), st.sampled_from([8, 16]))
def test_portions_are_whole_sets(n_tiles, kh, columns, rows, tm):
    block = Block(0, n_tiles, 0, kh, columns, min(rows, tm))
    parts = portions(block, tm)
    assert [word for at, count in parts for word in range(at, at + count)] == list(range(block.words))
    assert all(count % block.rows == 0 for _, count in parts)
    assert all(count <= 16 * tm for _, count in parts)


@pytest.mark.parametrize("table", [False, True])
def test_a_convolution_has_parameters_for_each_group(table):
    op = convolution(8, 20, (1, 1), table=table)
    words = PARAM_WORDS + (table_words(TN) if table else 0)
    assert parameter_words(op, conv_tiles(op, 4096), TN) == dict.fromkeys(range(3), words)


def test_operations_without_weights_have_what_their_operator_says():
    net = Builder(np.random.default_rng(0), (8, 6, 6))
    x = net.pool(net.table(net.add("image", "image")), "max", (2, 2))
    ops = lower(net.graph(x), TN).ops
    assert [parameter_words(op, None, TN) for op in ops] == [{0: PARAM_WORDS}, {0: table_words(TN)}, {}]
