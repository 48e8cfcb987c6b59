"""Rows that lie together, as stretches and as strided runs."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from superlip.compile.runs import Run, runs_of, stretches

ROWS = st.sets(st.integers(0, 60)).map(sorted)


@given(ROWS)
def test_stretches_are_the_longest_and_cover_all(rows):
    found = stretches(rows)
    assert [row for first, end in found for row in range(first, end)] == rows
    assert all(end < first for (_, end), (first, _) in itertools.pairwise(found))


@given(ROWS)
def test_runs_cover_all_in_order(rows):
    found = runs_of(rows)
    assert [int(row) for run in found for row in run.rows] == rows
    assert len(found) == 1 or all(run.count == 1 for run in found)


@given(st.integers(0, 9), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_rows_at_equal_distances_are_one_run(first, count, length, gap):
    run = Run(first, count, length, length + gap if count > 1 else 0)
    assert runs_of(run.rows) == [run]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_words_of_a_run_are_those_of_its_rows(count, length, gap, width):
    run = Run(7, count, length, length + gap)
    expected = [(row - 7) * width + col for row in run.rows for col in range(width)]
    np.testing.assert_array_equal(run.words(width), expected)


def test_no_rows():
    assert stretches([]) == runs_of([]) == []
