"""LOAD, SEND and STORE: together the instructions move the rows that were asked for, to where they belong."""

import numpy as np
import pytest
from emitting import begin, emitted, node
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip.compile.moves import LONGEST, load_words, send_words
from superlip.ops.layout import View
from superlip.plan.partition import Split
from superlip.rtl.isa import Memory, Opcode

ROWS = st.sets(st.integers(0, 7), min_size=1).map(sorted)


def graph():
    net = Builder(np.random.default_rng(0), (12, 8, 5))
    return net.graph(net.conv(net.conv("image", 12, (1, 1)), 8, (3, 3), pads=(1, 1, 1, 1)))


def moved(body, local, distant):
    """(local word, distant word) of each word that an instruction moves."""
    places = [(body[local], body[distant])]
    for level in (1, 2):
        steps = [body.get(f"{name}_stride{level}", 0) for name in (local, distant)]
        places = [(a + n * steps[0], b + n * steps[1]) for n in range(body[f"count{level}"]) for a, b in places]
    return sorted((a + n, b + n) for a, b in places for n in range(body["count0"]))


def rows_of(view, storage, base, groups, rows):
    """(word in the buffer, word in DRAM) of some rows."""
    return sorted(
        (view.address(g, r, c), base + (g * storage.height + r) * storage.width + c)
        for g in groups
        for r in rows
        for c in range(storage.width)
    )


@settings(max_examples=60, deadline=None)
@example([0, 2, 4], "load")
@example([0, 1, 4, 5], "store")
@given(ROWS, st.sampled_from(["load", "store"]))
def test_rows_are_moved_between_buffer_and_dram(rows, way):
    at = begin(graph())
    storage, base = at.network.input.storage, at.context.dram.base[0]["image"]
    view = View(100, 0, 8, storage.width, 0, storage.groups)
    if way == "load":
        at.moves.load(0, storage, view, rows, 3)
        groups = range(storage.groups)
    else:
        at.moves.store(0, storage, 1, rows, 3, view)
        groups = [1]
    found = emitted(at.state)
    assert {opcode for opcode, _ in found} == {Opcode[way.upper()]}
    words = sorted(pair for _, body in found for pair in moved(body, "local", "dram"))
    assert words == rows_of(view, storage, base, groups, rows)
    assert at.state.taken_traffic() == len(words) and at.state.taken_traffic() == 0


def test_the_other_board_is_sent_the_rows_that_it_lacks():
    """Of halves of 8 rows, a 3x3 kernel needs one row more: row 3 of board 0's for board 1."""
    at = begin(graph(), 2, split=Split.ROWS)
    storage = at.network.ops[0].output.storage
    source, dest = (board.views[storage.name] for board in at.plan.activations)
    at.moves.send(0, storage, range(storage.groups), range(4), 1, source)
    words = sorted(pair for _, body in emitted(at.state) for pair in moved(body, "local", "remote"))
    expected = [
        (source.address(g, 3, c), dest.address(g, 3, c)) for g in range(storage.groups) for c in range(storage.width)
    ]
    assert words == sorted(expected) and all(body["node"] == 1 for _, body in emitted(at.state))


@pytest.mark.parametrize("words", [1, LONGEST, LONGEST + 1, 3 * LONGEST + 5])
def test_words_in_a_row_are_moved_in_as_many_instructions_as_their_count_asks_for(words):
    at, size = begin(graph(), 2, target=node(weight_words=4 * LONGEST)), 4 * LONGEST
    load_words(at.state.emitter, 0, 1, Memory.WEIGHT, 0, 5000, words)
    send_words(at.state.emitter, 0, 1, 1, Memory.WEIGHT, 0, size - words, words)
    for opcode, distant, first in ((Opcode.LOAD, "dram", 5000), (Opcode.SEND, "remote", size - words)):
        bodies = [body for kind, body in emitted(at.state) if kind is opcode]
        assert all(body["count0"] <= LONGEST for body in bodies)
        assert [pair for body in bodies for pair in moved(body, "local", distant)] == [
            (n, first + n) for n in range(words)
        ]
