"""What VECTOR gets for an operation, against what the operator's window says, for random shapes and parts."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip.ops.layout import Part, View
from superlip.plan.lower import lower
from superlip.rtl.isa import PARAM_WORDS

TN = 4
KINDS = ["max", "average", "average with padding", "add", "mul", "table"]


@st.composite
def operations(draw):
    """An operation without weights, behind a slice that may begin within a word."""
    rows, cols, channels = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 11))
    first = draw(st.integers(0, 6))
    net = Builder(np.random.default_rng(draw(st.integers(0, 99))), (first + channels, rows, cols))
    x = net.slice("image", first, first + channels)
    kind = draw(st.sampled_from(KINDS))
    if kind in ("add", "mul"):
        getattr(net, kind)(x, net.slice("image", first, first + channels))
    elif kind == "table":
        net.table(x)
    else:
        kernel = tuple(draw(st.integers(1, min(4, size))) for size in (rows, cols))
        pads = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
        strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        net.pool(
            x, kind.split()[0], kernel, strides=strides, pads=pads, count_include_pad=kind == "average with padding"
        )
    return lower(net.graph(net.nodes[-1].output), TN).ops[-1]


@st.composite
def ranges(draw, low, high):
    """[a, b) within [low, high), not empty."""
    first = draw(st.integers(low, high - 1))
    return first, draw(st.integers(first + 1, high))


@st.composite
def parts(draw):
    """An operation, a part of its output and rows of the part."""
    op = draw(operations())
    groups = draw(ranges(op.output.first_group, op.output.end_group))
    part = Part(*groups, *draw(ranges(0, op.grid[0])))
    return op, part, *draw(ranges(part.row0, part.row1))


def views_of(op, part):
    """Buffers that hold only what a part needs, one behind the other."""
    views, base = [], 1000
    for place, need in zip(op.inputs, op.needs(part), strict=True):
        width, groups = place.storage.width, need.group1 - need.group0
        views.append(View(base, need.row0, need.row1 - need.row0, width, need.group0, groups))
        base += views[-1].words + 1
    return views


def read(body, row, col):
    """Addresses of the first operand that VECTOR reads for one result of an instruction."""
    y, x = body["y0"] + row * body["stride_y"], body["x0"] + col * body["stride_x"]
    for iy in range(y, y + body["kh"]):
        for ix in range(x, x + body["kw"]):
            if 0 <= iy < body["height"] and 0 <= ix < body["width"]:
                yield body["source"] + iy * body["pitch"] + ix


def in_window(op, row, col):
    """Pixels of the input that a result is made of."""
    (kh, kw), (sy, sx), (top, left, *_), _ = op.window
    storage = op.inputs[0].storage
    for iy in range(row * sy - top, row * sy - top + kh):
        for ix in range(col * sx - left, col * sx - left + kw):
            if 0 <= iy < storage.height and 0 <= ix < storage.width:
                yield iy, ix


@given(parts())
@settings(deadline=None, max_examples=150)
def test_steps_cover_each_result_once(case):
    op, part, row0, row1 = case
    times = np.zeros((op.output.end_group, *op.grid), int)
    for step in op.vector.steps(op, part, row0, row1):
        times[step.group, step.row0 : step.row1, step.col0 : step.col1] += 1
    assert (times[part.group0 : part.group1, row0:row1] == 1).all()
    assert times.sum() == (part.group1 - part.group0) * (row1 - row0) * op.grid[1]


@given(parts())
@settings(deadline=None, max_examples=150)
def test_steps_read_their_windows_and_nothing_else(case):
    """Also where the buffer holds no other rows than the part needs: those outside of it are outside the image."""
    op, part, row0, row1 = case
    views = views_of(op, part)
    for step in op.vector.steps(op, part, row0, row1):
        body = op.vector.body(op, step, views)
        needed = [
            set(view.region(need.group0, need.group1, need.row0, need.row1))
            for view, need in zip(views, op.needs(step.part), strict=True)
        ]
        group = step.group + op.inputs[0].first_group - op.output.first_group
        for row in range(step.row0, step.row1):
            for col in range(step.col0, step.col1):
                addresses = list(read(body, row - step.row0, col - step.col0))
                assert addresses == [views[0].address(group, *pixel) for pixel in in_window(op, row, col)]
                assert needed[0].issuperset(addresses)
                if len(views) > 1:
                    second = body["source_b"] + (row - step.row0) * body["pitch_b"] + col - step.col0
                    assert second == views[1].address(
                        step.group + op.inputs[1].first_group - op.output.first_group, row, col
                    )
                    assert second in needed[1]


@given(parts())
@settings(deadline=None, max_examples=100)
def test_needs_are_rows_of_the_image_and_all_of_them_are_read(case):
    op, part, *_ = case
    for place, need in zip(op.inputs, op.needs(part), strict=True):
        results = itertools.product(range(part.row0, part.row1), range(op.grid[1]))
        rows = {y for result in results for y, _ in in_window(op, *result)}
        assert rows <= set(range(need.row0, need.row1)) <= set(range(place.storage.height))
        assert not rows or (min(rows), max(rows) + 1) == (need.row0, need.row1)
        assert place.first_group <= need.group0 < need.group1 <= place.end_group


@given(parts())
@settings(deadline=None, max_examples=100)
def test_steps_name_the_parameters_of_their_results(case):
    op, part, row0, row1 = case
    blocks = op.vector.params(op, TN)
    for step in op.vector.steps(op, part, row0, row1):
        assert not blocks or 0 <= step.params < len(blocks)
        if getattr(op.node, "kind", None) != "average":
            continue
        assert blocks[step.params].shape == (PARAM_WORDS, TN)
        scales = blocks[step.params].reshape(-1).view("<f4")[1::2]
        for row in range(step.row0, step.row1):
            for col in range(step.col0, step.col1):
                inside = len(list(in_window(op, row, col)))
                count = np.prod(op.node.kernel) if op.node.count_include_pad else inside
                assert (scales == op.node.scale[count]).all()
