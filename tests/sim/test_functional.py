"""The instruction simulator: DRAM as ports see it, any order of units, and what stops it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import Memory, Opcode, Unit, VectorOp, encode
from superlip.sim.functional import Deadlock, FunctionalCluster

STRIPE = 1 << 16
CONFIG = NodeConfig(tm=16, tn=16, axi_ports=2)
PROGRAM = 1 << 12
ONE = {"count0": 1, "count1": 1, "count2": 1}


def cluster(*programs, words=1024):
    images = [[(PROGRAM, b"".join([*program, encode(Opcode.END)]))] for program in programs]
    return FunctionalCluster(CONFIG, images, STRIPE, words)


@given(st.integers(0, 100), st.integers(1, 20), st.integers(0, 1), st.randoms())
def test_what_the_host_writes_it_reads(first, count, port, random):
    boards = cluster([])
    data = random.randbytes(count * CONFIG.axi_bytes)
    offset = port * STRIPE + first * CONFIG.axi_bytes
    boards.write(0, offset, data)
    assert boards.read(0, offset, len(data)) == data
    half = slice(port * CONFIG.axi_bytes, (port + 1) * CONFIG.axi_bytes)
    assert boards.boards[0].dram[first : first + count, half].tobytes() == data
    with pytest.raises(ValueError, match="no multiple of 8 bytes"):
        boards.write(0, offset + 1, data)


@pytest.mark.parametrize("seed", range(8))
def test_a_word_goes_round_two_boards(seed):
    """LOAD, SEND to the other, which stores it: waits and posts order them, whatever the order of the units."""
    other_counter = 6
    sender = [
        encode(Opcode.LOAD, post={Unit.SEND}, memory=Memory.ACT, local=3, dram=5, **ONE),
        encode(Opcode.SEND, waits={Unit.LOAD: 1}, memory=Memory.ACT, local=3, node=1, remote_memory=Memory.WEIGHT,
               remote=9, remote_post=1, remote_unit=Unit.STORE, remote_counter=other_counter, **ONE),
    ]  # fmt: skip
    receiver = [encode(Opcode.STORE, waits={other_counter: 1}, memory=Memory.WEIGHT, local=9, dram=7, **ONE)]
    boards = cluster(sender, receiver)
    boards.boards[0].dram[5] = np.arange(16)
    boards.run([PROGRAM, PROGRAM], seed)
    assert boards.boards[1].dram[7].tolist() == list(range(16))
    assert not any(board.counters.any() for board in boards.boards)


def test_who_waits_for_whom_is_said():
    store = encode(Opcode.STORE, tag=4, waits={Unit.VECTOR: 1, 7: 1}, memory=Memory.ACT, **ONE)
    with pytest.raises(Deadlock, match=r"^board 0 STORE \(tag 4\) waits for VECTOR, link 1$"):
        cluster([store]).run([PROGRAM])


def test_matmul_waits_for_feed():
    matmul = encode(Opcode.MATMUL, tag=2, n_tiles=1, kh=1, kw=1, rows=1, cols=1, height=1, width=1)
    with pytest.raises(Deadlock, match=r"MATMUL \(tag 2\) waits for weights"):
        cluster([matmul]).run([PROGRAM])


def test_columns_that_feed_leaves_out_are_nonsense():
    feed = encode(Opcode.FEED, weights=0, sets=1, rows=4)
    matmul = encode(Opcode.MATMUL, n_tiles=1, kh=1, kw=1, rows=1, cols=1, height=1, width=1, acc=0)
    boards = cluster([feed, matmul])
    board = boards.boards[0]
    board.act[0], board.weight[:4] = 1, np.arange(4)[:, None]
    boards.run([PROGRAM])
    assert board.acc[0, :4].tolist() == [0, 16, 32, 48] and (board.acc[0, 4:] == 16 * 0x55).all()


@pytest.mark.parametrize(
    ("body", "said"),
    [({"rows": 3}, "OPERAND, 0x3"), ({"weights": 5}, "OPERAND, 0x5"), ({"sets": 0}, "OPERAND, 0x0"),
     ({"rows": 0}, "OPERAND, 0x0"), ({"rows": CONFIG.tm + 2}, f"OPERAND, {CONFIG.tm + 2:#x}"),
     ({"weights": CONFIG.weight_words - 6}, f"ADDRESS, {CONFIG.weight_words:#x}")],
)  # fmt: skip
def test_what_stops_feed_on_the_hardware_stops_it(body, said):
    """The testbench of the matrix unit holds the RTL to the same (`rtl.feed.model`)."""
    feed = encode(Opcode.FEED, tag=4, **{"weights": 0, "sets": 1, "rows": 8} | body)
    with pytest.raises(ValueError, match=rf"^FEED \(tag 4\) stops with {said}$"):
        cluster([feed]).run([PROGRAM])


def test_an_address_outside_stops_vector():
    vector = encode(Opcode.VECTOR, tag=9, op=VectorOp.MAX, groups=1, rows=1, cols=1, kh=1, kw=1, height=1, width=1,
                    lane_last=15, source=CONFIG.act_words, low=-128, high=127)  # fmt: skip
    with pytest.raises(ValueError, match=r"VECTOR \(tag 9\) stops with ADDRESS, 0x1000"):
        cluster([vector]).run([PROGRAM])
