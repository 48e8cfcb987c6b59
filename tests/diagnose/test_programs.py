"""Programs read back from DRAM are those that were written, and what is broken in one is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.diagnose.programs import INIT, read_programs, source_name
from superlip.rtl.isa import INSTRUCTION_BYTES, Memory, Opcode, Unit, encode

ONE = {"count0": 1, "count1": 1, "count2": 1}
LOAD = encode(Opcode.LOAD, tag=3, post={Unit.MATMUL}, memory=Memory.WEIGHT, local=5, **ONE)
SEND = encode(Opcode.SEND, tag=4, waits={Unit.LOAD: 2, 6: 1}, node=1, remote_post=1, remote_unit=2, remote_counter=7)
STORE = encode(Opcode.STORE, tag=5, memory=Memory.ACT, **ONE)
END = encode(Opcode.END)
KINDS = {Opcode.LOAD: LOAD, Opcode.SEND: SEND, Opcode.STORE: STORE}


@given(st.lists(st.lists(st.sampled_from([*KINDS]), max_size=6), min_size=1, max_size=4))
def test_what_was_written_is_read(segments):
    """Numbers of a unit's instructions go on from segment to segment; those of the init program are their own."""
    extents = [(1 << 16 << n, b"".join([*(KINDS[kind] for kind in kinds), END])) for n, kinds in enumerate(segments)]
    init = (0, LOAD + LOAD + END)
    programs = read_programs(1, [init, *extents], 0, [offset for offset, _ in extents])
    assert [i.opcode for i in programs.image] == [kind for kinds in segments for kind in kinds]
    for kind in KINDS:
        assert [i.number for i in programs.of(Unit(int(kind)))] == list(range(sum(s.count(kind) for s in segments)))
    assert [i.number for i in programs.of(Unit.LOAD, init=True)] == [0, 1] and not programs.broken
    for listed in programs.image:
        offset, blob = extents[listed.segment]
        assert listed.address == offset + INSTRUCTION_BYTES * listed.position
        assert listed.raw == blob[listed.address - offset :][:INSTRUCTION_BYTES] and listed.board == 1


def test_in_words():
    load, send = read_programs(0, [(64, LOAD + SEND + END)], None, [64]).image
    assert load.posts_to(Unit.MATMUL) and not load.posts_to(Unit.VECTOR) and load.tag == 3
    assert send.waits == {Unit.LOAD: 2, 6: 1}
    assert send.posts_remotely(1, 2, 7) and not send.posts_remotely(0, 2, 7) and not load.posts_remotely(1, 2, 7)
    assert str(load) == (
        "LOAD #0 (board 0, program 0, instruction 0, DRAM 0x40): tag 3; posts to MATMUL; "
        "memory WEIGHT; local 5; count0 1; count1 1; count2 1"
    )
    assert "waits for 2 of LOAD; waits for 1 of remote 6" in str(send)


@pytest.mark.parametrize(("source", "name"), [(Unit.VECTOR, "VECTOR"), (6, "remote 6")])
def test_sources(source, name):
    assert source_name(source) == name


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (LOAD + b"\x0e" + bytes(63) + END, "instruction 1 (DRAM 0x40) has the unknown opcode 14"),
        (LOAD + LOAD, "there is no END behind instruction 1"),
        (b"", "there is no END behind instruction -1"),
    ],
)
def test_what_is_broken_is_said(blob, message):
    assert read_programs(0, [(0, blob)], None, [0]).broken == {0: message}
    assert read_programs(0, [(0, blob)], 0, []).broken == {INIT: message}
