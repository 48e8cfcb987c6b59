"""Programs are proved to end; those that would not are refused, and it is said who waits for whom."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder, random_graph

from superlip.boards import TARGETS
from superlip.compile import compiler
from superlip.compile.compiler import CompileError, compile_network
from superlip.compile.liveness import MOST_POSTS, LivenessError, prove_liveness
from superlip.plan.lower import lower
from superlip.plan.planner import make_plan
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import HEADER, INSTRUCTION_BYTES, Opcode, Unit, decode, encode
from superlip.sim.functional import Deadlock, FunctionalCluster

TINY = TARGETS["tiny"]
END = encode(Opcode.END)


def compiled(graph, boards=2):
    network = lower(graph, TINY.node.tn)
    return compile_network(network, make_plan(network, TINY, boards), TINY)


def small():
    net = Builder(np.random.default_rng(3), (8, 6, 6))
    a = net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))
    return net.graph(net.add(net.conv(a, 8, (1, 1)), a))


def instructions(program):
    return [program[at : at + INSTRUCTION_BYTES] for at in range(0, len(program), INSTRUCTION_BYTES)]


def without_posts(raw, unit=None):
    """An instruction that posts to one unit fewer, or to none."""
    word = int.from_bytes(raw, "little")
    header = HEADER.unpack(word)
    post = 0 if unit is None else header["post"] & ~(1 << unit)
    changed = word - HEADER.pack(header, "") + HEADER.pack(header | {"post": post}, "")
    return changed.to_bytes(INSTRUCTION_BYTES, "little")


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_compiled_ends(seed, boards):
    graph, _ = random_graph(np.random.default_rng(seed))
    made = compiled(graph, boards)
    init, segments = made.programs()
    count = sum(len(instructions(program)) - 1 for programs in (init, *segments) for program in programs)
    assert made.liveness.instructions == count
    assert 0 < made.liveness.largest_count <= made.liveness.most_posts == MOST_POSTS


def test_no_post_can_be_missing():
    """Each one that the compiler makes is needed: without it, something waits for ever, by name."""
    init, segments = compiled(small()).programs()
    posts = [
        (segment, board, at, unit)
        for segment, programs in enumerate(segments)
        for board, program in enumerate(programs)
        for at, raw in enumerate(instructions(program))
        for unit in range(len(Unit))
        if decode(raw)[1]["post"] >> unit & 1
    ]
    assert len(posts) > 10
    for segment, board, at, unit in posts:
        broken = [list(programs) for programs in segments]
        parts = instructions(broken[segment][board])
        parts[at] = without_posts(parts[at], unit)
        broken[segment][board] = b"".join(parts)
        with pytest.raises(LivenessError, match=rf"stop before their end: .*board \d {Unit(unit).name} .*waits for"):
            prove_liveness(TINY.node, init, broken)


def test_a_mistake_of_the_compiler_is_an_error_of_the_compilation(monkeypatch):
    def forgetful(config, init, segments):
        first, *rest = instructions(init[0])
        return prove_liveness(
            config,
            [b"".join([without_posts(first), *rest]), *init[1:]],
            [
                [b"".join(without_posts(raw) for raw in instructions(program)) for program in programs]
                for programs in segments
            ],
        )

    monkeypatch.setattr(compiler, "prove_liveness", forgetful)
    with pytest.raises(CompileError, match=r"node tiny: the programs stop before their end: board 0 .* waits for "):
        compiled(small())


def one_board(*program, config=TINY.node):
    return prove_liveness(config, [END], [[b"".join([*program, END])]])


def load(**header):
    return encode(Opcode.LOAD, count0=1, count1=1, count2=1, fill=1, **header)


def store(**header):
    return encode(Opcode.STORE, count0=1, count1=1, count2=1, **header)


def test_a_full_queue_holds_back_what_others_wait_for():
    config = dataclasses.replace(TINY.node, queue_depth=4)
    waiting = [store(waits={Unit.LOAD: 1}) for _ in range(4)]
    posting = [load(post=[Unit.STORE]) for _ in range(4)]
    assert one_board(*waiting, *posting, config=config).instructions == 8
    with pytest.raises(LivenessError, match=r"board 0 STORE \(tag 0\) waits for LOAD"):
        one_board(*waiting, store(), *posting, config=config)


def test_a_post_that_nobody_takes():
    with pytest.raises(LivenessError, match="board 0 STORE: 1 posts of counter 0 are never taken"):
        one_board(load(post=[Unit.STORE]))


def test_a_counter_that_may_overflow():
    """STORE may be slow: LOAD has made all its posts before the first is taken."""

    def program(count):
        posting = [load(post=[Unit.STORE]) for _ in range(count)]
        return one_board(*posting, *(store(waits={Unit.LOAD: 1}) for _ in range(count)))

    assert program(MOST_POSTS).largest_count == MOST_POSTS
    with pytest.raises(LivenessError, match=f"counter 0 of board 0 STORE may be given {MOST_POSTS + 1} posts"):
        program(MOST_POSTS + 1)


def test_the_array_has_room_for_one_set_beside_the_one_in_use():
    feed = encode(Opcode.FEED, sets=3, rows=2)
    matmul = encode(Opcode.MATMUL, n_tiles=1, kh=1, kw=2)
    with pytest.raises(LivenessError, match="board 0: 3 weight sets are fed, 2 are used"):
        one_board(feed, matmul)
    with pytest.raises(LivenessError, match=r"board 0 MATMUL .* waits for weights"):
        one_board(feed, matmul, matmul)


def test_programs_that_are_none():
    with pytest.raises(LivenessError, match="no END"):
        prove_liveness(TINY.node, [END], [[load()]])
    lost = encode(Opcode.SEND, count1=1, count2=1, node=7, remote_post=1, remote_unit=0, remote_counter=6)
    with pytest.raises(LivenessError, match=r"board 0 SEND \(tag 0\) posts to board 7, unit 0, counter 6"):
        one_board(lost)


def test_two_boards_that_post_to_one_counter():
    """Whose post is taken first would be open, and with it what the poster knows afterwards."""
    post = {"count1": 1, "count2": 1, "node": 2, "remote_post": 1, "remote_unit": Unit.STORE, "remote_counter": 6}
    sends, waits = encode(Opcode.SEND, **post) + END, store(waits={6: 1}) + store(waits={6: 1}) + END
    with pytest.raises(LivenessError, match="counter 6 of board 2 STORE is posted to by boards 0 and 1"):
        prove_liveness(TINY.node, [END] * 3, [[sends, sends, waits]])
    other = encode(Opcode.SEND, **post | {"remote_counter": 7}) + END
    waits = store(waits={6: 1, 7: 1}) + END
    assert prove_liveness(TINY.node, [END] * 3, [[sends, other, waits]]).instructions == 3


UNITS = st.sampled_from([Unit.LOAD, Unit.STORE, Unit.SEND])


@st.composite
def programs(draw):
    """Short programs of some boards in a ring: copies of nothing in particular, with posts and waits at random."""
    made = []
    boards = draw(st.integers(2, 5))
    for board in range(boards):
        parts = []
        for _ in range(draw(st.integers(1, 6))):
            waits = draw(
                st.dictionaries(st.sampled_from([Unit.LOAD, Unit.STORE, Unit.SEND, 6]), st.just(1), max_size=1)
            )
            header = {"waits": {int(s): n for s, n in waits.items()}, "post": draw(st.sets(UNITS, max_size=2))}
            kind = draw(st.sampled_from([load, store, None]))
            if kind is not None:
                parts.append(kind(**header))
                continue
            unit = draw(UNITS)
            remote = {"node": (board + 1) % boards, "remote_post": 1, "remote_unit": unit, "remote_counter": 6}
            parts.append(encode(Opcode.SEND, count1=1, count2=1, **remote, **header))
        made.append(b"".join([*parts, END]))
    return made


@settings(max_examples=300, deadline=None)
@given(programs(), st.integers(0, 99))
def test_the_proof_and_a_run_in_random_order_agree(made, seed):
    """An independent machine, which does run the programs, in an order drawn at random."""
    config = NodeConfig(act_words=64, weight_words=64, acc_words=16)
    cluster = FunctionalCluster(config, [[(0, END), (1024, program)] for program in made], 1 << 14, 512)
    try:
        cluster.run([1024] * len(made), seed)
        ends = not any(board.counters.any() for board in cluster.boards)
    except Deadlock:
        ends = False
    if ends:
        prove_liveness(config, [END] * len(made), [made])
    else:
        with pytest.raises(LivenessError):
            prove_liveness(config, [END] * len(made), [made])
