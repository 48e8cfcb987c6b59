"""What testbenches of banked buffers share: requesters, a list of words with the rules of turns, and traffic.

A buffer may have ``ways`` memories, in which its words lie by turns, and a reader of all of them at once, ``wide``.
"""

import itertools

import cocotb
from amaranth.utils import ceil_log2
from cocotb.triggers import RisingEdge, Timer
from cocotb.utils import get_sim_time

from superlip.rtl.config import ADDRESS_BITS
from superlip.rtl.ports import READ_LATENCY
from superlip.sim.runner import case, rng

from ._streams import start

__all__ = ["Bench", "nobody_waits_for_ever", "outside_is_dropped", "random_traffic", "same_cycle_gives_old_data",
           "turns_are_of_one_bank"]  # fmt: skip

CLOCK = 5
"""Nanoseconds a cycle, of `start`."""
TOP = (1 << ADDRESS_BITS) - 1


class Ports:
    """Signals of all requesters of one direction, the most urgent first, and what was asked for in this cycle."""

    def __init__(self, dut, members, names, *, wide=None):
        self.ports = [{n: getattr(dut, f"{member}__{n}") for n in names} for member in members]
        self.asked = [None] * len(members)
        self.wide = wide
        for port in self.ports:
            port["valid"].value = port["addr"].value = 0

    def ask(self, index, **values):
        port = self.ports[index]
        self.asked[index] = values or None
        port["valid"].value = bool(values)
        for name, value in values.items():
            port[name].value = value

    def ready(self):
        return [int(port["ready"].value) for port in self.ports]


class Bench:
    """The buffer of a case, and what it promises, in cycles.

    Parameters
    ----------
    wide : int, optional
        Which of the readers, from 0 on, takes a word of all ways.
    """

    def __init__(self, dut, *, wide=None):
        p = case()
        self.dut, self.rng, self.wide = dut, rng(), wide
        self.lanes, self.size, self.ways = p["lanes"], p["words"], 1 if wide is None else p.get("ways", 2)
        self.low = ceil_log2(self.ways)
        self.depth = self.size // p["banks"] // self.ways
        self.words = [0] * self.size  # every test writes all of them before it reads
        self.patience, self.full_mask = p.get("patience", 128), (1 << self.lanes) - 1
        readers = [f"read__{index}" for index in range(p["readers"])]
        if wide is not None:
            readers.insert(wide, "wide")
        writers = [f"write__{index}" for index in range(p["writers"])]
        self.reads = Ports(dut, readers, ("valid", "addr", "ready", "data", "data_valid"), wide=wide)
        self.writes = Ports(dut, writers, ("valid", "addr", "data", "mask", "ready"))

    async def start(self):
        await start(self.dut)
        self.began = get_sim_time("ns")
        return self

    @property
    def cycle(self):
        """How many have begun."""
        return round((get_sim_time("ns") - self.began) / CLOCK)

    def turn(self, count):
        """Which of ``count`` requesters comes before all others in the cycle that ends now, if any."""
        index, rest = divmod((self.cycle - 1) % self.patience, self.patience // count)
        return index if rest == 0 and index < count else None

    def address(self, ports, index, word):
        """Of a word, as that port counts."""
        return word >> self.low if index == ports.wide else word

    def grants(self, ports):
        """Ready of those who ask: in each bank of a way the one whose turn it is, or the first."""
        turn, taken, result = self.turn(len(ports.asked)), set(), [None] * len(ports.asked)
        for index in sorted(range(len(ports.asked)), key=lambda index: (index != turn, index)):
            if ports.asked[index] is not None:
                places = self._places(index == ports.wide, ports.asked[index]["addr"])
                result[index] = not places & taken
                taken |= places if result[index] else set()
        return result

    def _places(self, is_wide, addr):
        """(way, bank) that an address names."""
        if is_wide:
            return {(way, addr >> ceil_log2(self.depth)) for way in range(self.ways)}
        return {(addr % self.ways, addr >> self.low >> ceil_log2(self.depth))}

    def answer(self, index, addr):
        """What a reader gets; zeros outside."""
        if index != self.wide:
            return self.words[addr] if addr < self.size else 0
        first, bits = addr << self.low, 8 * self.lanes
        return sum(self.words[first + i] << i * bits for i in range(self.ways) if first + i < self.size)

    def write(self, *, addr, data, mask):
        if addr >= self.size:
            return
        full = sum(0xFF << 8 * lane for lane in range(self.lanes) if mask >> lane & 1)
        self.words[addr] = self.words[addr] & ~full | data & full

    def some_data(self):
        return self.rng.getrandbits(8 * self.lanes)

    async def fill(self):
        for address in range(self.size):
            values = {"addr": address, "data": self.some_data(), "mask": self.full_mask}
            self.writes.ask(0, **values)
            self.write(**values)
            await RisingEdge(self.dut.clk)
            assert self.writes.ready()[0] == 1
        self.writes.ask(0)


async def random_traffic(bench):
    """All requesters in few words and banks, so that they meet; also addresses outside."""
    await bench.fill()
    r, reads, writes = bench.rng, bench.reads, bench.writes
    answers = [[None] * READ_LATENCY for _ in reads.ports]
    collisions = refused = 0
    hot = r.sample(range(bench.size), min(12, bench.size))

    def address(ports, index):
        if pair is not None:
            return bench.address(ports, index, r.choice(pair))
        if r.random() < 0.8:
            return bench.address(ports, index, r.choice(hot))
        beside = r.choice(hot) ^ 1 << r.randrange(20)  # often outside by one bit
        outside = [bench.size, bench.size + r.choice(hot), TOP, r.randint(0, TOP)]
        word = r.choice([beside, beside, beside, *outside])
        return r.choice([word, bench.address(ports, index, word)])

    for _ in range(3000):
        # Every third cycle all want one of two words whose addresses differ in a bit, inside or out.
        pair = (word := r.choice(hot), word ^ 1 << r.randrange(20)) if r.random() < 0.35 else None
        for index in range(len(reads.ports)):
            reads.ask(index, **({"addr": address(reads, index)} if r.random() < 0.6 else {}))
        for index in range(len(writes.ports)):
            mask = r.choice([bench.full_mask, r.getrandbits(bench.lanes), 0])
            values = {"addr": address(writes, index), "data": bench.some_data(), "mask": mask}
            writes.ask(index, **(values if r.random() < 0.6 else {}))
        await RisingEdge(bench.dut.clk)
        for port, answer in zip(reads.ports, answers, strict=True):
            expected = answer.pop(0)
            assert int(port["data_valid"].value) == (expected is not None)
            if expected is not None:
                assert int(port["data"].value) == expected
        grants = bench.grants(reads), bench.grants(writes)
        for ports, expected in ((reads, grants[0]), (writes, grants[1])):
            ready = ports.ready()
            assert all(e is None or e == got for e, got in zip(expected, ready, strict=True))
            refused += expected.count(False)
        read = set()
        for index, (values, granted) in enumerate(zip(reads.asked, grants[0], strict=True)):
            answers[index].append(bench.answer(index, values["addr"]) if granted else None)
            if granted:
                count, low = (bench.ways, bench.low) if index == bench.wide else (1, 0)
                read |= {(values["addr"] << low) + i for i in range(count)}
        for values, granted in zip(writes.asked, grants[1], strict=True):
            if granted:
                collisions += values["addr"] in read
                bench.write(**values)
    assert collisions > 50 and refused > 50


async def same_cycle_gives_old_data(bench):
    """A read and a write of one word at once: the read has the old word, the next one the new."""
    await bench.fill()
    reads, writes = bench.reads, bench.writes
    for number in range(20 * len(reads.ports)):
        word, index = bench.rng.randrange(bench.size), number % len(reads.ports)
        address, new = bench.address(reads, index, word), bench.some_data()
        reads.ask(index, addr=address)
        writes.ask(0, addr=word, data=new, mask=bench.full_mask)
        old = bench.answer(index, address)
        bench.write(addr=word, data=new, mask=bench.full_mask)
        await RisingEdge(bench.dut.clk)
        writes.ask(0)
        await RisingEdge(bench.dut.clk)
        reads.ask(index)
        for expected in (old, bench.answer(index, address)):
            await RisingEdge(bench.dut.clk)
            assert reads.ports[index]["data_valid"].value == 1
            assert int(reads.ports[index]["data"].value) == expected


async def outside_is_dropped(bench):
    """A write past the end changes nothing, a read there gives zero."""
    await bench.fill()
    r, reads, writes = bench.rng, bench.reads, bench.writes
    for bit in range(ceil_log2(bench.size), 20):
        writes.ask(0, addr=1 << bit | r.randrange(bench.size), data=bench.some_data(), mask=bench.full_mask)
        await RisingEdge(bench.dut.clk)
    for address in range(bench.size, min(bench.size + bench.depth * bench.ways, 1 << 20)):
        writes.ask(0, addr=address, data=bench.some_data(), mask=bench.full_mask)
        await RisingEdge(bench.dut.clk)
    writes.ask(0)
    for index in range(len(reads.ports)):
        expected = [None] * READ_LATENCY
        for address in [*range(bench.size), bench.size, TOP, 0, 0]:
            reads.ask(index, addr=address)
            await RisingEdge(bench.dut.clk)
            due = expected.pop(0)
            assert due is None or int(reads.ports[index]["data"].value) == due
            expected.append(bench.answer(index, address))
        reads.ask(index)


async def nobody_waits_for_ever(bench):
    """All want one bank, all the time: the first is served but for the turns of the others, each in its own."""
    await bench.fill()
    r, reads, writes = bench.rng, bench.reads, bench.writes
    word = r.randrange(bench.size)
    served = {ports: [0] * len(ports.ports) for ports in (reads, writes)}
    for index in range(len(reads.ports)):
        reads.ask(index, addr=bench.address(reads, index, word))
    for index in range(len(writes.ports)):
        writes.ask(index, addr=word, data=bench.some_data(), mask=r.getrandbits(bench.lanes))
    for _ in range(5 * bench.patience):
        await RisingEdge(bench.dut.clk)
        for ports, counts in served.items():
            ready = ports.ready()
            assert sum(ready) == 1
            counts[ready.index(1)] += 1
    for counts in served.values():
        assert counts[1:] == [5] * (len(counts) - 1)


async def turns_are_of_one_bank(bench):
    """In each one's turn, with each other one: they are in each other's way where no bit of the bank differs."""
    await bench.fill()
    nothing = {"data": 0, "mask": 0}
    turns = [cocotb.start_soon(_pairs_meet(bench, *some)) for some in ((bench.reads, {}), (bench.writes, nothing))]
    for task in turns:
        await task


async def _pairs_meet(bench, ports, more):
    """Two of ``ports`` ask for words whose addresses may have one bit more, in the turn of the first."""
    r, count = bench.rng, len(ports.ports)
    bits = [1 << bit for bit in range(ceil_log2(bench.depth) + bench.low, 20)]
    for bit, (first, second), step in itertools.product(bits, ((1, 1), (1, 0), (0, 1)), range(1, count)):
        for index in range(count):
            if wait := (index * (bench.patience // count) - bench.cycle) % bench.patience:
                await Timer(wait * CLOCK - 2, "ns")
                await RisingEdge(bench.dut.clk)
            word, other = r.randrange(bench.size) & ~bit, (index + step) % count
            ports.ask(index, addr=bench.address(ports, index, word | bit * first), **more)
            ports.ask(other, addr=bench.address(ports, other, word | bit * second), **more)
            await RisingEdge(bench.dut.clk)
            assert bench.turn(count) == index
            ready, expected = ports.ready(), bench.grants(ports)
            assert [ready[index], ready[other]] == [expected[index], expected[other]], f"{index}, {other}, bit {bit:#x}"
            ports.ask(index)
            ports.ask(other)
