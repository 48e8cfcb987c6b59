"""Which inputs of a concatenation are written where it lies, and which are moved there."""

from dataclasses import replace

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
    assert joined(lambda net: net.slice("image", 1, 4)) == [".1"]
    assert joined(lambda net: net.add("image", "image"), tables=True) == [".1"]


def test_what_works_by_lanes_writes_where_its_operands_lie():
    assert joined(lambda net: net.add("image", "image")) == []
    assert joined(lambda net: net.table("image")) == []


def bottleneck(channels, tables=False):
    """Operations of a split, an addition to its second half, and all of them joined; a word is 16."""
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    x = net.conv("image", 2 * channels, (1, 1))
    first, second = net.slice(x, 0, channels), net.slice(x, channels, 2 * channels)
    y = net.add(second, net.conv(second, channels, (1, 1)))
    network = check_lowered(net.graph(net.concat(first, second, y, tables=tables)), net.image(), 16)
    return [op.name for op in network.ops]


def test_slices_of_a_value_that_are_joined_again_are_the_value():
    """The convolution writes both; the sum, one lane further, is written there as well: one operand is moved for it."""
    assert bottleneck(4) == ["conv0", "conv3", "add4.move", "add4"]
    assert bottleneck(8) == ["conv0", "conv3", "add4.move", "add4"]


def test_slices_behind_tables_of_their_own_are_moved_one_by_one():
    assert bottleneck(4, tables=True)[-3:] == ["concat5.0", "concat5.1", "concat5.2"]


def test_slices_behind_one_table_are_moved_at_once():
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    x = net.conv("image", 8, (1, 1))
    first, second = net.slice(x, 0, 4), net.slice(x, 4, 8)
    y = net.concat(first, second, net.conv(second, 4, (1, 1)), tables=True)
    concat = net.nodes[-1]
    net.nodes[-1] = replace(concat, tables=(concat.tables[0], concat.tables[0], None))
    assert [op.name for op in check_lowered(net.graph(y), net.image(), 16).ops] == ["conv0", "conv3", "concat4.0"]


def test_rows_and_columns_that_are_repeated_are_written_where_they_are_joined():
    for tables in (False, True):
        net = Builder(np.random.default_rng(7), (8, 6, 6))
        y = net.concat(*(net.resize(net.conv("image", channels, (1, 1)), 2) for channels in (3, 12)), tables=tables)
        names = [op.name for op in check_lowered(net.graph(y), net.image()).ops]
        assert not [name for name in names if name.startswith("concat")]


def test_convolutions_write_rows_where_they_are_stacked():
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    a, b = net.conv("image", 5, (3, 1)), net.conv("image", 5, (1, 1))
    y = net.stack(a, b, net.add(b, b))
    network = check_lowered(net.graph(y), net.image())
    assert [op.name for op in network.ops] == ["conv0", "conv1", "add2", "stack3.1", "stack3.2"]
    assert network.ops[0].output.storage.name == y and network.ops[1].output.storage.name != y


def test_a_value_has_one_place():
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    x = net.conv("image", 5, (1, 1))
    network = check_lowered(net.graph(net.concat(x, x)), net.image())
    assert [op.name for op in network.ops] == ["conv0", "concat1.1"]


def test_a_table_goes_into_the_convolution_that_nobody_else_takes():
    assert joined(conv, tables=True) == []
    assert joined(lambda net: conv(net, table=True), tables=True) == [".1"]
    assert joined(conv, tables=True, also=[2]) == [".1"]
