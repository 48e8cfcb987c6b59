"""Instructions in order, made safe: every hazard is ordered, and counters are even at the end of every program."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.boards import TARGETS
from superlip.compile.program import ACC, DRAM, Access, Emitter
from superlip.rtl.isa import INSTRUCTION_BYTES, LINK_SOURCES, Memory, Opcode, Unit

TINY = TARGETS["tiny"]
COPY = dict(count0=1, count1=1, count2=1)
WORDS = st.integers(0, 3)
STEP = st.tuples(st.integers(0, 1), st.sampled_from(["load", "matmul", "vector", "store", "send", "cut"]), WORDS, WORDS)
"""Board, kind, a word that it reads, a word that it writes: few, so that they meet."""


def act(word, board=None):
    return Access(Memory.ACT, np.array([word]), board)


def emit(emitter, board, kind, read, write):
    acc, dram = Access(ACC, np.array([0])), Access(DRAM, np.array([0]))
    match kind:
        case "load":
            return emitter.emit(board, Opcode.LOAD, tag=1, reads=[dram], writes=[act(write)], **COPY)
        case "matmul":
            return emitter.emit(board, Opcode.MATMUL, tag=1, reads=[act(read)], writes=[acc])
        case "vector":
            return emitter.emit(board, Opcode.VECTOR, tag=1, reads=[acc, act(read)], writes=[act(write)])
        case "store":
            return emitter.emit(board, Opcode.STORE, tag=1, reads=[act(read)], writes=[dram], **COPY)
        case "send":
            there = act(write, 1 - board)
            return emitter.emit(board, Opcode.SEND, tag=1, reads=[act(read)], writes=[there], node=1 - board, **COPY)


def run(emitter):
    """Run all as soon as waits allow: for each instruction, by id, those that have ended for certain when it begins.

    A unit works in order, but VECTOR reads ahead of its own writes. At a cut all have ended that is not on a link.
    """
    before, earlier, counters = {}, [], {}
    for segment in range(len(emitter.segments()[0])):
        streams = [stream[segment] for stream in emitter.segments()]
        queues = {(b, u): [i for i in stream if i.opcode == int(u)] for b, stream in enumerate(streams) for u in Unit}
        seen = set().union(*before.values())
        ended = [seen | {id(i) for i in earlier if i.opcode is not Opcode.SEND or i.board == b} for b in range(2)]
        known, own = {}, {}
        while any(queues.values()):
            ready = [
                place
                for place, queue in queues.items()
                if queue and all(len(counters.get((*place, s), [])) >= n for s, n in queue[0].waits.items())
            ]
            assert ready, "no instruction can run"
            for board, unit in ready:
                head = queues[board, unit].pop(0)
                now = known.get((board, unit), ended[board])
                for source, number in head.waits.items():
                    for _ in range(number):
                        now = now | counters[board, unit, source].pop(0)
                before[id(head)] = now
                done = own[board, unit] = own.get((board, unit), set()) | {id(head)}
                known[board, unit] = now if unit is Unit.VECTOR else now | done
                for target in (u for u in Unit if head.posts >> u & 1):
                    counters.setdefault((board, target, int(unit)), []).append(now | done)
                if head.body.get("remote_post"):
                    place = head.body["node"], head.body["remote_unit"], head.body["remote_counter"]
                    counters.setdefault(place, []).append(now | done)
        earlier += [i for stream in streams for i in stream]
    assert not any(counters.values()), "posts that nobody takes"
    return before


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=25))
def test_every_hazard_is_ordered(steps):
    emitter, accesses = Emitter(TINY.node, 2), []
    for board, kind, read, write in steps:
        if kind == "cut":
            emitter.cut()
            continue
        instruction = emit(emitter, board, kind, read, write)
        to = 1 - board if kind == "send" else board
        reads = set() if kind == "load" else {(board, "act", read)}
        writes = set() if kind in ("matmul", "store") else {(to, "act", write)}
        reads |= {"load": {(board, "dram")}, "vector": {(board, "acc")}}.get(kind, set())
        writes |= {"store": {(board, "dram")}, "matmul": {(board, "acc")}}.get(kind, set())
        accesses.append((instruction, reads, writes))
    before = run(emitter)
    for number, (later, reads, writes) in enumerate(accesses):
        for earlier, its_reads, its_writes in accesses[:number]:
            same = (earlier.board, earlier.opcode) == (later.board, later.opcode)
            hazard = reads & its_writes if same else reads & its_writes or writes & (its_reads | its_writes)
            if hazard and not (same and later.opcode is not Opcode.VECTOR):
                assert id(earlier) in before[id(later)], f"{later} does not wait for {earlier}"


def test_a_hazard_that_earlier_waits_cover_costs_nothing():
    emitter = Emitter(TINY.node, 1)
    emit(emitter, 0, "load", 0, 1)
    first, second = emit(emitter, 0, "store", 1, 0), emit(emitter, 0, "store", 1, 0)
    assert first.waits == {int(Unit.LOAD): 1} and not second.waits
    posts = Counter(i.posts for i in emitter.streams[0])
    assert posts == {1 << Unit.STORE: 1, 0: 2}


def test_who_waits_for_its_input_and_who_for_its_place():
    """MATMUL behind VECTOR: for what it reads; or for accumulators that VECTOR has not emptied."""
    emitter = Emitter(TINY.node, 1)
    emit(emitter, 0, "vector", 0, 1)
    assert emit(emitter, 0, "matmul", 1, 0).for_input
    emit(emitter, 0, "vector", 0, 2)
    assert not emit(emitter, 0, "matmul", 3, 0).for_input


def test_a_cut_waits_for_words_on_a_link():
    """All units have ended at a cut; what another board sent may still be on its way."""
    emitter = Emitter(TINY.node, 2)
    emit(emitter, 0, "send", 0, 5)
    emit(emitter, 1, "load", 0, 7)
    emitter.cut()
    loaded, sent = emit(emitter, 1, "store", 7, 0), emit(emitter, 1, "store", 5, 0)
    assert not loaded.waits and sent.waits == {LINK_SOURCES[0]: 1}
    programs = emitter.finish()
    assert [len(program) // INSTRUCTION_BYTES for program in programs[0]] == [2, 1]
    assert [len(program) // INSTRUCTION_BYTES for program in programs[1]] == [2, 3]
