"""What an operation needs and holds, against each pixel and lane by itself."""

import itertools

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip.ops.layout import Part
from superlip.plan.lower import lower

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(*[st.integers(0, 2)] * 4)


def pixels(results, kernel, strides, pads, dilations, size):
    """Pixels of an input of some size that are in the windows of some results."""
    found = set()
    for (row, col), ky, kx in itertools.product(results, range(kernel[0]), range(kernel[1])):
        y = row * strides[0] - pads[0] + ky * dilations[0]
        x = col * strides[1] - pads[1] + kx * dilations[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            found.add((y, x))
    return found


@st.composite
def convolutions(draw):
    """A convolution, with a pooling where it is fused."""
    rows, cols = draw(st.integers(6, 12)), draw(st.integers(6, 12))
    net = Builder(np.random.default_rng(draw(st.integers(0, 9))), (16, rows, cols))
    dilations = draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))
    x = net.conv("image", 5, draw(pair), strides=draw(pair), pads=draw(sides), dilations=dilations)
    size = net.values[x].shape[1:]
    if draw(st.booleans()) and min(size) >= 3:
        kernel = draw(pair)
        pads = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
        x = net.pool(x, "max", kernel, strides=draw(pair), pads=pads)
    op = lower(net.graph(x), 8).ops[0]
    assume(op.window.kernel != (1, 1) or op.pool is not None)
    return op


@given(convolutions(), st.data())
@settings(deadline=None, max_examples=150)
def test_sums_and_input_rows_are_what_windows_reach(op, data):
    row0, col0 = (data.draw(st.integers(0, n - 1)) for n in op.grid)
    row1, col1 = (data.draw(st.integers(a + 1, n)) for a, n in zip((row0, col0), op.grid, strict=True))
    block = set(itertools.product(range(row0, row1), range(col0, col1)))
    if op.pool is not None:
        block = pixels(block, op.pool.kernel, op.pool.strides, op.pool.pads, (1, 1), op.sums_size)
    a, b, c, d = op.sums(row0, row1, col0, col1)
    assert [(min(p), max(p) + 1) for p in zip(*block, strict=True)] == [(a, b), (c, d)]
    reached = pixels(block, *op.window, op.inputs[0].size)
    low, high = op.input_rows(row0, row1)
    assert {y for y, _ in reached} <= set(range(low, high))
    (need,) = op.needs(Part(0, 1, row0, row1))
    assert (need.group0, need.group1) == (op.inputs[0].first_group, op.inputs[0].end_group)
    assert (need.row0, need.row1) == (low, high)


def test_an_empty_part_needs_nothing():
    net = Builder(np.random.default_rng(0), (16, 4, 4))
    (op,) = lower(net.graph(net.add("image", "image")), 8).ops
    assert all(need.empty for need in op.needs(Part(1, 1, 0, 4)))
    assert all(need.empty for need in op.needs(Part(0, 1, 2, 2)))


def test_lanes_of_copies_name_their_channel():
    """A last word of 3 channels, which the next convolution wants four times; words of 16."""
    net = Builder(np.random.default_rng(0), (16, 5, 5))
    op, behind = lower(net.graph(net.conv(net.conv("image", 19, (1, 1)), 4, (3, 3))), 16).ops
    assert (op.copies, behind.fold) == (4, 4)
    assert op.lanes(0).all()
    assert [op.channel(0, lane) for lane in range(16)] == list(range(16))
    held = np.flatnonzero(op.lanes(1))
    assert held.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14]
    assert [op.channel(1, lane) for lane in held] == [16, 17, 18] * 4


def test_lanes_of_sections_name_their_channel():
    net = Builder(np.random.default_rng(0), (8, 5, 5))
    op, _ = lower(net.graph(net.conv(net.conv("image", 12, (1, 1)), 16, (3, 3), groups=2)), 8).ops
    assert [[op.channel(group, lane) for lane in range(6)] for group in range(2)] == [[*range(6)], [*range(6, 12)]]


def test_passes():
    """Kernel rows and columns of each group of the input that a tile reads; folded ones share."""
    net = Builder(np.random.default_rng(0), (40, 6, 6))

    def passes(x, **fields):
        return lower(net.graph(net.conv(x, 40, (3, 3), **fields)), 16).ops[-1].kernel_passes

    x = net.table("image")
    assert passes(x) == 3 * 9
    assert passes(x, groups=40) == 9
    assert passes(net.conv(x, 20, (1, 1))) == 9 + 3


def test_lanes_of_several_pixels_have_their_filters():
    """Four pixels of three channels in words of 16, at the end of a word and at the beginning of the next."""
    net = Builder(np.random.default_rng(0), (5, 12, 12))
    parts = [net.pool(net.conv("image", n, (3, 3)), "max", (2, 2), strides=(2, 2)) for n in (14, 4)]
    first, op, _ = lower(net.graph(net.conv(net.concat(*parts), 4, (1, 1))), 16).ops
    assert (first.pixels, op.pixels, op.copies, len(op.conv.weights)) == (1, 4, 1, 16)
    nothing = [-1, -1]
    assert first.filters(0).tolist() == [*range(14), *nothing]
    assert op.filters(0).tolist() == [*nothing, 4, 5, *nothing, 8, 9, *nothing, 12, 13, *nothing, 0, 1]
    assert op.filters(1).tolist() == [2, 3, *nothing, 6, 7, *nothing, 10, 11, *nothing, 14, 15, *nothing]
    for group in range(2):
        held = np.flatnonzero(op.filters(group) >= 0)
        assert [op.channel(group, lane) for lane in held] == (op.filters(group)[held] % 4).tolist()
        assert op.lanes(group).all()


def test_copies_of_several_pixels():
    """Two pixels of each of three channels, held four times: the first half of the lanes is the first pixel's."""
    net = Builder(np.random.default_rng(0), (16, 12, 12))
    x = net.conv(net.conv("image", 4, (1, 1)), 3, (3, 3))
    x = net.conv(net.pool(x, "max", (2, 2), strides=(2, 2)), 4, (3, 3))
    _, op, behind = lower(net.graph(x), 16).ops
    assert (op.pixels, op.copies, behind.fold) == (2, 4, 4)
    assert op.is_copied(0)
    assert op.filters(0).tolist() == [0, 1, 2, -1, 0, 1, 2, -1, 3, 4, 5, -1, 3, 4, 5, -1]
    assert [op.channel(0, lane) for lane in range(8, 11)] == [0, 1, 2]
