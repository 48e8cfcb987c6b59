"""A lost post, planted in any instruction that has one: the hang is followed to it."""

import numpy as np
import pytest
from functional import run_image, started
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip import api
from superlip.boards import TARGETS
from superlip.diagnose.hang import Reached, explain_hang
from superlip.diagnose.programs import read_programs, source_name
from superlip.rtl.isa import COUNTERS, INSTRUCTION_BYTES, Opcode, Unit, decode, encode
from superlip.sim.functional import Deadlock
from superlip.sim.result import UnitState


def network():
    net = Builder(np.random.default_rng(43), (9, 8, 8))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    return net.graph(net.conv(net.add(a, net.pool(a, "average", (3, 3), pads=(1, 1, 1, 1))), 20, (3, 3))), net.image()


GRAPH, IMAGE = network()
COMPILED = {boards: api.plan(GRAPH, boards=boards, node=TARGETS["tiny"]).compiled for boards in (1, 2)}


def listed(compiled, dram):
    return [
        read_programs(n, extents, board.init_program, board.programs)
        for n, (extents, board) in enumerate(zip(dram, compiled.boards, strict=True))
    ]


def without_posts(victim):
    """The instruction as it would be without its posts."""
    opcode, header, body = decode(victim.raw)
    waits = {s: header[f"wait_{s}"] for s in range(COUNTERS)}
    if opcode is Opcode.SEND:
        body |= {"remote_post": 0}
    return encode(opcode, tag=header["tag"], waits=waits, post=0, **body)


def hung(compiled, victim, seed):
    """(states, Reached) of a run in which an instruction lacks its posts; None if it ends all the same."""
    cluster = started(compiled)
    for port in range(INSTRUCTION_BYTES // cluster.config.axi_bytes):
        size = cluster.config.axi_bytes
        cluster.write(victim.board, victim.address + port * size, without_posts(victim)[port * size :][:size])
    try:
        run_image(cluster, compiled, IMAGE, seed)
    except Deadlock:
        pass
    else:
        return None
    done, states = np.zeros((len(cluster.boards), len(Unit)), int), []
    for number, (board, programs) in enumerate(
        zip(cluster.boards, listed(compiled, [b.dram.extents for b in compiled.boards]), strict=True)
    ):
        for unit in Unit:
            queue = board.queues[unit]
            done[number, unit] = len(programs.of(unit)) - len(queue)
            lacks = [s for s in range(COUNTERS) if queue and board.counters[unit, s] < queue[0][0][f"wait_{s}"]]
            tag = queue[0][0]["tag"] if queue else 0
            names = tuple(map(source_name, lacks))
            states.append(UnitState(number, unit, tag, busy=False, stalled=False, waiting=bool(names), lacking=names))
    return states, Reached(0, done, 1000)


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_a_lost_post_is_found(data):
    boards = data.draw(st.sampled_from([*COMPILED]))
    compiled = COMPILED[boards]
    dram = [[(o, bytearray(d)) for o, d in board.dram.extents] for board in compiled.boards]
    right = listed(compiled, dram)
    posts = [i for programs in right for i in programs.image if i.header["post"] or i.body.get("remote_post")]
    victim = data.draw(st.sampled_from(posts))
    found = hung(compiled, victim, data.draw(st.integers(0, 100)))
    assume(found is not None)
    for offset, extent in dram[victim.board]:
        if offset <= victim.address < offset + len(extent):
            extent[victim.address - offset : victim.address - offset + INSTRUCTION_BYTES] = without_posts(victim)
    states, reached = found
    for board in range(boards):
        hang = explain_hang(states, reached, board, listed(compiled, dram), right)
        if hang.culprit is not None:
            assert (hang.culprit.board, hang.culprit.address) == (victim.board, victim.address), hang.steps
            assert "should post and does not" in hang.steps[-1]
            break
    else:
        pytest.fail(f"not found: {hang.steps}")


def test_how_far_it_came():
    reached = Reached(-1, np.array([[2, 0, 0, 0, 0, 0]]), 5)
    programs = listed(COMPILED[1], [COMPILED[1].boards[0].dram.extents])[0]
    assert reached.init and reached.instruction(programs, 0, Unit.LOAD) is programs.of(Unit.LOAD, init=True)[2]
    assert reached.instruction(programs, 0, Unit.SEND) is None
