"""LOAD against random copies: data, order, throughput, errors, halt."""

from itertools import islice

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

from superlip.element import INT8
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import Opcode
from superlip.rtl.load import Load, stage_words
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._axi import SLVERR, copy_words, random_copy, words_of
from superlip.sim.testbenches._copies import (
    CASES,
    DRAM_WORDS,
    STRIPE,
    CopyTestbench,
    bad_answers,
    fast_bodies,
    many_rows,
    misplace,
    short_rows,
    slow_ports,
    wide_copies,
)
from superlip.sim.testbenches._streams import pauses, tick

__all__ = ["CASES", "build"]


def build(**parameters):
    return Load(NodeConfig(**parameters))


class Testbench(CopyTestbench):
    """A Load with a buffer that logs writes; ``done``: (cycle, writes before it)."""

    opcode, channel, idle_inputs = Opcode.LOAD, "read", ("rvalid", "arready", "rid")

    def __init__(self, dut, **options):
        super().__init__(dut, **options)
        self.writes, self.taken = [], []
        self.moves = self.beats = 0

    async def watch(self):
        ports = [
            [getattr(self.dut, f"write_{name}__{s}") for s in ("valid", "ready", "addr", "data", "mask")]
            for name in ("act", "weight")
        ]
        done, busy, stalled = (getattr(self.dut, f"unit__{name}") for name in ("done", "busy", "stalled"))
        beat = self.dut.beat
        ready = [False, False]
        while True:
            for index, port in enumerate(ports):
                ready[index] = self.rng.random() >= self.stall
                port[1].value = ready[index]
            await RisingEdge(self.dut.clk)
            self.now += 1
            self.moves += busy.value == 1 and stalled.value == 0
            self.beats += beat.value == 1
            if done.value:
                self.done.append((self.now, len(self.writes)))
            for index, (valid, _, addr, data, mask) in enumerate(ports):
                if ready[index] and valid.value:
                    assert int(mask.value) == (1 << self.config.tn) - 1
                    self.writes.append((index, int(addr.value), int(data.value)))
                    self.taken.append(self.now)

    def expected(self, body, count=None):
        """The writes of one instruction, or the first ``count``."""
        for local, dram in list(copy_words(self.regions.in_memory(body)))[:count]:
            word = words_of(self.memory, self.config, STRIPE, dram)
            if body.get("fill"):
                word = bytes([body["fill_value"] & 0xFF]) * self.config.tn
            yield body["memory"], local, int.from_bytes(word, "little")

    def foreseen(self, body, most):
        """The first ``most`` writes of an instruction, and what stops it then: (code, syndrome), or None."""
        memory, fill, axi_bytes = body["memory"], body.get("fill"), self.config.axi_bytes
        runs, writes, left = self.runs(body), [], 0
        for local, _ in islice(copy_words(body), most):
            if local >= self.sizes[memory]:
                return writes, (UnitError.ADDRESS, local)
            if not left:
                start, left, outside = next(runs)
            if outside and not fill:
                return writes, outside
            places = (self.memory.place(p, self.address(start, p)) for p in range(self.config.axi_ports))
            word = b"".join(self.memory.data[place : place + axi_bytes] for place in places)
            if fill:
                word = bytes([body["fill_value"] & 0xFF]) * self.config.tn
            writes.append((memory, local, int.from_bytes(word, "little")))
            start, left = start + 1, left - 1
        return writes, None

    def random_bodies(self, count, *, fills=0.2):
        bodies = super().random_bodies(count)
        for body in bodies:
            if self.rng.random() < fills:
                body |= {"fill": 1, "fill_value": self.rng.randint(*INT8.bounds)}
        return bodies

    def check(self, bodies):
        """Every write in order, and each done exactly behind its last write."""
        expected, ends = [], []
        for body in bodies:
            expected += self.expected(body)
            ends.append(len(expected))
        assert self.writes == expected
        assert [n for _, n in self.done] == ends
        for (cycle, _), end in zip(self.done, ends, strict=True):
            assert cycle == self.taken[end - 1] + 1
        assert self.moves == len(expected)
        assert self.beats == len(expected) - sum(words_in(body) for body in bodies if body.get("fill"))


def words_in(body):
    return body["count0"] * body["count1"] * body["count2"]


@cocotb.test()
async def copies(dut):
    """Random strided copies and fills, everything stalling."""
    testbench = Testbench(dut, stall=0.3)
    await testbench.start(stall=0.3, latency=9, waits=True)
    bodies = testbench.random_bodies(30)
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    await tick(dut, 3)
    testbench.check(bodies)
    assert not dut.unit__busy.value and not dut.unit__error.value
    words = sum(words_in(body) for body in bodies if not body.get("fill"))
    for port in testbench.memory.ports.values():
        assert port.beats == words
        assert port.most <= testbench.config.axi_outstanding


@cocotb.test()
async def axi_ram(dut):
    """The same against somebody else's AXI memory, which checks what it is asked."""
    testbench = Testbench(dut, stall=0.1)
    await testbench.start(serve=False)
    size = len(testbench.memory.data)
    for index in range(testbench.config.axi_ports):
        ram = AxiRamRead(AxiReadBus.from_prefix(dut, f"dram__{index}_"), dut.clk, dut.rst, size=size)
        ram.mem.write(0, bytes(testbench.memory.data))
        for channel in (ram.ar_channel, ram.r_channel):
            channel.set_pause_generator(pauses(testbench.rng, 0.2))
    bodies = testbench.random_bodies(6)
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    testbench.check(bodies)


@cocotb.test()
async def writes_wait(dut):
    """A fast memory, and a buffer that takes nothing for long: what comes has its place, again and again."""
    testbench = Testbench(dut)
    await testbench.start(latency=2)
    line = {"count1": 1, "count2": 1, "local": 3, "memory": 0, "count0": 400}
    bodies = [line | {"dram": 1 + 410 * n} for n in range(4)]
    sender = cocotb.start_soon(testbench.send(bodies))
    for _ in range(3):
        testbench.stall = 1.0
        await tick(dut, 2 * stage_words(testbench.config))
        testbench.stall = 0.0
        await tick(dut, 300)
    await sender
    await testbench.finish(len(bodies))
    testbench.check(bodies)


@cocotb.test()
async def throughput(dut):
    """One word a cycle over instruction boundaries, 30 cycles of latency; short rows that join in DRAM too."""
    testbench = Testbench(dut)
    await testbench.start(latency=30)
    bodies = fast_bodies()
    begin = testbench.now
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    testbench.check(bodies)
    first = testbench.taken[0] - begin
    speed = len(testbench.taken) / (testbench.taken[-1] - testbench.taken[0] + 1)
    dut._log.info("%.3f words a cycle, first word after %d cycles", speed, first)
    assert speed >= testbench.attainable(30, own=12)


@cocotb.test()
async def latency(dut):
    """The documented latency of the first word is the one seen."""
    testbench = Testbench(dut)
    await testbench.start(latency=1)
    begin = testbench.now
    cocotb.start_soon(testbench.send([{"count0": 4, "count1": 1, "count2": 1}]))
    while not dut.dram__0__arvalid.value:
        await tick(dut)
    asked = testbench.now
    while not dut.dram__0__rvalid.value:
        await tick(dut)
    memory_cycles = testbench.now - asked
    await testbench.finish(1)
    assert testbench.taken[0] - begin - memory_cycles - 1 == Load(testbench.config).latency


def spoil(testbench, kind, attempt, before):
    """A copy with an error of that kind, the place of its first bad word, and the syndrome."""
    rng = testbench.rng
    body = random_copy(rng, testbench.sizes, DRAM_WORDS)
    if kind == "REGION":
        return testbench.regions.spoiled(body)
    if kind != "AXI_READ":
        return body, *misplace(rng, body, testbench.sizes[body["memory"]], kind, attempt)
    used = {d for b in before if not b.get("fill") for _, d in copy_words(b)}
    words = [d for _, d in copy_words(body)]
    word = next((d for d in rng.sample(words, len(words)) if d not in used), None)
    if word is None:
        return spoil(testbench, kind, attempt, before)
    port = rng.randrange(testbench.config.axi_ports)
    testbench.memory.broken[port * STRIPE + word * testbench.config.axi_bytes] = SLVERR
    return body, words.index(word), port << 8 | 2


@cocotb.test()
@cocotb.parametrize(kind=["ADDRESS", "WRAP", "OPERAND", "AXI_READ", "REGION"], attempt=[0, 1, 2])
async def errors(dut, kind, attempt):
    """Each error stops the unit at the right word, with everything before it done and nothing after."""
    testbench = Testbench(dut, stall=0.2, salt=f"{kind} {attempt}")
    await testbench.start(stall=0.2)
    before, after = testbench.random_bodies(attempt * 3), testbench.random_bodies(3)
    body, place, syndrome = spoil(testbench, kind, attempt, before)
    sender = cocotb.start_soon(testbench.send([*before, body, *after]))
    error = await testbench.stopped(lambda: (len(testbench.writes), len(testbench.done)))
    assert error == 1 | UnitError[kind.replace("WRAP", "ADDRESS")] << 1 | syndrome << 5
    expected = [w for b in before for w in testbench.expected(b)]
    expected += list(testbench.expected(body, place))
    assert testbench.writes == expected
    assert len(testbench.done) == len(before)
    sender.cancel()


@cocotb.test()
async def rows_of_a_word(dut):
    """A burst a cycle over the ends of copies; on a port that is slow as many under way as may be, and no more."""
    testbench = Testbench(dut)
    await testbench.start(latency=1)
    slow = await slow_ports(testbench)
    begin = len(testbench.taken)
    await testbench.send(bodies := short_rows(30))
    await testbench.finish(len(slow) + len(bodies))
    testbench.check(slow + bodies)
    taken = testbench.taken[begin:]
    speed = len(taken) / (taken[-1] - taken[0] + 1)
    dut._log.info("%.3f words a cycle", speed)
    assert speed >= 0.95 or testbench.config.axi_outstanding < 8


@cocotb.test()
async def rows_to_the_last(dut):
    """Copies of very many rows and planes, apart in DRAM, to their end."""
    await many_rows(Testbench(dut))


@cocotb.test()
async def responses(dut):
    """Each port's bad response, and the first of two ports', whatever it is."""
    await bad_answers(lambda number: Testbench(dut, salt=number), UnitError.AXI_READ)


@cocotb.test()
async def wide(dut):
    """Fields, regions and stripes that use all bits, and a reset after each, often in the middle of it."""
    config, random = NodeConfig(**case()), rng()
    most = config.axi_burst_beats + 50
    for number, (copy, pages) in enumerate(wide_copies(random, config, Opcode.LOAD)):
        testbench = Testbench(dut, salt=number)
        if pages is None and random.random() < 0.2:
            copy |= {"fill": 1, "fill_value": random.randint(*INT8.bounds)}
        body = await testbench.start_wide(copy, pages, again=number > 0)
        writes, foreseen = testbench.foreseen(body, 2 * most)
        error = await testbench.until(lambda seen=testbench.writes: len(seen) >= most)
        seen = testbench.writes
        assert seen == writes[: len(seen)], body
        if error or testbench.done:
            assert (error, len(seen)) == (foreseen, len(writes)), body
            assert len(testbench.done) == (not error)
        else:
            assert len(seen) >= most, body
        for index, port in testbench.memory.ports.items():
            assert port.asked == list(islice(testbench.bursts(body, index), len(port.asked))), body
            assert body.get("fill") or sum(beats for _, beats in port.asked) >= len(seen)
        testbench.end()


@cocotb.test()
async def halt(dut):
    """A halted unit starts no write, and takes what it asked for."""
    testbench = Testbench(dut)
    await testbench.start(latency=20)
    sender = cocotb.start_soon(testbench.send([{"count0": 300, "count1": 1, "count2": 1}] * 3))
    await tick(dut, 120)
    assert testbench.writes
    dut.unit__halt.value = 1
    await tick(dut, 3)
    seen = len(testbench.writes)
    await tick(dut, 500)
    assert len(testbench.writes) == seen
    assert testbench.memory.idle
    sender.cancel()
