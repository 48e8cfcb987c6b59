"""DMA and instruction fetch on one AXI4 read port, against a memory that interleaves their answers."""

from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.axi import ReadMux
from superlip.rtl.config import BUS_ADDRESS_BITS
from superlip.sim.runner import rng
from superlip.sim.testbenches._streams import start, tick

CASES = {"8_bytes": {"data_bytes": 8}}

MANAGERS = ("dma", "fetch")  # in order of their IDs


def build(**parameters):
    return ReadMux(**parameters)


class Manager:
    """Asks for the bursts of a list: (address, length, size, burst), of any kind; ``beats`` is what came back."""

    def __init__(self, dut, name, *, rng, idle):
        self.dut, self.name, self.rng, self.idle = dut, name, rng, idle
        self.beats, self.waits = [], []
        self.signal("arvalid").value = self.signal("rready").value = 0

    def signal(self, name):
        return getattr(self.dut, f"{self.name}__{name}")

    async def ask(self, bursts):
        valid, ready = self.signal("arvalid"), self.signal("arready")
        for burst in bursts:
            while self.rng.random() < self.idle:
                await RisingEdge(self.dut.clk)
            valid.value = 1
            for name, value in zip(("araddr", "arlen", "arsize", "arburst"), burst, strict=True):
                self.signal(name).value = value
            self.waits.append(0)
            await RisingEdge(self.dut.clk)
            while not ready.value:
                self.waits[-1] += 1
                await RisingEdge(self.dut.clk)
            valid.value = 0
            for name in ("araddr", "arlen", "arsize", "arburst"):
                self.signal(name).value = self.rng.getrandbits(len(self.signal(name)))

    async def take(self, *, stall):
        valid, ready = self.signal("rvalid"), self.signal("rready")
        while True:
            go = self.rng.random() >= stall
            ready.value = go
            await RisingEdge(self.dut.clk)
            if go and valid.value:
                self.beats.append(tuple(int(self.signal(n).value) for n in ("rdata", "rresp", "rlast")))


class Memory:
    """Answers address | ID << 60, the two IDs in any order, also beat by beat.

    ``waits``: ARREADY comes only after ARVALID, as AXI lets it.
    """

    def __init__(self, dut, *, rng, stall, waits):
        self.dut, self.rng, self.stall, self.waits = dut, rng, stall, waits
        self.queues, self.order, self.bursts = (deque(), deque()), [], ([], [])
        self.signal("rvalid").value = self.signal("arready").value = 0

    def signal(self, name):
        return getattr(self.dut, f"dram__{name}")

    async def run(self):
        names = ("arid", "araddr", "arlen", "arsize", "arburst")
        shown, ready, held = None, False, None
        while True:
            await RisingEdge(self.dut.clk)
            if self.signal("arvalid").value:
                request = tuple(int(self.signal(n).value) for n in names)
                assert held in (None, request), "address changed while it waited"
                held = None if ready else request
                if ready:
                    number, *burst = request
                    self.order.append(number)
                    self.bursts[number].append(tuple(burst))
                    self.queues[number].extend(beats(number, *burst[:2]))
            else:
                assert held is None, "arvalid fell before arready"
            if shown is not None and self.signal("rready").value:
                self.queues[shown].popleft()
                shown = None
            waiting = [number for number in (0, 1) if self.queues[number]]
            if shown is None and waiting and self.rng.random() >= self.stall:
                shown = self.rng.choice(waiting)
                for name, value in zip(("rdata", "rresp", "rlast"), self.queues[shown][0], strict=True):
                    self.signal(name).value = value
                self.signal("rid").value = shown
            self.signal("rvalid").value = shown is not None
            ready = self.rng.random() >= self.stall and (not self.waits or self.signal("arvalid").value == 1)
            self.signal("arready").value = ready


def beats(number, address, length):
    """What the memory answers: (data, resp, last) for each beat."""
    return [
        ((address + 8 * beat) | number << 60 | length << 50, (address >> 3) % 4, int(beat == length))
        for beat in range(length + 1)
    ]


def random_burst(r):
    """(address, length, size, burst); long ones are rare."""
    length = r.randint(0, 255) if r.random() < 0.05 else r.randint(0, 9)
    return r.getrandbits(BUS_ADDRESS_BITS), length, r.getrandbits(3), r.getrandbits(2)


async def join(dut, *, stall, idle, counts, waits=False):
    r = rng()
    managers = [Manager(dut, name, rng=r, idle=i) for name, i in zip(MANAGERS, idle, strict=True)]
    memory = Memory(dut, rng=r, stall=stall, waits=waits)
    await start(dut)
    cocotb.start_soon(memory.run())
    bursts = [[random_burst(r) for _ in range(count)] for count in counts]
    tasks = [cocotb.start_soon(m.ask(b)) for m, b in zip(managers, bursts, strict=True)]
    for manager in managers:
        cocotb.start_soon(manager.take(stall=stall))
    for task in tasks:
        await task
    expected = [[x for burst in b for x in beats(number, *burst[:2])] for number, b in enumerate(bursts)]
    for _ in range(20000):
        if all(len(m.beats) >= len(e) for m, e in zip(managers, expected, strict=True)):
            break
        await tick(dut)
    await tick(dut, 20)
    assert [m.beats for m in managers] == expected
    assert list(memory.bursts) == bursts, "an address came to memory as another"
    return managers, memory


@cocotb.test()
@cocotb.parametrize(waits=[False, True])
async def random_traffic(dut, waits):
    """Every manager gets its own beats, all of them, in its order."""
    await join(dut, stall=0.3, idle=(0.3, 0.5), counts=(200, 100), waits=waits)


@cocotb.test()
async def fetch_goes_first(dut):
    """With both asking all the time, a fetch address waits only for the one that the memory already sees."""
    managers, memory = await join(dut, stall=0.0, idle=(0.0, 0.6), counts=(300, 100))
    assert max(managers[1].waits) <= 1
    assert set(memory.order[: memory.order.index(1) + 50]) == {0, 1}
