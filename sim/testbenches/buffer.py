"""Banked buffer against a list of words: who comes first, masks, old data on a collision, addresses out of range."""

import itertools

import cocotb
from amaranth.utils import ceil_log2
from cocotb.triggers import RisingEdge, Timer
from cocotb.utils import get_sim_time

from superlip.rtl.memory import BankedMemory
from superlip.rtl.ports import READ_LATENCY
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import start

CASES = {
    "three_banks": {"words": 48, "banks": 3, "lanes": 8, "readers": 4, "writers": 3},
    "one_bank": {"words": 16, "banks": 1, "lanes": 4, "readers": 2, "writers": 1, "patience": 4},
    "node": {"words": 1024, "banks": 8, "lanes": 64, "readers": 4, "writers": 3},
}


def build(**parameters):
    return BankedMemory(**parameters)


CLOCK = 5
"""Nanoseconds a cycle, of `start`."""


class Ports:
    """Signals of all requesters of one direction, and what was asked for in this cycle."""

    def __init__(self, dut, kind, count, names):
        self.ports = [{n: getattr(dut, f"{kind}__{i}__{n}") for n in names} for i in range(count)]
        self.asked = [None] * count
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


class Model:
    """What the buffer promises, in cycles."""

    def __init__(self):
        p = case()
        self.lanes, self.size, self.depth = p["lanes"], p["words"], p["words"] // p["banks"]
        self.words = [0] * self.size  # every test writes all of them before it reads
        self.patience, self.began = p.get("patience", 128), get_sim_time("ns")

    def turn(self, count):
        """Which of ``count`` requesters comes before all others in the cycle that ends now, if any."""
        cycle = round((get_sim_time("ns") - self.began) / CLOCK) - 1
        index, rest = divmod(cycle % self.patience, self.patience // count)
        return index if rest == 0 and index < count else None

    def grants(self, asked):
        """Ready of those who ask: in each bank the one whose turn it is, or the first."""
        turn = self.turn(len(asked))
        first, grants = {}, []
        for index, values in enumerate(asked):
            bank = None if values is None else values["addr"] >> ceil_log2(self.depth)
            if bank is not None and (bank not in first or index == turn):
                first[bank] = index
            grants.append(bank)
        return [None if bank is None else first[bank] == index for index, bank in enumerate(grants)]

    def read(self, address):
        """The word; zero outside."""
        return self.words[address] if address < self.size else 0

    def write(self, *, addr, data, mask):
        if addr >= self.size:
            return
        full = sum(0xFF << 8 * lane for lane in range(self.lanes) if mask >> lane & 1)
        self.words[addr] = self.words[addr] & ~full | data & full


async def connect(dut):
    p = case()
    reads = Ports(dut, "read", p["readers"], ("valid", "addr", "ready", "data", "data_valid"))
    writes = Ports(dut, "write", p["writers"], ("valid", "addr", "data", "mask", "ready"))
    await start(dut)
    return Model(), reads, writes, rng()


async def fill(dut, model, writes, r):
    for address in range(model.size):
        values = {"addr": address, "data": r.getrandbits(8 * model.lanes), "mask": (1 << model.lanes) - 1}
        writes.ask(0, **values)
        model.write(**values)
        await RisingEdge(dut.clk)
        assert writes.ready()[0] == 1
    writes.ask(0)


@cocotb.test()
async def random_traffic(dut):
    """All requesters in few words and banks, so that they meet; also addresses outside."""
    model, reads, writes, r = await connect(dut)
    await fill(dut, model, writes, r)
    answers = [[None] * READ_LATENCY for _ in reads.ports]
    collisions = refused = 0
    hot = r.sample(range(model.size), min(12, model.size))
    top = (1 << 20) - 1

    def address():
        if pair is not None:
            return r.choice(pair)
        if r.random() < 0.8:
            return r.choice(hot)
        beside = r.choice(hot) ^ 1 << r.randrange(20)  # often outside by one bit
        return r.choice([beside, beside, beside, model.size, model.size + r.choice(hot), top, r.randint(0, top)])

    for _ in range(3000):
        # Every third cycle all want one of two words whose addresses differ in a bit, inside or out.
        pair = (word := r.choice(hot), word ^ 1 << r.randrange(20)) if r.random() < 0.35 else None
        for index in range(len(reads.ports)):
            reads.ask(index, **({"addr": address()} if r.random() < 0.6 else {}))
        for index in range(len(writes.ports)):
            mask = r.choice([(1 << model.lanes) - 1, r.getrandbits(model.lanes), 0])
            values = {"addr": address(), "data": r.getrandbits(8 * model.lanes), "mask": mask}
            writes.ask(index, **(values if r.random() < 0.6 else {}))
        await RisingEdge(dut.clk)
        for port, answer in zip(reads.ports, answers, strict=True):
            expected = answer.pop(0)
            assert int(port["data_valid"].value) == (expected is not None)
            if expected is not None:
                assert int(port["data"].value) == expected
        grants = model.grants(reads.asked), model.grants(writes.asked)
        for ports, expected in ((reads, grants[0]), (writes, grants[1])):
            ready = ports.ready()
            assert all(e is None or e == got for e, got in zip(expected, ready, strict=True))
            refused += expected.count(False)
        for answer, values, granted in zip(answers, reads.asked, grants[0], strict=True):
            answer.append(model.read(values["addr"]) if granted else None)
        read = {v["addr"] for v, granted in zip(reads.asked, grants[0], strict=True) if granted}
        for values, granted in zip(writes.asked, grants[1], strict=True):
            if granted:
                collisions += values["addr"] in read
                model.write(**values)
    assert collisions > 50 and refused > 50


@cocotb.test()
async def same_cycle_gives_old_data(dut):
    """A read and a write of one word at once: the read has the old word, the next one the new."""
    model, reads, writes, r = await connect(dut)
    await fill(dut, model, writes, r)
    mask = (1 << model.lanes) - 1
    for _ in range(20):
        address = r.randrange(model.size)
        old, new = model.words[address], r.getrandbits(8 * model.lanes)
        reads.ask(0, addr=address)
        writes.ask(0, addr=address, data=new, mask=mask)
        model.write(addr=address, data=new, mask=mask)
        await RisingEdge(dut.clk)
        writes.ask(0)
        await RisingEdge(dut.clk)
        reads.ask(0)
        for expected in (old, new):
            await RisingEdge(dut.clk)
            assert reads.ports[0]["data_valid"].value == 1
            assert int(reads.ports[0]["data"].value) == expected


@cocotb.test()
async def outside_is_dropped(dut):
    """A write past the end changes nothing, a read there gives zero."""
    model, reads, writes, r = await connect(dut)
    await fill(dut, model, writes, r)
    mask = (1 << model.lanes) - 1
    for bit in range(ceil_log2(model.size), 20):
        writes.ask(0, addr=1 << bit | r.randrange(model.size), data=r.getrandbits(8 * model.lanes), mask=mask)
        await RisingEdge(dut.clk)
    for address in range(model.size, min(model.size + model.depth, 1 << 20)):
        writes.ask(0, addr=address, data=r.getrandbits(8 * model.lanes), mask=mask)
        await RisingEdge(dut.clk)
    writes.ask(0)
    expected = [None] * READ_LATENCY
    for address in [*range(model.size), model.size, (1 << 20) - 1, 0, 0]:
        reads.ask(0, addr=address)
        await RisingEdge(dut.clk)
        due = expected.pop(0)
        assert due is None or int(reads.ports[0]["data"].value) == due
        expected.append(model.read(address))


@cocotb.test()
async def nobody_waits_for_ever(dut):
    """All want one bank, all the time: the first is served but for the turns of the others, each in its own."""
    model, reads, writes, r = await connect(dut)
    await fill(dut, model, writes, r)
    address = r.randrange(model.size)
    served = {ports: [0] * len(ports.ports) for ports in (reads, writes)}
    for index in range(len(reads.ports)):
        reads.ask(index, addr=address)
    for index in range(len(writes.ports)):
        writes.ask(index, addr=address, data=r.getrandbits(8 * model.lanes), mask=r.getrandbits(model.lanes))
    for _ in range(5 * model.patience):
        await RisingEdge(dut.clk)
        for ports, counts in served.items():
            ready = ports.ready()
            assert sum(ready) == 1
            counts[ready.index(1)] += 1
    for counts in served.values():
        assert counts[1:] == [5] * (len(counts) - 1)


@cocotb.test()
async def turns_are_of_one_bank(dut):
    """In each one's turn, with each other one: they are in each other's way where no bit of the bank differs."""
    model, reads, writes, r = await connect(dut)
    nothing = {"data": 0, "mask": 0}
    turns = [cocotb.start_soon(pairs_meet(dut, model, *some, r)) for some in ((reads, {}), (writes, nothing))]
    for task in turns:
        await task


async def pairs_meet(dut, model, ports, more, r):
    """Two of ``ports`` ask for words whose addresses may have one bit more, in the turn of the first."""
    count = len(ports.ports)
    bits = [1 << bit for bit in range(ceil_log2(model.depth), 20)]
    for bit, (first, second), step in itertools.product(bits, ((1, 1), (1, 0), (0, 1)), range(1, count)):
        for index in range(count):
            cycle = round((get_sim_time("ns") - model.began) / CLOCK)
            if wait := (index * (model.patience // count) - cycle) % model.patience:
                await Timer(wait * CLOCK - 2, "ns")
                await RisingEdge(dut.clk)
            word, other = r.randrange(model.size) & ~bit, (index + step) % count
            ports.ask(index, addr=word | bit * first, **more)
            ports.ask(other, addr=word | bit * second, **more)
            await RisingEdge(dut.clk)
            assert model.turn(count) == index
            ready, expected = ports.ready(), model.grants(ports.asked)
            assert [ready[index], ready[other]] == [expected[index], expected[other]], f"{index}, {other}, bit {bit:#x}"
            ports.ask(index)
            ports.ask(other)
