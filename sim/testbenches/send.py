"""SEND through a pair of ports against a numpy model: strided copies, posts, order of done, errors."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.rtl.isa import FORMATS, HEADER, Memory, Opcode, encode
from superlip.rtl.link.frame import FrameKind, FrameSizes
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._links import CONFIGS, NODE, Arrivals, LinkPair, Wire, error_of
from superlip.sim.testbenches._memories import Memories
from superlip.sim.testbenches._streams import Source, start, tick, until

CASES = CONFIGS
HEADER_BITS = HEADER.width


def build(config):
    return LinkPair(config, send=True)


class Testbench:
    """The sending unit, its memories, both ports and the wires between them."""

    def __init__(self, dut, *, read_stall=0.0, write_stall=0.0, link_stall=0.0):
        self.dut, self.config, self.rng = dut, case()["config"], rng()
        self.memories = Memories(dut, self.config, rng=self.rng, stall=read_stall)
        self.arrivals = Arrivals(dut, "b", self.config, rng=self.rng, stall=write_stall)
        self.back = Arrivals(dut, "a", self.config, rng=self.rng)
        self.wire = Wire(dut, "a", "b", rng=self.rng, stall=link_stall)
        self.return_wire = Wire(dut, "b", "a", rng=self.rng)
        self.instr = Source(dut, "unit__instr", rng=self.rng)
        self.done = []  # (cycle, frames that had left)
        self.cycle = 0
        dut.a_reset.value = dut.b_reset.value = dut.a_halt.value = dut.b_halt.value = dut.unit__halt.value = 0
        dut.b_frames__header__valid.value = dut.b_frames__words__valid.value = 0

    async def begin(self):
        await start(self.dut)
        for part in (self.memories, self.arrivals, self.back, self.wire, self.return_wire, self):
            cocotb.start_soon(part.run())

    async def run(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            if self.dut.unit__done.value == 1:
                self.done.append(self.cycle)

    def issue(self, instructions):
        """Start to send instructions (dicts of fields)."""
        opcode = Opcode.SEND
        width = HEADER_BITS + FORMATS[opcode].width
        items = [int.from_bytes(encode(opcode, **i), "little") for i in instructions]
        assert all(item >> width == 0 for item in items)
        cocotb.start_soon(self.instr.send(items))

    def error(self):
        word = int(self.dut.unit__error.value)
        return word & 1, word >> 1 & 15, word >> 5

    def data_frames(self):
        return [(h, w) for h, w in self.wire.decoded(self.config) if h["kind"] == FrameKind.DATA]


def addresses(start, count0, count1, count2, stride1, stride2):
    """Word addresses of a strided copy, in order; int64."""
    plane, row, word = np.ogrid[:count2, :count1, :count0]
    return (start + plane * stride2 + row * stride1 + word).ravel()


def counts(instruction):
    return [instruction[f"count{i}"] for i in range(3)]


def model(words, instruction):
    """What the instruction leaves at the destination: events as Arrivals has them."""
    i = {f.name: 0 for f in FORMATS[Opcode.SEND].fields} | instruction
    events = []
    if i["count0"]:
        local = addresses(i["local"], *counts(i), i["local_stride1"], i["local_stride2"])
        remote = addresses(i["remote"], *counts(i), i["remote_stride1"], i["remote_stride2"])
        values = [words[i["memory"]][address] for address in local]
        events = [(i["remote_memory"], int(a), v) for a, v in zip(remote, values, strict=True)]
    if i["remote_post"]:
        events.append((i["remote_unit"], i["remote_counter"]))
    return events


def random_side(r, size, shape):
    """Start and strides with which the shape fits in ``size`` words; sometimes without gaps."""
    count0, count1, count2 = shape
    stride1 = count0 + r.choice([0, 0, 1, r.randint(0, 9)])
    stride2 = count1 * stride1 + r.choice([0, 0, r.randint(0, 9)])
    if r.random() < 0.1:
        stride1 = stride2 = 0
    span = (count2 - 1) * stride2 + (count1 - 1) * stride1 + count0
    return None if span > size else (r.choice([0, size - span, r.randint(0, size - span)]), stride1, stride2)


def random_copy(r, config):
    sizes = (config.act_words, config.weight_words)
    while True:
        shape = [
            r.choice([1, r.randint(1, 8), r.randint(1, 3 * config.frame_words)]),
            r.choice([1, 2, r.randint(1, 9)]),
            r.choice([1, 1, r.randint(1, 4)]),
        ]
        memory, remote_memory = r.randrange(2), r.randrange(2)
        local, remote = random_side(r, sizes[memory], shape), random_side(r, sizes[remote_memory], shape)
        if local and remote:
            break
    copy = dict(zip(("count0", "count1", "count2"), shape, strict=True))
    copy |= dict(zip(("local", "local_stride1", "local_stride2"), local, strict=True))
    copy |= dict(zip(("remote", "remote_stride1", "remote_stride2"), remote, strict=True))
    if r.random() < 0.15:
        copy["count0"] = 0
    return copy | dict(
        memory=memory,
        remote_memory=remote_memory,
        node=NODE["b"],
        remote_post=r.randrange(2),
        remote_unit=r.randrange(6),
        remote_counter=r.choice([6, 7]),
        tag=r.getrandbits(16),
    )


@cocotb.test()
async def copies(dut):
    """Random copies: every word and post once, in order; one done each, after its last frame has started."""
    testbench = Testbench(dut, read_stall=0.3, write_stall=0.2, link_stall=0.2)
    await testbench.begin()
    program = [random_copy(testbench.rng, testbench.config) for _ in range(25)]
    testbench.issue(program)
    expected = [event for i in program for event in model(testbench.memories.words, i)]
    await until(dut, lambda: len(testbench.arrivals.events) >= len(expected) and len(testbench.done) >= len(program))
    await tick(dut, 200)
    assert testbench.arrivals.events == expected
    assert len(testbench.done) == len(program)
    assert int(dut.unit__busy.value) == 0
    assert testbench.error()[0] == 0
    assert error_of(dut, "a")[0] == error_of(dut, "b")[0] == 0
    frames = testbench.data_frames()
    assert sum(header["post"] for header, _ in frames) == sum(i["remote_post"] for i in program)
    assert testbench.memories.reads == sum(len(words) for _, words in frames)
    assert testbench.wire.gaps == 0


@cocotb.test()
async def rows_merge(dut):
    """Rows that follow each other at the destination fill frames, however they lie at the source."""
    testbench = Testbench(dut)
    config = testbench.config
    await testbench.begin()
    rows = 4 * config.frame_words // 8
    copy = dict(count0=4, count1=rows, count2=2, local=100, local_stride1=6, local_stride2=20,
                remote=7, remote_stride1=4, remote_stride2=4 * rows, node=NODE["b"])  # fmt: skip
    testbench.issue([copy])
    await until(dut, lambda: testbench.done)
    await tick(dut, 300)
    assert testbench.arrivals.events == model(testbench.memories.words, copy)
    assert [header["words"] for header, _ in testbench.data_frames()] == [config.frame_words] * 4


@cocotb.test()
async def done_follows_the_frame(dut):
    """A throttled link: no done before the link has taken the last word of the frame."""
    testbench = Testbench(dut, link_stall=1.0)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    await testbench.begin()
    copy = dict(count0=config.frame_words, count1=1, count2=1, node=NODE["b"])
    testbench.issue([copy] * 3)
    await tick(dut, 500)
    assert testbench.done == []
    assert testbench.memories.reads == 2 * config.frame_words  # what it may hold
    assert int(dut.unit__busy.value) == 1
    assert int(dut.unit__stalled.value) == 1
    testbench.wire.stall = 0.7
    await until(dut, lambda: len(testbench.done) == 3)
    await tick(dut, 100)
    ends = [cycle for cycle, flits in testbench.wire.frames if len(flits) > sizes.flits(0)]
    # Two flits of the frame may still be in the transmitter's pipeline, then comes its CRC flit.
    assert all(done < end for done, end in zip(testbench.done, ends, strict=True))
    assert all(start < done for start, done in zip(ends, testbench.done[1:], strict=False))


@cocotb.test()
async def full_rate(dut):
    """One long copy: payload is at least 85 % of the link's cycles, the frames without a gap inside."""
    testbench = Testbench(dut)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    await testbench.begin()
    count = 10
    testbench.issue([dict(count0=config.frame_words, count1=count, count2=1, local_stride1=config.frame_words,
                      remote_stride1=config.frame_words, node=NODE["b"])])  # fmt: skip
    await until(dut, lambda: len(testbench.data_frames()) == count)
    ends = [cycle for cycle, flits in testbench.wire.frames if len(flits) > sizes.flits(0)]
    rate = (count - 1) * config.frame_words * sizes.word_flits / (ends[-1] - ends[0])
    dut._log.info("payload %.1f %% of cycles", 100 * rate)
    assert rate >= 0.85


def wrong_instructions(config):
    """Instruction, error, syndrome, whole frames that it may send."""
    words = config.frame_words
    long = dict(count0=words + 1, count1=1, count2=1, node=NODE["b"])
    row = dict(count0=2, count1=3, count2=1, local_stride1=600, remote_stride1=50, node=NODE["b"])
    return {
        "outside": (long | dict(local=config.act_words - words), UnitError.ADDRESS, config.act_words, 1),
        "at_once": (long | dict(local=config.act_words), UnitError.ADDRESS, config.act_words, 0),
        "weight": (long | dict(memory=Memory.WEIGHT, local=600), UnitError.ADDRESS, 600, 0),
        "third_row": (row, UnitError.ADDRESS, 1200, 2),
        "wrapped": (row | dict(local=1, local_stride1=(1 << 20) - 1), UnitError.ADDRESS, 1 << 20, 1),
        "remote": (long | dict(remote=(1 << 20) - 2), UnitError.ADDRESS, 1 << 20, 0),
        "no_rows": (long | dict(count1=0), UnitError.OPERAND, 0, 0),
        "no_planes": (long | dict(count2=0), UnitError.OPERAND, 0, 0),
        "post": (long | dict(remote_post=1, remote_unit=6, remote_counter=6), UnitError.OPERAND, 6 | 6 << 3, 0),
    }


@cocotb.test()
@cocotb.parametrize(wrong=list(wrong_instructions(next(iter(CONFIGS.values()))["config"])))
async def wrong_instructions_stop(dut, wrong):
    """An instruction that can't be executed: what was before it is complete, its own done never comes."""
    testbench = Testbench(dut, read_stall=0.2, link_stall=0.8)
    config = testbench.config
    await testbench.begin()
    good = dict(count0=3, count1=2, count2=1, local_stride1=3, remote_stride1=5, node=NODE["b"],
                remote_post=1, remote_unit=1, remote_counter=6)  # fmt: skip
    instruction, code, syndrome, frames = wrong_instructions(config)[wrong]
    testbench.issue([good, instruction, good])
    await until(dut, lambda: testbench.error()[0])
    assert len(testbench.done) == 1
    await tick(dut, 600)
    assert testbench.error() == (1, code, syndrome)
    assert len(testbench.done) == 1
    sent = testbench.data_frames()
    assert len(sent) == 2 + frames
    expected = model(testbench.memories.words, good)
    assert testbench.arrivals.events[: len(expected)] == expected
    assert len(testbench.arrivals.events) == sum(len(words) for _, words in sent) + 1


@cocotb.test()
async def halt_completes_the_frame(dut):
    """Halted in the middle of a frame: that frame is completed, no other starts."""
    testbench = Testbench(dut, link_stall=0.5)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    await testbench.begin()
    testbench.issue([dict(count0=10 * config.frame_words, count1=1, count2=1, node=NODE["b"])])

    def within_third():
        sent = sum(len(flits) for _, flits in testbench.wire.frames)
        return len(testbench.data_frames()) == 2 and 4 < len(testbench.wire.flits) - sent < 10

    await until(dut, within_third)
    dut.unit__halt.value = 1
    await tick(dut, 10 * sizes.flits(config.frame_words))
    assert len(testbench.data_frames()) == 3
    assert sum(len(flits) for _, flits in testbench.wire.frames) == len(testbench.wire.flits)  # no piece of a frame
    assert testbench.done == []
