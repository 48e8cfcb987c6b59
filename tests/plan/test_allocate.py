"""Buffers with lifetimes: none that live together share a word, none is refused that had room, and changes of what is
asked for end in the places that all would get from the start."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.plan.allocate import Allocator, DoesNotFit, Refused, Request

REQUEST = st.tuples(st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))


def placed(allocator, number, words, first, last, *smaller, name="buffer"):
    """Address of another buffer."""
    allocator.put(Request((number,), name, (words, *smaller), first, last))
    allocator.settle()
    return allocator.base((number,))


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUEST, max_size=14), st.integers(20, 120), st.sampled_from([None, 8, 30]), st.integers(0, 50))
def test_what_lives_together_lies_apart(requests, words, bank_words, most):
    allocator, found = Allocator(words, bank_words, most), []
    for number, (size, a, b) in enumerate(requests):
        first, last = min(a, b), max(a, b)
        beside = [(base, base + n) for base, n, f, e in found if f <= last and first <= e]
        try:
            base = placed(allocator, number, size, first, last)
        except DoesNotFit as error:
            assert str(error).startswith(f"buffer: {size} words do not fit beside ")
            gaps = [not any(at < high and low < at + size for low, high in beside) for at in range(words - size + 1)]
            assert not any(gaps), "refused, though there was room"
            allocator.remove((number,))
        else:
            assert 0 <= base <= words - size
            assert not any(base < high and low < base + size for low, high in beside)
            found.append((base, size, first, last))


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=3)
CHANGE = st.tuples(st.integers(0, 7), st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9), SIZES)))


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.lists(CHANGE, max_size=3), max_size=12),
    words=st.integers(30, 80),
    most=st.sampled_from([0, 0, 10]),
)
def test_a_change_ends_where_a_new_start_would(changes, words, most):
    """Also where a change that does not fit is undone, or gives way to another one."""
    allocator = Allocator(words, 16, most)
    asked = {}
    for number, change in enumerate(changes):
        wanted = dict(asked)
        for key, request in change:
            if request is None:
                if key in wanted:
                    del wanted[key]
                    allocator.remove((key,))
            else:
                a, b, sizes = request
                wanted[key] = Request((key,), str(key), tuple(sizes), min(a, b), max(a, b))
                allocator.put(wanted[key])
        fresh, refused = Allocator(words, 16, most), []
        for request in wanted.values():
            fresh.put(request)
        for one in (fresh, allocator):
            try:
                one.settle()
            except Refused as error:
                refused.append(str(error))
        assert len(refused) in (0, 2) and len(set(refused)) <= 1
        if not refused:
            allocator.keep()
            asked = wanted
        elif number % 2:
            allocator.undo()
            fresh = Allocator(words, 16, most)
            for request in asked.values():
                fresh.put(request)
            fresh.settle()
        else:  # what was refused is asked for no more, nor what comes behind it
            for key in sorted(wanted):
                allocator.remove((key,))
            allocator.settle()
            allocator.keep()
            asked, fresh = {}, Allocator(words, 16, most)
        for key in asked:
            assert allocator.base((key,)) == fresh.base((key,))
            assert allocator.choice((key,)) == fresh.choice((key,))


def test_without_banks_the_lowest_address():
    allocator = Allocator(100)
    assert [placed(allocator, number, words, 0, 0) for number, words in enumerate((10, 20))] == [0, 10]
    assert placed(allocator, 2, 15, 1, 1) == 0


def test_small_buffers_are_spread_over_banks():
    """Each bank serves one reader; a buffer beyond ``most`` words comes at the lowest address."""
    allocator = Allocator(64, 16, most=8)
    assert [placed(allocator, number, 8, 0, 0) for number in range(5)] == [0, 16, 32, 48, 8]
    assert placed(allocator, 5, 12, 1, 1) == 0
    assert placed(Allocator(64, 16, most=8), 0, 9, 0, 0) == 0


def test_the_first_size_for_which_there_is_room():
    allocator = Allocator(10)
    assert placed(allocator, 0, 6, 0, 5) == 0
    assert placed(allocator, 1, 9, 5, 5, 5, 4) == 6 and allocator.choice((1,)) == 2
    allocator.remove((0,))
    allocator.settle()
    assert allocator.base((1,)) == 0 and allocator.choice((1,)) == 0


def test_what_lies_beside_is_counted():
    allocator = Allocator(10)
    placed(allocator, 0, 6, 0, 5)
    with pytest.raises(DoesNotFit, match="x: 5 words do not fit beside 6 of 10") as caught:
        placed(allocator, 1, 5, 5, 6, name="x")
    assert caught.value.request.key == (1,)


def test_a_change_moves_only_what_is_in_the_way():
    """A hundred pairs that live one behind the other: of the pair in the middle the upper one moves."""
    allocator, seen = Allocator(10), []
    for number in range(200):
        allocator.put(Request((number,), "", (4,), number // 2, number // 2))
    allocator.settle()
    place = allocator._place
    allocator._place = lambda request: (seen.append(request.key), place(request))
    allocator.put(Request((100,), "", (2,), 50, 50))
    allocator.settle()
    assert seen == [(100,), (101,)] and allocator.base((101,)) == 2
