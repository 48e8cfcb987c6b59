"""Kernels in channels: im2col of the image, and copies of channels for kernel columns that share a pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import check_lowered
from nets import Builder

from superlip.ops import Window
from superlip.ops.arithmetic import convolve
from superlip.ops.layout import Placement, Storage
from superlip.plan.folding import Taps, fewest_passes, folding_pays, image_reader, passes, taps_fold
from superlip.plan.lower import lower

sides = st.integers(0, 2)


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(sides, sides, sides, sides), dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_a_1x1_convolution_of_the_taps_is_the_convolution(kernel, strides, pads, dilations, seed):
    rng = np.random.default_rng(seed)
    images, weights = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((2, 3, 7, 6), (4, 3, *kernel)))
    bias, zero_point = np.zeros(4, np.int32), int(rng.integers(-128, 128))
    geometry = {"strides": strides, "pads": pads, "dilations": dilations}
    wanted = convolve(images, weights, bias, **geometry, groups=1, pad_value=zero_point)
    taps = Taps(Window(kernel, **geometry), zero_point, *wanted.shape[2:])(images)
    plain = Window()._asdict()
    del plain["kernel"]
    found = convolve(taps, weights.reshape(4, -1, 1, 1), bias, **plain, groups=1, pad_value=0)
    np.testing.assert_array_equal(found, wanted)


def network_of(make, channels=3, tn=8):
    """The network of what ``make`` gives for an image, lowered."""
    net = Builder(np.random.default_rng(5), (channels, 9, 9))
    outputs = make(net)
    return check_lowered(net.graph(*([outputs] if isinstance(outputs, str) else outputs)), net.image(), tn)


@pytest.mark.parametrize("channels, folded", [(1, True), (3, True), (7, True), (8, False)])
def test_the_first_kernel_is_folded_where_that_saves_passes(channels, folded):
    network = network_of(lambda net: net.conv("image", 4, (3, 3)), channels)
    assert (network.taps is not None) == folded
    assert network.input.channels == (9 * channels if folded else channels)
    assert network.ops[0].macs == 4 * channels * 9 * 49


@pytest.mark.parametrize(
    "make",
    [
        lambda net: net.conv("image", 3, (3, 3), groups=3),
        lambda net: net.pool("image", "max", (3, 3)),
        lambda net: [net.conv("image", 4, (3, 3)), net.conv("image", 4, (3, 1))],
        lambda net: [net.conv("image", 4, (3, 3)), net.conv("image", 4, (3, 3), pads=(1, 0, 0, 0))],
    ],
)
def test_an_image_that_stays_as_it_is(make):
    network = network_of(make)
    assert network.taps is None and network.input.channels == 3


def test_kernels_of_one_window_are_folded_together():
    network = network_of(lambda net: [net.conv("image", 4, (3, 3)), net.conv("image", 5, (3, 3))])
    assert network.taps is not None and network.input.channels == 27
    assert [op.window.kernel for op in network.ops] == [(1, 1)] * 2


def folds(channels, kernel=(3, 3), **fields):
    """(copies, fold) of a convolution and the one behind it, with words of 16 channels."""
    net = Builder(np.random.default_rng(5), (16, 9, 9))
    y = net.conv(net.conv("image", channels, (1, 1)), 8, kernel, **fields)
    first, second = lower(net.graph(y), 16).ops
    assert second.copies == first.fold == 1
    return first.copies, second.fold


@pytest.mark.parametrize("channels, copies", [(4, 4), (5, 2), (8, 2), (9, 1), (16, 1), (20, 4), (25, 1)])
def test_copies_fill_the_last_word(channels, copies):
    assert folds(channels) == (copies, copies)


@pytest.mark.parametrize("fields", [{"kernel": (3, 1)}, {"strides": (1, 2)}, {"dilations": (1, 2)}, {"groups": 4}])
def test_no_copies_where_columns_cannot_share_a_pass(fields):
    assert folds(4, **fields) == (1, 1)


def moves(make, filters, *, also=False):
    """(copies, fold) of all operations, where a convolution takes what ``make`` gives."""
    net = Builder(np.random.default_rng(5), (16, 9, 9))
    x = make(net)
    outputs = [net.conv(x, filters, (3, 3)), *([net.conv(x, 8, (3, 3))] if also else [])]
    return [(op.copies, op.fold) for op in check_lowered(net.graph(*outputs), net.image(), 16).ops]


def a_slice(net):
    return net.slice(net.conv("image", 20, (1, 1)), 3, 7)


def test_a_few_channels_of_a_value_are_moved_to_where_they_lie_several_times():
    assert moves(a_slice, 8) == [(1, 1), (4, 1), (1, 4)]
    assert moves(a_slice, 8, also=True) == [(1, 1), (4, 1), (1, 4), (1, 4)]
    assert moves(lambda net: net.table(net.conv("image", 4, (1, 1))), 8) == [(1, 1), (1, 1), (4, 1), (1, 4)]


def test_they_stay_where_that_would_take_longer():
    net = Builder(np.random.default_rng(5), (16, 9, 9))
    y = net.conv(a_slice(net), 8, (3, 3), strides=(3, 1))
    assert [(op.copies, op.fold) for op in lower(net.graph(y), 16).ops] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    "channels, kernel, copies, count", [(8, (3, 3), 1, 9), (9, (3, 3), 1, 18), (4, (3, 3), 2, 6), (12, (2, 3), 4, 8)]
)
def test_passes_over_the_pixels(channels, kernel, copies, count):
    """Of words of 8 channels."""
    net = Builder(np.random.default_rng(5), (channels, 9, 9))
    net.conv("image", 4, kernel)
    assert passes(net.nodes[0], channels, 8, copies) == count


@pytest.mark.parametrize("channels, folds", [(1, True), (7, True), (8, False)])
def test_taps_that_make_fewer_passes(channels, folds):
    net = Builder(np.random.default_rng(5), (channels, 9, 9))
    net.conv("image", 4, (3, 3))
    assert taps_fold(net.nodes[0], channels, 8) == folds


def test_the_only_reader_of_the_image():
    net = Builder(np.random.default_rng(5), (3, 9, 9))
    x = net.conv("image", 4, (3, 3))
    one, graph = list(net.nodes), net.graph(x)
    assert image_reader(graph, one, [x]) is one[0]
    assert image_reader(graph, one, ["image"]) is None
    net.conv("image", 4, (3, 3))
    assert image_reader(net.graph(x), net.nodes, [x]) is None


@pytest.mark.parametrize(
    "lane, channels, fields, filters, pays",
    [
        (0, 4, {}, 8, True), (14, 4, {}, 8, True), (0, 9, {}, 8, False), (0, 4, {"strides": (1, 2)}, 8, False),
        (0, 20, {}, 8, True), (0, 4, {"kernel": (1, 3)}, 8, False), (0, 4, {"kernel": (1, 3)}, 32, True),
    ],
)  # fmt: skip
def test_when_it_pays_to_move(lane, channels, fields, filters, pays):
    net = Builder(np.random.default_rng(5), (channels, 9, 9))
    kernel = fields.pop("kernel", (3, 3))
    net.conv("image", filters, kernel, pads=(kernel[0] // 2, 1) * 2, **fields)
    source = Placement(Storage("x", lane + channels + 3, 9, 9, 16), lane, channels)
    assert folding_pays(net.nodes[0], source, (filters, 9, 9)) == pays


@pytest.mark.parametrize(
    "channels, kernel, from_image, passes",
    [(4, (3, 3), False, 3), (8, (3, 3), False, 6), (9, (3, 3), False, 9), (20, (3, 3), False, 12), (4, (3, 3), True, 3),
     (1, (3, 3), True, 1), (40, (1, 1), True, 3)],
)  # fmt: skip
def test_passes(channels, kernel, from_image, passes):
    net = Builder(np.random.default_rng(5), (channels, 9, 9))
    net.conv("image", 8, kernel)
    assert fewest_passes(net.nodes[0], channels, 16, from_image=from_image) == passes


@pytest.mark.parametrize("first", [(0,), (-2, 3), (0, 4, 8)])
def test_pieces_of_the_image_lie_side_by_side(first):
    """Rows outside are padding; each piece is what the window sees of the image moved up or down."""
    random = np.random.default_rng(2)
    images = random.integers(-128, 128, (2, 3, 9, 7)).astype(np.int8)
    window, rows = Window((3, 2), (1, 2), (0, 1, 0, 0)), 5
    taps = Taps(window, 7, rows, 4, first)(images)
    assert taps.shape == (2, len(first) * 18, rows, 4)
    far = np.pad(images, ((0, 0), (0, 0), (20, 20), (0, 0)), constant_values=7)
    for number, row in enumerate(first):
        moved = Taps(window, 7, rows, 4)(far[:, :, 20 + row :])
        np.testing.assert_array_equal(taps[:, 18 * number : 18 * (number + 1)], moved)
