"""What the host writes and reads: every row that boards need, and values as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder, random_graph

from superlip.boards import TARGETS
from superlip.compile.compiled import Written
from superlip.compile.compiler import compile_network
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.planner import make_plan

TINY = TARGETS["tiny"]


def compiled(graph, boards=2, split=None):
    network = lower(graph, 8)
    return compile_network(network, make_plan(network, TINY, boards, split=split), TINY)


@pytest.mark.parametrize("split", list(Split))
@pytest.mark.parametrize("seed", range(3))
def test_outputs_are_read_back_as_they_were_written(seed, split):
    """Outputs put where boards store them, word by word, come back whole."""
    graph, _ = random_graph(np.random.default_rng(seed))
    design = compiled(graph, split=split)
    rng = np.random.default_rng(seed)
    for name in design.network.outputs:
        place = design.network.places[name]
        storage = place.storage
        words = rng.integers(-128, 128, (storage.groups, storage.height, storage.width, 8)).astype(np.int8)
        raw, covered = [], np.zeros((storage.groups, storage.height), int)
        bytes_ = {
            (p.board, at) for p in design.read_pieces(name) for first, n in p.ranges for at in range(first, first + n)
        }
        assert len(bytes_) == sum(n for p in design.read_pieces(name) for _, n in p.ranges), "no byte is two words'"
        for piece in design.read_pieces(name):
            rows = slice(piece.row, piece.row + piece.rows)
            covered[piece.group, rows] += 1
            raw += design.boards[piece.board].dram.split(words[piece.group, rows])
            assert [length for _, length in piece.ranges] == [len(part) for part in raw[-len(piece.ranges) :]]
        assert (covered[place.first_group : place.end_group] == 1).all()
        channels = np.moveaxis(words, -1, 1).reshape(-1, storage.height, storage.width)
        value = design.values([name], raw)[name]
        np.testing.assert_array_equal(value, channels[place.offset : place.offset + place.channels])


def test_boards_are_given_the_rows_that_they_are_to_load():
    net = Builder(np.random.default_rng(0), (8, 6, 4))
    design = compiled(net.graph(net.conv("image", 8, (1, 1))), split=Split.ROWS)
    image = net.image()
    for board, rows in enumerate(([0, 1, 2], [3, 4, 5])):
        pieces = [piece for piece in design.write_pieces("image") if piece.board == board]
        assert [row for piece in pieces for row in range(piece.row, piece.row + piece.rows)] == rows
        data = b"".join(data for number, _, data in design.input_writes(image) if number == board)
        np.testing.assert_array_equal(np.frombuffer(data, np.int8).reshape(3, 4, 8), np.moveaxis(image[:, rows], 0, -1))


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 3), st.integers(1, 5), st.integers(0, 5), st.integers(1, 3), st.integers(1, 5))
def test_places_of_what_an_instruction_writes(row0, row_step, rows, col0, col_step, cols):
    written = Written(0, 0, row0, row_step, rows, col0, col_step, cols, 0, 8)
    grid = np.zeros((40, 40), int)
    grid[written.places()] = 1
    expected = [(row0 + r * row_step, col0 + c * col_step) for r in range(rows) for c in range(cols)]
    assert list(map(tuple, np.argwhere(grid))) == expected
