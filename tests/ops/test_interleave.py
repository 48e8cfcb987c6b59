"""Rows of several tensors, in turn or one after the other."""

import numpy as np
import pytest
from functional import run_compiled
from nets import Builder

from superlip.graph import ir
from superlip.graph.session import open_session
from superlip.ops import apply, spec_of
from superlip.plan.moved_by_host import moved_by_host


def in_turn(net, names, tables):
    c, h, w = net.values[names[0]].shape
    net.nodes.append(ir.Interleave(name="turns", inputs=tuple(names), output="turns.y", tables=tables))
    return net._value("turns.y", (c, len(names) * h, w))


def test_rows_come_in_turn_and_through_tables():
    net = Builder(np.random.default_rng(0), (3, 4, 5))
    in_turn(net, ["image", "image"], (None, -1 - np.arange(256).astype(np.int8)))
    image = net.rng.integers(-128, 128, (2, 3, 4, 5)).astype(np.int8)
    found = apply(net.nodes[0], [image, image], net.values)
    np.testing.assert_array_equal(found[:, :, ::2], image)
    np.testing.assert_array_equal(found[:, :, 1::2], -1 - image)


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("count", [2, 3])
def test_the_boards_and_the_host_do_it(boards, count):
    """The larger of tensors whose lanes begin at different places, too."""
    net = Builder(np.random.default_rng(count), (6, 4, 5))
    wide = net.conv("image", 11 * count, (1, 1))
    names = [net.slice(wide, 11 * n, 11 * n + 11) for n in range(count)]
    table = net.rng.integers(-128, 128, 256).astype(np.int8)
    turns = in_turn(net, names, (table, *[None] * (count - 1)))
    largest = net.pool(turns, "max", (count, 1), strides=(count, 1))
    graph = net.graph(net.conv(largest, 4, (1, 1)))
    run_compiled(graph, net.image(), boards)
    if boards == 1:
        hosted = moved_by_host(graph, turns)
        session = open_session(spec_of(graph.nodes[-3]).host_model(graph.values), is_optimized=False)
        images = [net.rng.integers(-128, 128, (1, 11, 4, 5)).astype(np.int8) for _ in names]
        feeds = {info.name: image for info, image in zip(session.get_inputs(), images, strict=True)}
        np.testing.assert_array_equal(session.run(None, feeds)[0], apply(graph.nodes[-3], images, graph.values))
        run_compiled(hosted, net.image(), boards)


def one_after_another(net, names, axis, tables):
    shapes = [list(net.values[name].shape) for name in names]
    shapes[0][axis] = sum(shape[axis] for shape in shapes)
    net.nodes.append(ir.Stack(name="stack", inputs=tuple(names), output="stack.y", axis=axis, tables=tables))
    return net._value("stack.y", tuple(shapes[0]))


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("axis", [1, 2])
def test_the_boards_and_the_host_stack(boards, axis):
    """Tensors of different sizes, behind a convolution each, and the first of them twice."""
    net = Builder(np.random.default_rng(axis), (6, 5, 5))
    kernel = (3, 1) if axis == 1 else (1, 3)
    a, b = net.conv("image", 11, (1, 1)), net.conv("image", 11, kernel)
    tables = None, net.rng.integers(-128, 128, 256).astype(np.int8), None
    stack = one_after_another(net, [a, b, a], axis, tables)
    graph = net.graph(net.conv(stack, 4, (3, 3), pads=(1, 1, 1, 1)))
    assert graph.values[stack].shape == ((11, 13, 5) if axis == 1 else (11, 5, 13))
    run_compiled(graph, net.image(), boards)
    node = graph.nodes[2]
    session = open_session(spec_of(node).host_model(graph.values), is_optimized=False)
    images = [net.rng.integers(-128, 128, (1, *graph.values[name].shape)).astype(np.int8) for name in node.inputs]
    feeds = {info.name: image for info, image in zip(session.get_inputs(), images, strict=True)}
    found = apply(node, images, graph.values)
    np.testing.assert_array_equal(session.run(None, feeds)[0], found)
    first = images[0].shape[1 + axis]
    np.testing.assert_array_equal(found.take(range(first), 1 + axis), images[0])
    run_compiled(moved_by_host(graph, stack), net.image(), boards)
