"""Kernels in channels: im2col of the image, and copies of channels for kernel columns that share a pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import check_lowered
from nets import Builder

from superlip.ops import Window
from superlip.ops.arithmetic import convolve
from superlip.plan.folding import Taps, image_reader, passes, taps_fold
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
        lambda net: [net.conv("image", 4, (3, 3)), net.conv("image", 4, (3, 3))],
    ],
)
def test_an_image_that_stays_as_it_is(make):
    network = network_of(make)
    assert network.taps is None and network.input.channels == 3


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


def test_no_copies_where_only_some_of_the_channels_are_taken():
    net = Builder(np.random.default_rng(5), (16, 9, 9))
    y = net.conv(net.slice(net.conv("image", 20, (1, 1)), 0, 4), 8, (3, 3))
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
