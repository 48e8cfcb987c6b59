"""SEND before the model of a link, against a numpy model: strided copies, posts, order of done, errors."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import FORMATS, HEADER, Memory, Opcode, encode
from superlip.rtl.link.frame import REQUEST
from superlip.rtl.ports import UnitError
from superlip.rtl.send import Send
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._memories import Memories
from superlip.sim.testbenches._streams import Source, start, tick, until

CASES = {
    "tn8-link8": dict(config=NodeConfig(act_words=1 << 20, weight_words=1 << 14)),
    "tn64-link32": dict(config=NodeConfig(tm=64, tn=64, act_words=1024, weight_words=512, link_bytes=32)),
}
REMOTE_WORDS = 1 << 20
WRONG = [
    "outside", "last_word", "weight", "far", "many_words", "many_rows", "many_planes", "wrapped", "remote", "no_rows",
    "no_planes", "unit", "counter",
]  # fmt: skip


def build(config):
    return Send(config)


class Link:
    """Takes frames as a link does: a header, then its words; ``stall``: the chance of a cycle in which it takes none.

    ``frames`` has (header fields, words, cycle of the header, cycle of the end) of each; the last one may not be whole.
    """

    def __init__(self, dut, *, rng, stall=0.0):
        self.dut, self.rng, self.stall = dut, rng, stall
        self.header, self.words = (
            [getattr(dut, f"frames__{stream}__{name}") for name in ("payload", "valid", "ready")]
            for stream in ("header", "words")
        )
        for *_, ready in (self.header, self.words):
            ready.value = 0
        self.frames, self.left, self.cycle, self.takes = [], 0, 0, False

    @property
    def ended(self):
        """Frames that are complete."""
        return len(self.frames) - bool(self.left)

    async def run(self):
        """Run for ever."""
        ready = 0
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            payload, valid, _ = self.words if self.left else self.header
            self.takes = bool(ready and valid.value == 1)
            if self.left:
                assert valid.value == 1, "a pause in a frame"
            else:
                assert self.words[1].value == 0, "words without a frame"
            if self.takes and self.left:
                self.frames[-1][1].append(int(payload.value))
                self.left -= 1
            elif self.takes:
                header = REQUEST.unpack(int(payload.value))
                self.frames.append([header, [], self.cycle, 0])
                self.left = header["words"]
            if self.takes and not self.left:
                self.frames[-1][3] = self.cycle
            ready = int(self.rng.random() >= self.stall)
            self.header[2].value = ready and not self.left
            self.words[2].value = ready and bool(self.left)

    @property
    def events(self):
        """What the frames leave behind: ``(memory, address, word)`` and ``(unit, counter)``, in order."""
        events = []
        for header, words, *_ in self.frames:
            events += [(header["memory"], header["address"] + i, word) for i, word in enumerate(words)]
            if header["post"] and len(words) == header["words"]:
                events.append((header["unit"], header["counter"]))
        return events


class Testbench:
    """The unit with its memories and a link. ``busy`` and ``stalled`` are looked at in every cycle."""

    def __init__(self, dut, *, read_stall=0.0, link_stall=0.0):
        self.dut, self.config, self.rng = dut, case()["config"], rng()
        self.memories = Memories(dut, self.config, rng=self.rng, stall=read_stall)
        self.link = Link(dut, rng=self.rng, stall=link_stall)
        self.instr = Source(dut, "unit__instr", rng=self.rng)
        self.done, self.taken = [], []  # cycles
        self.idle = 0  # cycles in which it was busy, moved nothing, and did not say that it was stalled
        dut.unit__halt.value = 0

    async def begin(self):
        await start(self.dut)
        for part in (self.memories, self.link, self):
            cocotb.start_soon(part.run())

    async def run(self):
        dut, failed = self.dut, False
        while True:
            await RisingEdge(dut.clk)
            busy, stalled = dut.unit__busy.value == 1, dut.unit__stalled.value == 1
            moves = self.link.takes or self.memories.is_read
            assert busy == (len(self.taken) > len(self.done)), "busy"
            assert not stalled or (busy and not moves), "stalled"
            self.idle += busy and not stalled and not moves
            failed |= self.error()[0] == 1
            assert not (failed and moves)
            if dut.unit__done.value == 1:
                self.done.append(self.link.cycle)
            if dut.unit__instr__valid.value == 1 and dut.unit__instr__ready.value == 1:
                self.taken.append(self.link.cycle)

    def issue(self, instructions):
        """Start to send instructions (dicts of fields)."""
        opcode = Opcode.SEND
        width = HEADER.width + FORMATS[opcode].width
        items = [int.from_bytes(encode(opcode, **i), "little") for i in instructions]
        assert all(item >> width == 0 for item in items)
        cocotb.start_soon(self.instr.send(items))

    def error(self):
        word = int(self.dut.unit__error.value)
        return word & 1, word >> 1 & 15, word >> 5


def addresses(start, count0, count1, count2, stride1, stride2):
    """Word addresses of a strided copy, in order; int64."""
    plane, row, word = np.ogrid[:count2, :count1, :count0]
    return (start + plane * stride2 + row * stride1 + word).ravel()


def model(config, words, instruction, *, good=None):
    """The frames of an instruction: (header fields, words); with ``good`` of one that has so many good words first."""
    i = {f.name: 0 for f in FORMATS[Opcode.SEND].fields} | instruction
    frames = [[i["remote"], []]]
    if i["count0"]:
        counts, frames = [i[f"count{n}"] for n in range(3)], []
        local = addresses(i["local"], *counts, i["local_stride1"], i["local_stride2"]).tolist()
        remote = addresses(i["remote"], *counts, i["remote_stride1"], i["remote_stride2"]).tolist()
        end = len(local) if good is None else good + 1
        for number, (source, address) in enumerate(zip(local[:end], remote[:end], strict=True)):
            first, payload = frames[-1] if frames else (0, [])
            if not 0 < len(payload) < config.frame_words or address != first + len(payload):
                frames.append([address, []])
            frames[-1][1].append(0 if number == good else words[i["memory"]][source])
    if good is not None:
        frames.pop()  # what has a wrong word never starts
    own = {"destination": i["node"], "memory": i["remote_memory"]}
    own |= {name: i[f"remote_{name}"] for name in ("unit", "counter")}
    posts = [0] * (len(frames) - 1) + [int(i["remote_post"] and good is None)]
    return [
        (own | {"address": address, "words": len(payload), "post": post}, payload)
        for (address, payload), post in zip(frames, posts, strict=False)
    ]


def check_frames(found, expected):
    """Headers and words; the address of a frame without words says nothing."""
    assert [words for _, words, *_ in found] == [words for _, words in expected]
    for (header, words, *_), (wanted, _) in zip(found, expected, strict=True):
        ignored = {} if words else {"address": 0}
        assert header | ignored == wanted | ignored


def random_side(r, size, shape):
    """Start and strides with which the shape fits in ``size`` words; often without gaps, or far apart."""
    count0, count1, count2 = shape
    stride1 = count0 + r.choice([0, 0, 1, r.randint(0, 9)])
    stride2 = count1 * stride1 + r.choice([0, 0, r.randint(0, 9)])
    kind = r.random()
    if kind < 0.1:
        stride1 = stride2 = 0
    elif kind < 0.5:
        stride1 = r.randint(0, (size - count0) // count1)
        stride2 = r.randint(0, (size - count0 - (count1 - 1) * stride1) // count2)
    # A stride that is not taken may be anything.
    stride1 = r.getrandbits(20) if count1 == 1 else stride1
    stride2 = r.getrandbits(20) if count2 == 1 else stride2
    span = (count2 - 1) * stride2 + (count1 - 1) * stride1 + count0
    return None if span > size else (r.choice([0, size - span, r.randint(0, size - span)]), stride1, stride2)


def random_options(r, memory):
    return dict(
        memory=memory,
        remote_memory=r.randrange(2),
        node=r.getrandbits(8),
        remote_post=r.randrange(2),
        remote_unit=r.randrange(6),
        remote_counter=r.choice([6, 7]),
        tag=r.getrandbits(16),
    )


def random_copy(r, config, shape=None):
    sizes = (config.act_words, config.weight_words)
    while True:
        counts = shape or [
            r.choice([1, r.randint(1, 8), r.randint(1, 3 * config.frame_words)]),
            r.choice([1, 2, r.randint(1, 9)]),
            r.choice([1, 1, r.randint(1, 4)]),
        ]
        memory = r.randrange(2)
        local, remote = random_side(r, sizes[memory], counts), random_side(r, REMOTE_WORDS, counts)
        if local and remote:
            break
    copy = dict(zip(("count0", "count1", "count2"), counts, strict=True))
    copy |= dict(zip(("local", "local_stride1", "local_stride2"), local, strict=True))
    copy |= dict(zip(("remote", "remote_stride1", "remote_stride2"), remote, strict=True))
    if r.random() < 0.15:
        copy["count0"] = 0
    return copy | random_options(r, memory)


async def run_program(testbench, program):
    """Every frame once, in order; one done each, with its last frame."""
    dut, link = testbench.dut, testbench.link
    testbench.issue(program)
    expected = [model(testbench.config, testbench.memories.words, i) for i in program]
    frames = [frame for part in expected for frame in part]
    await until(dut, lambda: link.ended >= len(frames) and len(testbench.done) >= len(program))
    await tick(dut, 50)
    check_frames(link.frames, frames)
    ends = np.cumsum([len(part) for part in expected]) - 1
    assert testbench.done == [link.frames[end][3] for end in ends]
    assert testbench.error()[0] == 0
    assert testbench.memories.reads == sum(len(words) for _, words in frames)
    assert testbench.idle <= len(frames)  # the cycle in which a frame is closed, where its last word came before


@cocotb.test()
async def copies(dut):
    """Random copies, memories slower than the link: it takes all that is there, again and again."""
    testbench = Testbench(dut, read_stall=0.6, link_stall=0.1)
    await testbench.begin()
    await run_program(testbench, [random_copy(testbench.rng, testbench.config) for _ in range(40)])


@cocotb.test()
async def copies_at_full_speed(dut):
    """Random copies, nothing in their way: no slower than a word a cycle, one more a frame, 4 an instruction."""
    testbench = Testbench(dut)
    await testbench.begin()
    program = [random_copy(testbench.rng, testbench.config) for _ in range(40)]
    await run_program(testbench, program)
    cycles = testbench.link.cycle - 50 - testbench.taken[0]
    assert cycles <= testbench.memories.reads + len(testbench.link.frames) + 4 * len(program) + 10


@cocotb.test()
async def many_short_frames(dut):
    """More frames than it may hold, of words that are far apart or of none at all."""
    testbench = Testbench(dut, link_stall=0.9)
    await testbench.begin()
    r, config = testbench.rng, testbench.config
    posts = [dict(count0=0, count1=r.getrandbits(16), count2=r.getrandbits(16)) for _ in range(12)]
    posts = [post | random_options(r, r.randrange(2)) for post in posts]
    program = [random_copy(r, config, [1, 12, 1]), *posts, random_copy(r, config, [1, 2, 5])]
    await run_program(testbench, program)


@cocotb.test()
async def long_copies(dut):
    """Many words (each bit of their number alone), rows and planes."""
    testbench = Testbench(dut)
    await testbench.begin()
    r, config = testbench.rng, testbench.config
    words = [1 << bit for bit in range(min(1024, config.weight_words).bit_length())]
    shapes = [*([count, 1, 1] for count in words), [1, r.randint(258, 300), 1], [1, 1, r.randint(258, 300)]]
    await run_program(testbench, [random_copy(r, config, shape) for shape in shapes])


@cocotb.test()
async def rows_merge(dut):
    """Rows that follow each other at the destination fill frames, however they lie at the source."""
    testbench = Testbench(dut)
    config = testbench.config
    await testbench.begin()
    rows = 4 * config.frame_words // 8
    copy = dict(count0=4, count1=rows, count2=2, local=100, local_stride1=6, local_stride2=20,
                remote=7, remote_stride1=4, remote_stride2=4 * rows, node=200)  # fmt: skip
    await run_program(testbench, [copy])
    assert [header["words"] for header, *_ in testbench.link.frames] == [config.frame_words] * 4


@cocotb.test()
async def holds_two_frames(dut):
    """A link that takes nothing: no done, and no more read than there is room for."""
    testbench = Testbench(dut, link_stall=1.0)
    config = testbench.config
    await testbench.begin()
    copy = dict(count0=config.frame_words, count1=1, count2=1, node=200)
    testbench.issue([copy] * 3)
    await tick(dut, 500)
    assert testbench.done == [] and testbench.link.frames == []
    assert testbench.memories.reads == max(8, 2 * config.frame_words)
    assert int(dut.unit__busy.value) == int(dut.unit__stalled.value) == 1
    testbench.link.stall = 0.7
    await until(dut, lambda: len(testbench.done) == 3)
    check_frames(testbench.link.frames, model(config, testbench.memories.words, copy) * 3)


@cocotb.test()
async def full_rate(dut):
    """One long copy: a word in all cycles but those of the headers."""
    testbench = Testbench(dut)
    config = testbench.config
    await testbench.begin()
    count = 10
    copy = dict(count0=config.frame_words, count1=count, count2=1, local_stride1=config.frame_words,
                remote_stride1=config.frame_words, node=200)  # fmt: skip
    await run_program(testbench, [copy])
    frames = testbench.link.frames
    assert frames[-1][3] - frames[0][2] + 1 == count * (config.frame_words + 1)


def wrong_instruction(r, config, wrong):
    """Fields, error, syndrome, and how many good words it has before that (None: it is not begun)."""
    words, act, weight = config.frame_words, config.act_words, config.weight_words
    options = random_options(r, Memory.ACT)
    long = dict(count0=words + 1, count1=1, count2=1) | options
    row = dict(count0=1, count1=1, count2=1, remote_stride1=50, remote_stride2=50) | options
    few, high = r.randint(1, 7), 1 << r.randint(3, 15)
    near = r.randint(-(-act // (few + 1)), (act - 1) // few)  # a stride: ``few`` of it fit, one more doesn't
    unit, counter, no_unit, no_counter = r.randrange(6), r.choice([6, 7]), r.choice([6, 7]), r.randrange(6)
    match wrong:
        case "outside":
            return long | dict(local=act - words), UnitError.ADDRESS, act, words
        case "last_word":
            return long | dict(local=act - 1), UnitError.ADDRESS, act, 1
        case "weight" | "far":
            local = weight if wrong == "weight" else r.randint(1 << 19, (1 << 20) - 1)
            return long | dict(memory=Memory.WEIGHT, local=local), UnitError.ADDRESS, local, 0
        case "many_words":
            return row | dict(count0=high | few, local=act - few - 1), UnitError.ADDRESS, act, few + 1
        case "many_rows":
            fields = dict(count1=high | few, local_stride1=near)
            return row | fields, UnitError.ADDRESS, near * (few + 1), few + 1
        case "many_planes":
            fields = dict(count2=high | few, local_stride2=near)
            return row | fields, UnitError.ADDRESS, near * (few + 1), few + 1
        case "wrapped":
            return row | dict(count1=3, local=1, local_stride1=(1 << 20) - 1), UnitError.ADDRESS, 1 << 20, 1
        case "remote":
            return long | dict(remote=REMOTE_WORDS - 2), UnitError.ADDRESS, REMOTE_WORDS, 2
        case "no_rows":
            fields = dict(count1=0, count2=r.getrandbits(16), remote_post=0)
            return long | fields, UnitError.OPERAND, 0, None
        case "no_planes":
            fields = dict(count1=r.randint(1, (1 << 16) - 1), count2=0, remote_post=0)
            return long | fields, UnitError.OPERAND, 0, None
        case "unit":
            fields = dict(remote_post=1, remote_unit=no_unit, remote_counter=counter)
            return long | fields, UnitError.OPERAND, no_unit | counter << 3, None
        case "counter":
            fields = dict(remote_post=1, remote_unit=unit, remote_counter=no_counter)
            return long | fields, UnitError.OPERAND, unit | no_counter << 3, None
    raise AssertionError(wrong)


@cocotb.test()
@cocotb.parametrize(wrong=WRONG)
async def wrong_instructions_stop(dut, wrong):
    """An instruction that can't be executed: what was before it is complete, its own done never comes."""
    testbench = Testbench(dut, read_stall=0.2, link_stall=0.8)
    config, r = testbench.config, testbench.rng
    await testbench.begin()
    before = random_copy(r, config, [3, 2, 1])
    instruction, code, syndrome, good = wrong_instruction(r, config, wrong)
    testbench.issue([before, instruction, before])
    await until(dut, lambda: testbench.error()[0])
    await tick(dut, 100)
    assert testbench.error() == (1, code, syndrome)
    assert len(testbench.done) == 1 and len(testbench.taken) == 2
    expected = model(config, testbench.memories.words, before)
    if good is not None:
        expected += model(config, testbench.memories.words, instruction, good=good)
    check_frames(testbench.link.frames, expected)


@cocotb.test()
@cocotb.parametrize(when=["idle", "offered", "within"])
async def halt_starts_nothing(dut, when):
    """Halted: a frame that has started is completed, no other starts, nothing more is read or taken."""
    testbench = Testbench(dut, link_stall=1.0 if when == "offered" else 0.5)
    config, link = testbench.config, testbench.link
    await testbench.begin()
    copy = dict(count0=10 * config.frame_words, count1=1, count2=1, node=testbench.rng.getrandbits(8))
    reached = {
        "idle": lambda: True,
        "offered": lambda: dut.frames__header__valid.value == 1,
        "within": lambda: len(link.frames) == 3 and 4 < link.left < 10,
    }
    if when != "idle":
        testbench.issue([copy])
    await until(dut, reached[when])
    dut.unit__halt.value = 1
    if when == "idle":
        testbench.issue([copy])
    link.stall, began, reads = 0.5, len(link.frames), testbench.memories.reads
    await tick(dut, 4 * config.frame_words)
    assert link.ended == len(link.frames) == began
    assert testbench.memories.reads <= reads + 1
    assert testbench.done == [] and len(testbench.taken) == (when != "idle")
    check_frames(link.frames, model(config, testbench.memories.words, copy)[:began])
