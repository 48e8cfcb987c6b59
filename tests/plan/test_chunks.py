"""Chunks and strips: every pixel of a part in exactly one of them, and each fits."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip.ops.layout import Part
from superlip.plan.allocate import DoesNotFit
from superlip.plan.chunks import VECTOR_TASK, chunks_of, strips_of, vector_chunks
from superlip.plan.lower import lower
from superlip.plan.timing import block_cycles
from superlip.rtl.config import NodeConfig


def convolution(height, width, pool=None):
    """An operation of 3x3 sums, with a pooling (kernel, stride) fused into it or none."""
    net = Builder(np.random.default_rng(0), (9, height, width))
    x = net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))
    net.nodes[0].scale[:] = 0.001
    if pool is not None:
        kernel, stride = pool
        x = net.pool(x, "max", (kernel, kernel), strides=(stride, stride))
    return lower(net.graph(x), 8).ops[0]


@settings(max_examples=80, deadline=None)
@given(st.integers(4, 20), st.integers(4, 24), st.sampled_from([None, (2, 2), (3, 3)]), st.integers(9, 200), st.data())
def test_chunks_cover_a_part_once_and_fit(height, width, pool, accumulators, data):
    op = convolution(height, width, pool)
    row0 = data.draw(st.integers(0, op.grid[0] - 1))
    part = Part(0, 1, row0, data.draw(st.integers(row0 + 1, op.grid[0])))
    assume(op.pooling[0] * op.pooling[1] <= accumulators)
    covered = np.zeros(op.grid, int)
    chunks = chunks_of(op, part, accumulators)
    for chunk in chunks:
        covered[chunk.row0 : chunk.row1, chunk.col0 : chunk.col1] += 1
        assert 0 < chunk.sums(op) <= accumulators
        assert chunk.pixels(op, 4) - chunk.sums(op) == 3 * chunk.sums(op) // _width(op, chunk)
    assert (covered[part.row0 : part.row1] == 1).all() and covered.sum() == (part.row1 - part.row0) * op.grid[1]
    assert sum(chunk.vector_cycles(op) for chunk in chunks) == covered.sum() * math.prod(op.pooling)
    assert chunks == sorted(chunks, key=lambda chunk: (chunk.row0, chunk.col0))
    rows_fit = op.pooling[0] * (op.sums_size or op.grid)[1] <= accumulators
    assert not rows_fit or all((chunk.col0, chunk.col1) == (0, op.grid[1]) for chunk in chunks)


def _width(op, chunk):
    *_, first, end = op.sums(chunk.row0, chunk.row1, chunk.col0, chunk.col1)
    return end - first


@settings(max_examples=80, deadline=None)
@example(4, 20, 8, 1, 2)
@given(st.integers(4, 40), st.integers(4, 20), st.integers(8, 120), st.integers(1, 30), st.integers(1, 4))
def test_strips_join_chunks_in_order_as_far_as_they_fit(height, width, accumulators, limit, each):
    """``each``: words of a row, so that a single row may be beyond the limit."""
    op = convolution(height, width)
    chunks = chunks_of(op, Part(0, 1, 0, height), accumulators)
    strips = strips_of(chunks, lambda row0, row1: each * (row1 - row0), limit)
    assert [chunk for strip in strips for chunk in strip.chunks] == chunks
    for strip, following in zip(strips, [*strips[1:], None], strict=True):
        assert (strip.row0, strip.row1) == (strip.chunks[0].row0, strip.chunks[-1].row1)
        rows = {chunk.row0 for chunk in strip.chunks}
        assert each * (strip.row1 - strip.row0) <= limit or len(rows) == 1
        if following is not None:
            assert following.row0 == strip.row1, "a row lies in one strip"
            assert each * (following.chunks[0].row1 - strip.row0) > limit, "strips are as long as they can be"


def test_a_window_that_does_not_fit():
    with pytest.raises(DoesNotFit, match="a pooling over 3 x 3 sums at once needs more than 8 accumulators"):
        chunks_of(convolution(9, 9, (3, 3)), Part(0, 1, 0, 3), 8)


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 90), st.integers(4, 90), st.integers(1, 2), st.booleans(), st.sampled_from([16, 64]), st.data())
def test_chunks_of_vector_cover_a_part_once_and_fit(height, width, stride, depthwise, most, data):
    """Of a depthwise convolution as few as the lanes' rows let be, as even as can be; of a sum in one pass of time."""
    net, config = Builder(np.random.default_rng(0), (8, height, width)), NodeConfig(depthwise_rows=most)
    if depthwise:
        x = net.conv("image", 8, (3, 3), strides=(stride, stride), pads=(1,) * 4, groups=8)
    else:
        x = net.add("image", "image")
    op = lower(net.graph(x), 8, depthwise=True).ops[0]
    row0 = data.draw(st.integers(0, op.grid[0] - 1))
    part = Part(0, 1, row0, data.draw(st.integers(row0 + 1, op.grid[0])))
    chunks = vector_chunks(op, part, config)
    assert [row for chunk in chunks for row in range(chunk.row0, chunk.row1)] == list(range(part.row0, part.row1))
    sizes = [chunk.row1 - chunk.row0 for chunk in chunks]
    for rows in sizes:
        assert rows == 1 or block_cycles(op, rows, op.grid[1]) <= VECTOR_TASK
    if depthwise:
        assert (max(sizes) - 1) * stride + 3 <= most and max(sizes) - min(sizes) <= 1
    else:
        assert max(sizes) * op.grid[1] <= max(config.acc_words // 2, op.grid[1])
