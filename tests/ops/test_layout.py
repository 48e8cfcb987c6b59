"""Channels in words, and words in buffers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from superlip.ops.layout import Placement, Storage, View, pack_words, unpack_words

lengths = st.integers(1, 5)


@st.composite
def placements(draw):
    """A value inside a storage, with sections or without."""
    offset, channels, behind = draw(st.integers(0, 9)), draw(st.integers(1, 20)), draw(st.integers(0, 9))
    tn = draw(st.sampled_from([2, 4, 8]))
    section = draw(st.none() | st.integers(1, 20))
    storage = Storage("x", offset + channels + behind, draw(lengths), draw(lengths), tn, section=section)
    return Placement(storage, offset, channels)


@given(placements(), st.integers(0, 99))
def test_words_hold_the_channels_of_their_tiles(place, seed):
    tn, groups = place.storage.tn, place.storage.groups
    values = np.random.default_rng(seed).integers(-128, 128, (2, place.channels, *place.size)).astype(np.int8)
    words = pack_words(values, place, fill=99)
    assert words.dtype == values.dtype
    assert words.shape == (2, groups, *place.size, tn)
    np.testing.assert_array_equal(unpack_words(words, place), values)
    covered = np.zeros(place.channels, int)
    for group, lane0, lane1, first, end in place.tiles():
        assert place.first_group <= group < place.end_group
        lanes = words[:, group, :, :, lane0:lane1]
        np.testing.assert_array_equal(np.moveaxis(lanes, -1, 1), values[:, first:end])
        covered[first:end] += 1
        lanes[:] = 99
    assert (covered == 1).all()
    assert (words == 99).all()  # nothing else was written


def test_a_section_begins_a_word():
    place = Placement(Storage("x", 14, 1, 1, 4, section=6), 1, 12)
    assert place.storage.groups == 5 and place.storage.words == 5
    assert [place.storage.lane(channel) for channel in (0, 5, 6, 11, 12, 13)] == [0, 5, 8, 13, 16, 17]
    assert [place.storage.held(group) for group in range(5)] == [(0, 4), (4, 6), (6, 10), (10, 12), (12, 14)]
    assert (place.first_group, place.end_group) == (0, 5)
    assert list(place.tiles()) == [
        (0, 1, 4, 0, 3),
        (1, 0, 2, 3, 5),
        (2, 0, 4, 5, 9),
        (3, 0, 2, 9, 11),
        (4, 0, 1, 11, 12),
    ]


@given(placements(), st.data())
def test_a_part_of_a_part(place, data):
    first = data.draw(st.integers(0, place.channels - 1))
    part = place.part(first, data.draw(st.integers(1, place.channels - first)))
    assert part.storage is place.storage
    assert place.offset <= part.offset and part.offset + part.channels <= place.offset + place.channels
    assert part.offset - place.offset == first


@given(st.integers(0, 50), st.integers(0, 3), lengths, lengths, st.integers(0, 3), lengths, st.data())
def test_a_region_is_the_addresses_of_its_words(base, row0, rows, width, group0, groups, data):
    view = View(base, row0, rows, width, group0, groups)

    def part(first, count):
        low = data.draw(st.integers(first, first + count - 1))
        return low, data.draw(st.integers(low + 1, first + count))

    (g0, g1), (r0, r1), (c0, c1) = part(group0, groups), part(row0, rows), part(0, width)
    wanted = [view.address(g, r, c) for g in range(g0, g1) for r in range(r0, r1) for c in range(c0, c1)]
    assert view.region(g0, g1, r0, r1, c0, c1).tolist() == wanted
    assert view.region(group0, group0 + groups, row0, row0 + rows).tolist() == list(range(base, base + view.words))
