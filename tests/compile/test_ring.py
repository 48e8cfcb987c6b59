"""The ring: never gives words that are in use, and gives all back in order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.compile.ring import Ring

TAKE = st.tuples(st.just("take"), st.integers(1, 30), st.integers(1, 3))
USE = st.tuples(st.just("use"), st.integers(0, 7), st.just(0))
GIVE_UP = st.tuples(st.just("make room"), st.integers(1, 40), st.just(0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(TAKE, USE, GIVE_UP), max_size=40), st.integers(20, 60))
def test_blocks_in_use_lie_apart(steps, words):
    ring, alive = Ring(1000, words), []
    for what, number, uses in steps:
        if what == "take":
            start = ring.fits(number)
            if start is None:
                with pytest.raises(ValueError, match=f"no room for {number} words in a ring of {words}"):
                    ring.take(number, uses)
                continue
            address, held = ring.take(number, uses)
            assert address == 1000 + start and (held.start, held.end) == (start, start + number)
            assert start >= 0 and held.end <= words
            assert not any(held.start < other.end and other.start < held.end for other in alive if other.uses > 0)
            alive.append(held)
        elif what == "use" and number < len(alive) and alive[number].uses > 0:
            ring.release(alive[number])
        elif what == "make room":
            given_up = ring.make_room(number)
            assert (given_up is None) == (number > words)
            assert given_up is None or ring.fits(number) is not None
            alive = [held for held in alive if given_up is None or held not in given_up]


def test_room_comes_back_in_the_order_of_loading():
    """A block that is done, behind one that is not, keeps its room: blocks come and go in order."""
    ring = Ring(0, 30)
    (_, first), (_, second), (_, third) = (ring.take(10, 1) for _ in range(3))
    assert ring.fits(10) is None
    ring.release(second)
    assert ring.fits(10) is None
    ring.release(first)
    assert [ring.take(10, 1)[0], ring.take(10, 1)[0]] == [0, 10] and ring.fits(10) is None
    ring.release(third)
    assert ring.fits(10) == 20


def test_a_block_is_used_as_often_as_was_said():
    ring = Ring(0, 10)
    _, held = ring.take(10, 3)
    for left in (2, 1):
        ring.release(held)
        assert held.uses == left and ring.fits(1) is None
    ring.release(held)
    assert ring.fits(10) == 0


def test_blocks_that_give_way_are_those_where_the_next_one_goes():
    ring = Ring(0, 30)
    (_, first), (_, second), _ = (ring.take(10, 1) for _ in range(3))
    assert ring.make_room(15) == [first, second]
    assert ring.take(15, 1)[0] == 0
    assert ring.make_room(31) is None
