"""STORE against random copies: DRAM contents, order, throughput, errors, halt, and bursts that always complete."""

from itertools import islice

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamWrite, AxiWriteBus

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import Opcode
from superlip.rtl.ports import UnitError
from superlip.rtl.store import Store
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._axi import SLVERR, bursts_of, copy_words, words_of
from superlip.sim.testbenches._copies import (
    CASES,
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
from superlip.sim.testbenches._memories import Memories
from superlip.sim.testbenches._streams import pauses, tick

__all__ = ["CASES", "build"]


def build(**parameters):
    return Store(NodeConfig(**parameters))


class Testbench(CopyTestbench):
    """A Store with buffers that answer reads; ``done``: (cycle, beats that each DRAM port had answered)."""

    opcode, channel, idle_inputs = Opcode.STORE, "write", ("awready", "wready", "bvalid", "bid")

    def __init__(self, dut, **options):
        super().__init__(dut, **options)
        self.memories = Memories(dut, self.config, rng=self.rng, stall=self.stall)
        self.beats = 0

    async def start(self, **options):
        await super().start(**options)
        self.before = bytes(self.memory.data)
        self.tasks.append(cocotb.start_soon(self.memories.run()))

    async def watch(self):
        done, busy, stalled = (getattr(self.dut, f"unit__{name}") for name in ("done", "busy", "stalled"))
        beat, channels = self.dut.beat, [f"dram__{port}__w" for port in range(self.config.axi_ports)]
        channels = [
            (getattr(self.dut, f"{name}valid"), getattr(self.dut, f"{name}ready"))
            for name in ("read_act__", "read_weight__", *channels)
        ]
        while True:
            await RisingEdge(self.dut.clk)
            self.now += 1
            self.beats += bool(beat.value)
            waits = busy.value == 1 and not any(v.value == 1 and r.value == 1 for v, r in channels)
            assert stalled.value == waits
            if done.value:
                self.done.append((self.now, [p.answered for p in self.memory.ports.values()]))

    def word(self, memory, address):
        """Bytes of a word on chip."""
        return self.memories.words[memory][address].to_bytes(self.config.tn, "little")

    def log(self, bodies):
        """The words that the bodies write, in order: (DRAM word, bytes)."""
        return [(dram, self.word(b["memory"], local)) for b in bodies for local, dram in copy_words(b)]

    def contents(self, log):
        """DRAM behind all ports after a log of writes."""
        data, size = bytearray(self.before), self.config.axi_bytes
        for dram, word in log:
            for port in range(self.config.axi_ports):
                start = port * STRIPE + dram * size
                data[start : start + size] = word[port * size : (port + 1) * size]
        return data

    def foreseen(self, body, most):
        """Bursts of about the first ``most`` beats, and the error that comes in place of the next: (code, syndrome).

        A burst is (word of DRAM on port 0's bus, addresses on chip).
        """
        size, count0 = self.sizes[body["memory"]], body["count0"]
        rows, words, bursts = islice(copy_words(body), 0, None, count0), [], []
        for start, count, outside in self.runs(body):
            for first, beats in bursts_of(self.config, start, count):
                while len(words) < beats:
                    local, _ = next(rows)
                    if local + count0 > size:
                        return bursts, (UnitError.ADDRESS, max(local, size))
                    words += range(local, local + count0)
                if outside:
                    return bursts, outside
                bursts.append((first, words[:beats]))
                del words[:beats]
                most -= beats
                if most <= 0:
                    return bursts, None
        return bursts, None

    def beats_of(self, memory, bursts, port):
        """(place, value) of each beat of a port."""
        size = self.config.axi_bytes
        for first, words in bursts:
            for number, local in enumerate(words):
                part = self.word(memory, local)[port * size : (port + 1) * size]
                yield self.memory.place(port, self.address(first + number, port)), int.from_bytes(part, "little")

    def check(self, bodies):
        """DRAM as expected, and no done before all ports had answered for all of its words."""
        assert self.memory.data == self.contents(self.log(bodies))
        assert len(self.done) == len(bodies)
        words = 0
        for body, (_, answered) in zip(bodies, self.done, strict=True):
            words += body["count0"] * body["count1"] * body["count2"]
            assert min(answered, default=words) >= words
        assert self.beats == words


@cocotb.test()
async def copies(dut):
    """Random strided copies, everything stalling."""
    testbench = Testbench(dut, stall=0.3)
    await testbench.start(stall=0.3, latency=9, waits=True)
    bodies = testbench.random_bodies(30)
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    await tick(dut, 50)
    testbench.check(bodies)
    assert testbench.memory.idle and not dut.unit__busy.value and not dut.unit__error.value
    assert all(port.most <= testbench.config.axi_outstanding for port in testbench.memory.ports.values())


@cocotb.test()
async def axi_ram(dut):
    """The same against somebody else's AXI memory, which checks what it is asked."""
    testbench = Testbench(dut, stall=0.1)
    await testbench.start(serve=False)
    size = len(testbench.memory.data)
    rams = []
    for index in range(testbench.config.axi_ports):
        ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, f"dram__{index}_"), dut.clk, dut.rst, size=size)
        ram.mem.write(index * STRIPE, bytes(testbench.memory.data[index * STRIPE : (index + 1) * STRIPE]))
        for channel in (ram.aw_channel, ram.w_channel, ram.b_channel):
            channel.set_pause_generator(pauses(testbench.rng, 0.2))
        rams.append(ram)
    bodies = testbench.random_bodies(6)
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    for index, ram in enumerate(rams):
        testbench.memory.data[index * STRIPE : (index + 1) * STRIPE] = ram.mem.read(index * STRIPE, STRIPE)
    testbench.check(bodies)


@cocotb.test()
async def throughput(dut):
    """One word a cycle over instruction boundaries, 30 cycles of latency; short rows that join in DRAM too."""
    testbench, latency = Testbench(dut), 30
    await testbench.start(latency=latency)
    bodies = fast_bodies()
    begin = testbench.now
    cocotb.start_soon(testbench.send(bodies))
    while not testbench.beats:
        await tick(dut)
    first = testbench.now
    await testbench.finish(len(bodies))
    testbench.check(bodies)
    speed = testbench.beats / (testbench.done[-1][0] - latency - first)
    dut._log.info("%.3f words a cycle, first word after %d cycles", speed, first - begin)
    assert speed >= testbench.attainable(latency, own=14)


@cocotb.test()
async def latency(dut):
    """The documented latency of the first word is the one seen."""
    testbench = Testbench(dut)
    await testbench.start()
    cocotb.start_soon(testbench.send([{"count0": 4, "count1": 1, "count2": 1}]))
    await tick(dut)  # the edge that takes the instruction
    assert dut.unit__instr__ready.value
    cycles = 0
    while not dut.dram__0__wvalid.value:
        await tick(dut)
        cycles += 1
    assert cycles == Store(testbench.config).latency


@cocotb.test()
@cocotb.parametrize(kind=["ADDRESS", "WRAP", "OPERAND", "REGION"], attempt=[0, 1, 2])
async def address_errors(dut, kind, attempt):
    """A bad address stops the unit with everything before it done, and nothing from the bad row on written."""
    testbench = Testbench(dut, stall=0.2, salt=f"{kind} {attempt}")
    await testbench.start(stall=0.2)
    before, after = testbench.random_bodies(attempt * 3), testbench.random_bodies(3)
    body = testbench.random_bodies(1)[0]
    if kind == "REGION":
        body, good, syndrome = testbench.regions.spoiled(body)
    else:
        good, syndrome = misplace(testbench.rng, body, testbench.sizes[body["memory"]], kind, attempt)
        good -= good % (body["count0"] or 1)  # its row is not begun
    sender = cocotb.start_soon(testbench.send([*before, body, *after]))
    error = await testbench.stopped(lambda: len(testbench.done))
    assert error == 1 | UnitError[kind.replace("WRAP", "ADDRESS")] << 1 | syndrome << 5
    assert len(testbench.done) == len(before)
    whole = testbench.log(before)
    body = testbench.regions.in_memory(body)
    drams = [dram for _, dram in copy_words(body)][:good]
    locals_ = [local for local, _ in copy_words(body)][:good]
    whole += [(d, testbench.word(body["memory"], a)) for d, a in zip(drams, locals_, strict=True)]
    least = len(testbench.log(before))
    for port in testbench.memory.ports.values():
        assert least <= len(port.written) <= len(whole)
    counts = {len(port.written) for port in testbench.memory.ports.values()}
    assert len(counts) == 1
    assert testbench.memory.data == testbench.contents(whole[: counts.pop()])
    sender.cancel()


@cocotb.test()
@cocotb.parametrize(attempt=[0, 1, 2])
async def response_error(dut, attempt):
    """A bad response stops the unit; what was announced is completed, later instructions are not done."""
    testbench = Testbench(dut, stall=0.2, salt=attempt)
    await testbench.start(stall=0.2)
    bodies = testbench.random_bodies(6)
    number, port = testbench.rng.randrange(6), testbench.rng.randrange(testbench.config.axi_ports)
    word = testbench.rng.choice([dram for _, dram in copy_words(bodies[number])])
    first = next(i for i, b in enumerate(bodies) if word in (d for _, d in copy_words(b)))
    testbench.memory.broken[port * STRIPE + word * testbench.config.axi_bytes] = SLVERR
    sender = cocotb.start_soon(testbench.send(bodies))
    error = await testbench.stopped(lambda: len(testbench.done))
    assert error == 1 | UnitError.AXI_WRITE << 1 | (port << 8 | 2) << 5
    assert len(testbench.done) <= first
    sender.cancel()


@cocotb.test()
async def rows_of_a_word(dut):
    """A burst a cycle over the ends of copies; on a port that is slow as many under way as may be, and no more."""
    testbench = Testbench(dut)
    await testbench.start(latency=1)
    slow = await slow_ports(testbench)
    bodies = short_rows(30)
    await testbench.send(bodies)
    await testbench.finish(len(slow) + len(bodies))
    testbench.check(slow + bodies)
    first, last = testbench.done[len(slow)][0], testbench.done[-1][0]
    speed = 5 * (len(bodies) - 1) / (last - first)
    dut._log.info("%.3f words a cycle", speed)
    assert speed >= 0.95 or testbench.config.axi_outstanding < 8


@cocotb.test()
async def rows_to_the_last(dut):
    """Copies of very many rows and planes, apart in DRAM, to their end."""
    await many_rows(Testbench(dut))


@cocotb.test()
async def responses(dut):
    """Each port's bad response, and the first of two ports', whatever it is."""
    await bad_answers(lambda number: Testbench(dut, salt=number), UnitError.AXI_WRITE)


@cocotb.test()
async def wide(dut):
    """Fields, regions and stripes that use all bits, and a reset after each, often in the middle of it."""
    config, random = NodeConfig(**case()), rng()
    most = config.axi_burst_beats + 50
    for number, (copy, pages) in enumerate(wide_copies(random, config, Opcode.STORE)):
        testbench = Testbench(dut, salt=number)
        body = await testbench.start_wide(copy, pages, again=number > 0)
        bursts, foreseen = testbench.foreseen(body, most + 2 * config.axi_outstanding * config.axi_burst_beats)
        error = await testbench.until(lambda t=testbench: t.beats >= most)
        over = error or testbench.done
        assert len(testbench.done) == bool(over and not error)
        assert not over or error == foreseen, body
        assert over or testbench.beats >= most, body
        for index, port in testbench.memory.ports.items():
            asked = [(testbench.address(first, index), len(words)) for first, words in bursts]
            written = list(testbench.beats_of(body["memory"], bursts, index))
            assert port.asked == (asked if over else asked[: len(port.asked)]), body
            assert port.written == (written if over else written[: len(port.written)]), body
        testbench.end()


@cocotb.test()
async def halt(dut):
    """A halted unit announces no burst, and completes those that it has announced."""
    testbench = Testbench(dut)
    await testbench.start(latency=20)
    sender = cocotb.start_soon(testbench.send([{"memory": 0, "count0": 300, "count1": 1, "count2": 1, "dram": 9}] * 3))
    await tick(dut, 120)
    assert testbench.beats
    dut.unit__halt.value = 1
    await tick(dut, 3)
    announced = [port.bursts for port in testbench.memory.ports.values()]
    await tick(dut, 500)
    assert [port.bursts for port in testbench.memory.ports.values()] == announced
    assert testbench.memory.idle
    sender.cancel()


@cocotb.test()
async def words_in_order(dut):
    """Each port carries its own stripe of each word."""
    testbench = Testbench(dut)
    await testbench.start()
    body = {"memory": 1, "local": 5, "count0": 20, "count1": 1, "count2": 1, "dram": 500}
    await testbench.send([body])
    await testbench.finish(1)
    for index in range(20):
        assert words_of(testbench.memory, testbench.config, STRIPE, 500 + index) == testbench.word(1, 5 + index)
