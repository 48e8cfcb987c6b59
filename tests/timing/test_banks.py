"""Who reads which bank when."""

import numpy as np

from superlip.boards import TARGETS
from superlip.rtl.config import PATIENCE
from superlip.rtl.isa import Unit
from superlip.timing.banks import Job, MatrixReads, Use, Uses
from superlip.timing.instructions import Instruction

NODE = TARGETS["tiny"].node  # four banks of 1,024 words
PLAIN = {
    "act": 0, "plane": 64, "pitch": 8, "height": 8, "width": 8, "y0": 0, "x0": 0, "stride_y": 1, "stride_x": 1, "kh": 1,
    "kw": 1, "dilation_y": 1, "dilation_x": 1, "n_tiles": 1, "rows": 8, "cols": 8, "acc": 0, "accumulate": 0, "fold": 0,
}  # fmt: skip


def matrix(first=100, **body):
    """MATMUL that begins all passes of one instruction in a cycle."""
    reads = MatrixReads(NODE, 10)
    job = Job.of(Instruction(int(Unit.MATMUL), 1, [], [], PLAIN | body))
    job.spans.append((first, job.sets, job.pixels))
    reads.jobs.append(job)
    reads.known = first + job.sets * job.pixels
    return reads, job


def words(job):
    """By pass and pixel: the word that is read, or -1; counted out."""
    b = job.instruction.body
    for n, ky, kx in np.ndindex(b["n_tiles"], b["kh"], b["kw"]):
        for row in range(b["rows"]):
            for col in range(b["cols"] + (1 << b["fold"]) - 1):
                y = b["y0"] + row * b["stride_y"] + ky * b["dilation_y"]
                x = b["x0"] + col * b["stride_x"] + kx * b["dilation_x"]
                inside = 0 <= y < b["height"] and 0 <= x < b["width"]
                yield b["act"] + n * b["plane"] + y * b["pitch"] + x if inside else -1


def test_free_cycles_are_those_in_which_matmul_reads_elsewhere_or_padding():
    rng = np.random.default_rng(3)
    for _ in range(40):
        stride = int(rng.integers(1, 3))
        reads, job = matrix(
            first=0, act=int(rng.integers(900, 1030)), kh=3, kw=3, n_tiles=2, y0=-1, x0=-1, stride_y=stride,
            stride_x=stride, rows=8 // stride, cols=8 // stride, fold=int(rng.integers(0, 2)),
        )  # fmt: skip
        busy = [word >= 0 and word // 1024 == 1 for word in words(job)]
        free = [cycle for cycle, is_busy in enumerate(busy) if not is_busy and cycle % PATIENCE != PATIENCE // 2]
        if len(free) < 20:
            continue
        end, left = reads.reads(1 << 1, 0, 5)
        turns = len(range(PATIENCE // 2, end, PATIENCE))
        straddles = len({word // 1024 for word in words(job) if word >= 0}) > 1
        assert left == 0 and (abs(end - 1 - free[4 - min(turns, 4)]) <= (12 if straddles else 0) or turns)


def test_another_bank_is_free_at_once_and_its_own_is_not():
    reads, _ = matrix()
    assert reads.reads(reads.bank(2000), 100, 8) == (108, 0)
    assert reads.reads(reads.bank(5), 90, 8) == (98, 0)  # before it
    assert reads.reads(reads.bank(5), 100, 8) == (164, 8) and not reads.lost  # then nothing more is known


def test_a_turn_is_taken_from_matmul():
    reads, _ = matrix(n_tiles=2)
    assert reads.reads(reads.bank(5), 100, 1) == (PATIENCE + PATIENCE // 2 + 1, 0) and reads.lost == 1


def test_who_comes_before_matmul_takes_its_reads():
    reads, _ = matrix()
    reads.taken(reads.bank(5), 90, 110)
    assert reads.lost == 10
    reads.taken(reads.bank(2000), 110, 120)
    assert reads.lost == 10


def test_sums_are_read_while_matmul_does_not_add():
    reads, job = matrix(n_tiles=2)
    assert job.sets == 2
    assert reads.sums(1, 100, 50) == (150, 0)  # the other half
    assert reads.sums(0, 100, 50) == (150, 0)  # the first pass overwrites
    assert reads.sums(0, 150, 50) == (reads.known + 10, 26)


def test_writes_behind_those_of_another_unit():
    uses = Uses()
    uses.last.append(Use(100, 140, 1, [1, 1, 2, 2]))
    assert uses.behind(1, 90, 5) == 95
    assert uses.behind(1, 95, 10) == 125  # five before, five behind the rows in bank 0
    assert uses.behind(2, 95, 10) == 105
    uses.last.append(Use(200, 300, 2, [1]))
    assert uses.behind(1, 200, 10) == 220
