"""Buffers with lifetimes: none that live together share a word, and none is refused that had room."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.plan.allocate import Allocator, DoesNotFit

REQUEST = st.tuples(st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUEST, max_size=14), st.integers(20, 120), st.sampled_from([None, 8, 30]), st.integers(0, 50))
def test_what_lives_together_lies_apart(requests, words, bank_words, most):
    allocator, placed = Allocator(words, bank_words, most), []
    for size, a, b in requests:
        first, last = min(a, b), max(a, b)
        beside = [(base, base + n) for base, n, f, e in placed if f <= last and first <= e]
        try:
            base = allocator.place(size, first, last, "buffer")
        except DoesNotFit as error:
            assert str(error).startswith(f"buffer: {size} words do not fit beside ")
            gaps = [not any(at < high and low < at + size for low, high in beside) for at in range(words - size + 1)]
            assert not any(gaps), "refused, though there was room"
        else:
            assert 0 <= base <= words - size
            assert not any(base < high and low < base + size for low, high in beside)
            placed.append((base, size, first, last))


def test_without_banks_the_lowest_address():
    allocator = Allocator(100)
    assert [allocator.place(n, 0, 0) for n in (10, 20)] == [0, 10]
    assert allocator.place(15, 1, 1) == 0


def test_small_buffers_are_spread_over_banks():
    """Each bank serves one reader; a buffer beyond ``most`` words comes at the lowest address."""
    allocator = Allocator(64, 16, most=8)
    assert [allocator.place(8, 0, 0) for _ in range(5)] == [0, 16, 32, 48, 8]
    assert allocator.place(12, 1, 1) == 0
    assert Allocator(64, 16, most=8).place(9, 0, 0) == 0


def test_what_lies_beside_is_counted():
    allocator = Allocator(10)
    allocator.place(6, 0, 5)
    with pytest.raises(DoesNotFit, match="x: 5 words do not fit beside 6 of 10"):
        allocator.place(5, 5, 6, "x")
