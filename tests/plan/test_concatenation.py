"""Which inputs of a concatenation are written where it lies, and which are moved there."""

import numpy as np
from lowered import check_lowered
from nets import Builder


def joined(make, *, tables=False, also=()):
    """Names of the moves in a concatenation of what ``make`` gives, behind 8 and before 3 channels; a word is 8."""
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    first, last = net.conv("image", 8, (1, 1)), net.conv("image", 3, (1, 1))
    y = net.concat(first, make(net), last, tables=tables)
    network = check_lowered(net.graph(y, *(net.nodes[at].output for at in also)), net.image())
    name = next(node.name for node in net.nodes if node.output == y)
    return [op.name.removeprefix(name) for op in network.ops if op.name.startswith(name)]


def conv(net, **fields):
    return net.conv("image", 5, (1, 1), **fields)


def test_convolutions_and_concatenations_write_in_any_lane():
    assert joined(conv) == []
    assert joined(lambda net: net.concat(conv(net), conv(net))) == []


def test_a_pooling_writes_whole_words():
    assert joined(lambda net: net.pool("image", "average", (1, 1))) == []
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    y = net.concat(net.conv("image", 5, (1, 1)), net.pool("image", "average", (1, 1)))
    assert [op.name for op in check_lowered(net.graph(y), net.image()).ops] == ["conv0", "pool1", "concat2.1"]


def test_others_are_moved():
    assert joined(lambda net: net.add("image", "image")) == [".1"]
    assert joined(lambda net: net.slice("image", 1, 4)) == [".1"]


def test_a_value_has_one_place():
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    x = net.conv("image", 5, (1, 1))
    network = check_lowered(net.graph(net.concat(x, x)), net.image())
    assert [op.name for op in network.ops] == ["conv0", "concat1.1"]


def test_a_table_goes_into_the_convolution_that_nobody_else_takes():
    assert joined(conv, tables=True) == []
    assert joined(lambda net: conv(net, table=True), tables=True) == [".1"]
    assert joined(conv, tables=True, also=[2]) == [".1"]
