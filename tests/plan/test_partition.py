"""Division over boards: everything is somebody's, and every word that a board lacks comes to it exactly once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nets import Builder, random_branches, random_graph

from superlip.graph import ir
from superlip.plan.lower import lower
from superlip.plan.partition import Split, divide, exchange_of, part_of, possible_splits, sends


@given(st.integers(0, 1000), st.integers(1, 20))
def test_ranges_are_even_and_without_gaps(count, parts):
    ranges = divide(count, parts)
    assert [n for first, end in ranges for n in range(first, end)] == list(range(count))
    sizes = {end - first for first, end in ranges}
    assert len(ranges) == parts and max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(st.integers(1, 4).flatmap(lambda boards: arrays(bool, (2, boards, 2, 5))))
def test_missing_words_come_once_from_one_that_has_them(masks):
    produced, needed = masks
    crossing = sends(produced, needed)
    boards = len(produced)
    for a in range(boards):
        assert not (crossing[a] & ~produced[a]).any(), "a board sends what it has"
        assert not crossing[a, a].any()
    received = crossing.sum(axis=0)
    exists = produced.any(axis=0)
    np.testing.assert_array_equal(received, needed & ~produced & exists)


@pytest.mark.parametrize("make", [random_graph, random_branches])
@pytest.mark.parametrize("seed", range(4))
def test_every_split_computes_all_and_every_reader_gets_it(make, seed):
    """On two boards, whatever split each operation has of those that are possible."""
    rng = np.random.default_rng(seed)
    network = lower(make(rng)[0], 8)
    splits = [possible_splits(op, 2)[rng.integers(len(possible_splits(op, 2)))] for op in network.ops]
    for op, split in zip(network.ops, splits, strict=True):
        done = np.zeros((op.output.end_group, op.grid[0]), int)
        for board in range(2):
            part = part_of(op, split, board, 2)
            assert not part.empty
            done[part.group0 : part.group1, part.row0 : part.row1] += 1
        mine = done[op.output.first_group :]
        assert (mine == (2 if split is Split.ALL else 1)).all()
    exchange = exchange_of(network, splits, 2)
    for name, needed in exchange.needed.items():
        there = exchange.produced[name] | exchange.sends[name].any(axis=0)
        assert not (needed & ~there).any(), f"{name}: a word that is read comes from nowhere"


def test_one_board_does_all():
    network = lower(random_graph(np.random.default_rng(1))[0], 8)
    assert all(possible_splits(op, 1) == [Split.ALL] for op in network.ops)
    exchange = exchange_of(network, [Split.ALL] * len(network.ops), 1)
    assert not any(crossing.any() for crossing in exchange.sends.values())


def test_what_one_board_writes_in_pieces_it_has_produced():
    """Edges that are repeated are operations of a row each: the host reads the others' rows, too."""
    net = Builder(np.random.default_rng(0), (8, 20, 20))
    x = net.conv("image", 8, (1, 1))
    edges = dict.fromkeys(("rows", "cols"), np.array([0, *range(20), 19]))
    wider = net._shuffled(ir.Resize, x, (8, 22, 22), **edges)
    network = lower(net.graph(net.conv(wider, 3, (1, 1))), 8)
    exchange = exchange_of(network, [Split.ALL] * len(network.ops), 1)
    assert len(network.writers()[network.places[wider].storage.name]) > 1
    assert all(mask.all() for mask in exchange.produced.values())
