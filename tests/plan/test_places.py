"""Storages of values."""

import numpy as np
from nets import Builder

from superlip.element import INT16
from superlip.graph import ir
from superlip.plan.places import Places


def test_a_value_lies_where_it_was_put_or_in_a_storage_of_its_own():
    net = Builder(np.random.default_rng(0), (5, 3, 2))
    places = Places(net.values | {"part": ir.Value("part", (2, 3, 2), 1.0, 0)}, 4)
    whole = places.place("image")
    assert (whole.storage.name, whole.storage.channels, whole.size, whole.offset) == ("image", 5, (3, 2), 0)
    assert places.place("image") is whole
    places.of["part"] = whole.part(3, 2)
    assert places.place("part").storage is whole.storage
    assert places.contents == {"image": ("image", 0)}


def test_a_storage_that_begins_within_a_word():
    values = {"x": ir.Value("x", (5, 1, 1), 1.0, 0, element=INT16)}
    places = Places(values, 4)
    place = places.own("x", 3)
    assert (place.offset, place.channels, place.storage.channels, place.storage.groups) == (3, 5, 8, 2)
    assert place.storage.element is INT16
    copy = places.storage("x.moved", "x", 1)
    assert (copy.storage.name, copy.offset, copy.storage.channels) == ("x.moved", 1, 6)
    assert place.storage.section is copy.storage.section is None
    assert places.of == {"x": place}  # a copy is no place of the value
    assert places.contents == {"x": ("x", 3), "x.moved": ("x", 1)}


def test_a_storage_with_sections():
    values = {name: ir.Value(name, (6, 1, 1), 1.0, 0) for name in "xy"}
    places = Places(values, 4, {"x": 3})
    assert (places.place("x").storage.section, places.place("y").storage.section) == (3, None)
