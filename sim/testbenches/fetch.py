"""Fetch: programs of random instructions behind a memory with pauses, for beats narrower and wider than one."""

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

from superlip.rtl.config import BUS_ADDRESS_BITS, PAGE, NodeConfig
from superlip.rtl.fetch import AHEAD_BYTES, Fetch
from superlip.rtl.isa import INSTRUCTION_BYTES, Opcode, Unit
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import Sink, pauses, settle, start, tick

CASES = {
    "narrow": {"tm": 8, "tn": 8, "axi_ports": 2, "axi_burst_beats": 7},
    "tiny": {"tm": 8, "tn": 8},
    "wide": {"tm": 128, "tn": 128},
}


def build(**sizes):
    return Fetch(NodeConfig(**sizes))


class Testbench:
    """Fetch in front of a memory, with six sinks as queues."""

    def __init__(self, dut, random, *, stall=0.3):
        self.dut, self.random = dut, random
        self.config = NodeConfig(**case())
        self.beat, self.asked, self.came = self.config.axi_bytes, 0, 0
        self.memory = AxiRamRead(AxiReadBus.from_prefix(dut, "dram_"), dut.clk, dut.rst, size=1 << 16)
        self.memory.ar_channel.queue_occupancy_limit = 1000  # it takes addresses as they come
        self.sinks = [Sink(dut, f"queues__{unit}", rng=random, stall=stall) for unit in Unit]
        dut.start.value = dut.halt.value = 0
        self.high = 0  # what the memory, which is smaller, does not look at of an address
        dut.limit.value = (1 << 16) // PAGE

    async def begin(self):
        await start(self.dut)
        for sink in self.sinks:
            cocotb.start_soon(sink.run())
        cocotb.start_soon(self._watch())

    async def _watch(self):
        """Bursts as they are documented; busy until all that was asked for has come."""
        dut, beats = self.dut, Fetch(self.config).burst_beats
        while True:
            await RisingEdge(dut.clk)
            if dut.dram__arvalid.value == 1 == dut.dram__arready.value:
                address, length = int(dut.dram__araddr.value), int(dut.dram__arlen.value) + 1
                assert address >> 16 == self.high >> 16
                assert length <= beats and (address // self.beat + length) % beats == 0
                assert address // PAGE == (address + length * self.beat - 1) // PAGE, "a burst over 4 KiB"
                self.asked += length
            assert dut.busy.value == 1 or self.asked == self.came
            self.came += dut.dram__rvalid.value == 1 == dut.dram__rready.value

    def pause(self, chance):
        self.memory.ar_channel.set_pause_generator(pauses(self.random, chance))
        self.memory.r_channel.set_pause_generator(pauses(self.random, chance))

    def program(self, count):
        """A random place and ``count`` random instructions there, END and rubbish; returns what each queue must get."""
        align = max(self.beat, INSTRUCTION_BYTES)
        # Near the end of a page, so that bursts come close to it.
        place = self.random.randrange(1, 8) * 4096 - self.random.randrange(0, 8) * align
        expected, program = [[] for _ in Unit], b""
        for _ in range(count):
            unit = self.random.choice(list(Unit))
            raw = bytes([self.random.getrandbits(4) << 4 | unit]) + self.random.randbytes(INSTRUCTION_BYTES - 1)
            expected[unit].append(int.from_bytes(raw, "little"))
            program += raw
        self.end = place + len(program)
        program += bytes([Opcode.END]) + self.random.randbytes(1000)
        self.memory.write(place, program)
        self.high = self.random.getrandbits(BUS_ADDRESS_BITS - 17) << 16
        self.dut.limit.value = (self.high + (1 << 16)) // PAGE
        return self.high | place, expected

    async def run(self, place, *, timeout=20_000):
        """Start at ``place`` and return when it is no longer busy; how many cycles that took."""
        dut = self.dut
        dut.address.value = place
        await RisingEdge(dut.clk)
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        for cycle in range(timeout):
            await RisingEdge(dut.clk)
            if dut.busy.value == 0:
                return cycle
        raise AssertionError("busy for ever")

    def take(self):
        """What the queues have got since the last time."""
        items = [list(sink.items) for sink in self.sinks]
        for sink in self.sinks:
            sink.items.clear()
        return items


@cocotb.test()
async def programs(dut):
    """Each queue gets its instructions in order, and nothing of what is behind END; again and again."""
    testbench = Testbench(dut, rng())
    await testbench.begin()
    for count in (0, 1, 2, 5, 9, 40, 100):
        testbench.pause(testbench.random.choice((0, 0.3, 0.7)))
        place, expected = testbench.program(count)
        await testbench.run(place)
        await tick(dut)
        assert testbench.take() == expected
        assert dut.error.value == 0


@cocotb.test()
async def one_beat_a_cycle(dut):
    """With a fast memory and empty queues: beats, or instructions where a beat holds several, without gaps."""
    testbench = Testbench(dut, rng(), stall=0)
    await testbench.begin()
    count = 200
    place, _ = testbench.program(count)
    cycles = await testbench.run(place)
    # A quarter more, because the memory model pauses between bursts.
    assert cycles < 1.25 * count * max(1, INSTRUCTION_BYTES // testbench.beat) + 150, cycles


@cocotb.test()
async def queues_wait(dut):
    """Queues that take nothing for long: it reads ahead so far as it has room, again and again, and loses nothing."""
    testbench = Testbench(dut, rng())
    await testbench.begin()
    place, expected = testbench.program(60)
    task = cocotb.start_soon(testbench.run(place))
    held = max(1, INSTRUCTION_BYTES // testbench.beat)  # beats of the word that is offered
    burst = Fetch(testbench.config).burst_beats * testbench.beat
    for turn in range(4):
        for sink in testbench.sinks:
            sink.stall = 1.0
        await tick(dut, 100 + 3 * AHEAD_BYTES // testbench.beat)
        taken = sum(len(sink.items) for sink in testbench.sinks) * INSTRUCTION_BYTES // testbench.beat
        ahead = testbench.asked - taken - held
        # Room for less than a burst stays free, and a wide beat is done with when its last instruction is.
        assert AHEAD_BYTES - burst < ahead * testbench.beat <= AHEAD_BYTES, (turn, ahead)
        for sink in testbench.sinks:
            sink.stall = 0.2
        await tick(dut, testbench.random.randrange(60, 200))
    await task
    await tick(dut)
    assert testbench.take() == expected


@cocotb.test()
async def unknown_opcode(dut):
    """What is before it is executed, what is behind it is not."""
    testbench = Testbench(dut, rng())
    await testbench.begin()
    place, expected = testbench.program(20)
    opcode = testbench.random.choice(range(len(Unit), Opcode.END))
    testbench.memory.write(testbench.end, bytes([opcode]))
    await testbench.run(place)
    await tick(dut)
    assert testbench.take() == expected
    error = int(dut.error.value)
    assert (error & 1, error >> 1 & 15, error >> 5) == (1, UnitError.OPCODE, opcode)
    dut.start.value = 1  # ignored after an error
    await tick(dut, 5)
    await settle()
    assert dut.busy.value == 0


@cocotb.test()
async def halted(dut):
    """Nothing is dispatched after a halt, and every beat that was asked for is taken."""
    testbench = Testbench(dut, rng())
    await testbench.begin()
    early = 0
    for turn in range(10):
        testbench.pause(0.5)
        if turn % 3 == 2:  # nothing comes before the halt
            testbench.memory.r_channel.set_pause_generator(pauses(testbench.random, 1))
        place, expected = testbench.program(100)
        dut.address.value, dut.start.value = place, 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await tick(dut, testbench.random.randrange(1, 300))
        dut.halt.value = 1
        testbench.pause(0.5)
        await tick(dut, 1)
        got = testbench.take()
        assert all(want[: len(have)] == have for have, want in zip(got, expected, strict=True))
        early += sum(map(len, got)) < 100
        for _ in range(2000):
            await RisingEdge(dut.clk)
            if dut.busy.value == 0:
                break
        assert dut.busy.value == 0 and not any(testbench.take())
        dut.halt.value = 0
    assert early


@cocotb.test()
async def end_of_the_region(dut):
    """END may be the last instruction there; a program that goes on is an error. Nothing behind it is asked for."""
    testbench = Testbench(dut, rng())
    await testbench.begin()
    asked = []
    cocotb.start_soon(_log_bursts(dut, asked))
    for ends in (True, True, False):
        page = testbench.random.randrange(2, 8)
        dut.limit.value = page
        size = max(testbench.beat, INSTRUCTION_BYTES) * testbench.random.randint(1, 12)
        units = [testbench.random.choice(list(Unit)) for _ in range(size // INSTRUCTION_BYTES)]
        if ends:
            units[-1] = Opcode.END
        program = b"".join(bytes([unit]) + testbench.random.randbytes(INSTRUCTION_BYTES - 1) for unit in units)
        testbench.memory.write(page * PAGE - size, program)
        await testbench.run(page * PAGE - size)
        await tick(dut)
        assert [len(items) for items in testbench.take()] == [units.count(unit) for unit in Unit]
        assert asked and max(asked) < page * PAGE
        asked.clear()
        error = int(dut.error.value)
        assert (error & 1, error >> 1 & 15, error >> 5) == ((0, 0, 0) if ends else (1, UnitError.REGION, page))


async def _log_bursts(dut, asked):
    while True:
        await RisingEdge(dut.clk)
        if dut.dram__arvalid.value and dut.dram__arready.value:
            asked.append(int(dut.dram__araddr.value))
