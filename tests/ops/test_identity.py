"""Convolutions that change no bit."""

import numpy as np
import pytest
from lowered import compute

from superlip.element import INT8
from superlip.ops.identity import identity
from superlip.ops.layout import Placement, Storage

ALL = np.arange(-128, 128).astype(np.int8).reshape(16, 4, 4)
"""Every element, 16 channels."""
SOURCE = Placement(Storage("source", 20, 4, 4, 8), 3, 16)


def move(channels=16, size=(4, 4), **fields):
    """What an identity convolution makes of ``ALL``, which lies at SOURCE."""
    storage = np.full((20, 4, 4), 77, np.int8)
    storage[3:19] = ALL
    dest = Placement(Storage("dest", channels + 5, *size, 8), 5, channels)
    return compute(identity("move", SOURCE, dest, **fields), {"source": storage})


def test_every_element_stays_what_it_is():
    np.testing.assert_array_equal(move(), ALL)


def test_channels_in_another_order_and_fewer():
    np.testing.assert_array_equal(move(3, order=[9, 0, 9]), ALL[[9, 0, 9]])


def test_through_a_table():
    np.testing.assert_array_equal(move(table=-1 - INT8.by_pattern()), -1 - ALL)


def test_each_channel_is_a_group_so_that_a_pass_reads_only_the_words_that_it_moves():
    dest = Placement(Storage("dest", 16, 4, 4, 8), 0, 16)
    op = identity("move", SOURCE, dest)
    read = [op.spec.channels_read(SOURCE, first, end) for *_, first, end in dest.tiles()]
    assert [(place.first_group, place.end_group) for place in read] == [(0, 2), (1, 3)]
    shuffled = identity("move", SOURCE, dest, order=np.arange(16)[::-1])
    assert shuffled.spec.channels_read(SOURCE, 0, 8).channels == 16


@pytest.mark.parametrize("value", [-128, 5, 127])
def test_padding_holds_its_value(value):
    found = move(size=(6, 7), pads=(2, 1, 0, 2), pad_value=value)
    np.testing.assert_array_equal(found, np.pad(ALL, ((0, 0), (2, 0), (1, 2)), constant_values=value))


def test_some_rows_and_columns():
    found = move(size=(8, 8), grid=(2, 1), step=(3, 1), origin=(1, 0), strides=(2, 3), pads=(-1, -2, 0, 0))
    np.testing.assert_array_equal(found, ALL[:, 1::2, 2:3])
