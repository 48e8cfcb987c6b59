"""LOAD against random copies: data, order, throughput, errors, halt."""

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import Opcode, encode
from superlip.rtl.load import Load
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._axi import AxiMemory, copy_words, random_copy, words_of
from superlip.sim.testbenches._streams import Source, start, tick

CASES = {
    "one_port": {"act_words": 1024, "weight_words": 512},
    "four_ports": {
        "tm": 64, "tn": 64, "act_words": 768, "act_banks": 3, "weight_words": 512,
        "axi_ports": 4, "axi_outstanding": 8, "axi_burst_beats": 16,
    },
    "narrow": {
        "tm": 16, "tn": 16, "act_words": 512, "weight_words": 768, "weight_banks": 3,
        "axi_ports": 2, "axi_outstanding": 1, "axi_burst_beats": 5,
    },
}  # fmt: skip

DRAM_WORDS = 3000
STRIPE = 1 << 16


def build(**parameters):
    return Load(NodeConfig(**parameters))


class Testbench:
    """A Load with a buffer that logs writes and a log of ``done``."""

    def __init__(self, dut, *, stall=0.0):
        self.dut, self.rng, self.config, self.stall = dut, rng(), NodeConfig(**case()), stall
        self.sizes = (self.config.act_words, self.config.weight_words)
        self.writes, self.done, self.now, self.taken = [], [], 0, []
        self.source = Source(dut, "unit__instr", rng=self.rng, idle=stall)
        self.memory = None

    async def start(self, *, serve=True, **memory):
        for index in range(self.config.axi_ports):
            getattr(self.dut, f"dram__{index}__rvalid").value = 0
            getattr(self.dut, f"dram__{index}__arready").value = 0
            getattr(self.dut, f"dram__{index}__rid").value = 0
        self.dut.stripe.value = STRIPE
        self.dut.unit__halt.value = 0
        self.memory = AxiMemory(
            self.dut, rng=self.rng, size=STRIPE * self.config.axi_ports, beat_bytes=self.config.axi_bytes, **memory
        )
        await start(self.dut)
        if serve:
            self.memory.serve(self.config.axi_ports, "read")
        cocotb.start_soon(self._buffer())

    async def _buffer(self):
        ports = [
            [getattr(self.dut, f"write_{name}__{s}") for s in ("valid", "ready", "addr", "data", "mask")]
            for name in ("act", "weight")
        ]
        done = self.dut.unit__done
        ready = [False, False]
        while True:
            for index, port in enumerate(ports):
                ready[index] = self.rng.random() >= self.stall
                port[1].value = ready[index]
            await RisingEdge(self.dut.clk)
            self.now += 1
            if done.value:
                self.done.append((self.now, len(self.writes)))
            for index, (valid, _, addr, data, mask) in enumerate(ports):
                if ready[index] and valid.value:
                    assert int(mask.value) == (1 << self.config.tn) - 1
                    self.writes.append((index, int(addr.value), int(data.value)))
                    self.taken.append(self.now)

    def expected(self, body):
        """The writes of one instruction."""
        for local, dram in copy_words(body):
            word = words_of(self.memory, self.config, STRIPE, dram)
            if body.get("fill"):
                word = bytes([body["fill_value"] & 0xFF]) * self.config.tn
            yield body["memory"], local, int.from_bytes(word, "little")

    def random_bodies(self, count, *, fills=0.2):
        for _ in range(count):
            body = random_copy(self.rng, self.sizes, DRAM_WORDS)
            if self.rng.random() < fills:
                body |= {"fill": 1, "fill_value": self.rng.randint(-128, 127)}
            yield body

    async def send(self, bodies):
        await self.source.send(int.from_bytes(encode(Opcode.LOAD, **body), "little") for body in bodies)

    async def finish(self, count, *, cycles=20000):
        for _ in range(cycles):
            if len(self.done) >= count:
                return
            await tick(self.dut)
        raise AssertionError(f"{len(self.done)} of {count} instructions done after {cycles} cycles")

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


@cocotb.test()
async def copies(dut):
    """Random strided copies and fills, everything stalling."""
    testbench = Testbench(dut, stall=0.3)
    await testbench.start(stall=0.3, latency=9)
    bodies = list(testbench.random_bodies(30))
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    await tick(dut, 3)
    testbench.check(bodies)
    assert not dut.unit__busy.value and not dut.unit__error.value
    words = sum(len(list(copy_words(b))) for b in bodies if not b.get("fill"))
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
            channel.set_pause_generator(iter(lambda: testbench.rng.random() < 0.2, None))
    bodies = list(testbench.random_bodies(6))
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    testbench.check(bodies)


def attainable(config, latency):
    """Words a cycle that must be reached: 0.9, or what the bursts in flight allow with 12 cycles of our own."""
    in_flight = config.axi_outstanding * config.axi_burst_beats
    return min(0.9, in_flight / (latency + config.axi_burst_beats + 12))


@cocotb.test()
async def throughput(dut):
    """One word a cycle over instruction boundaries, 30 cycles of latency; short rows that join in DRAM too."""
    testbench = Testbench(dut)
    await testbench.start(latency=30)
    line = {"count1": 1, "count2": 1, "local": 3, "memory": 0}
    bodies = [line | {"dram": 100 + 400 * n, "count0": 400} for n in range(4)]
    tile = {"count0": 5, "count1": 8, "count2": 10, "local": 0, "memory": 1, "dram": 77}
    tile |= {"dram_stride1": 5, "dram_stride2": 40, "local_stride1": 6, "local_stride2": 50}
    bodies += [tile, tile]
    begin = testbench.now
    await testbench.send(bodies)
    await testbench.finish(len(bodies))
    testbench.check(bodies)
    first = testbench.taken[0] - begin
    speed = len(testbench.taken) / (testbench.taken[-1] - testbench.taken[0] + 1)
    dut._log.info("%.3f words a cycle, first word after %d cycles", speed, first)
    assert speed >= attainable(testbench.config, 30)


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


def spoil(testbench, kind, before):
    """A copy with an error of that kind, the place of its first bad word, and the syndrome."""
    rng, memory = testbench.rng, testbench.memory
    body = random_copy(rng, testbench.sizes, DRAM_WORDS)
    size = testbench.sizes[body["memory"]]
    if kind == "OPERAND":
        body[rng.choice(["count0", "count1", "count2"])] = 0
        return body, 0, 0
    if kind == "WRAP":  # the sum of a row and its stride is a valid address, but for its carry
        body |= {"local": size - body["count0"], "count1": 2}
        body["local_stride1"] = (1 << 20) - body["local"] + 3
    elif kind == "ADDRESS":
        body["local"] = size - rng.randint(0, max(a for a, _ in copy_words(body)) - body["local"])
    else:
        used = {d for b in before if not b.get("fill") for _, d in copy_words(b)}
        words = [d for _, d in copy_words(body)]
        word = next((d for d in rng.sample(words, len(words)) if d not in used), None)
        if word is None:
            return spoil(testbench, kind, before)
        port = rng.randrange(testbench.config.axi_ports)
        memory.broken.add(port * STRIPE + word * testbench.config.axi_bytes)
        return body, words.index(word), port << 8 | 2
    addresses = [a for a, _ in copy_words(body)]
    place = next(i for i, a in enumerate(addresses) if a >= size)
    return body, place, addresses[place]


@cocotb.test()
@cocotb.parametrize(kind=["ADDRESS", "WRAP", "OPERAND", "AXI_READ"], attempt=[0, 1, 2])
async def errors(dut, kind, attempt):
    """Each error stops the unit at the right word, with everything before it done and nothing after."""
    testbench = Testbench(dut, stall=0.2)
    testbench.rng.seed(f"{testbench.rng.random()} {kind} {attempt}")
    await testbench.start(stall=0.2)
    before, after = list(testbench.random_bodies(attempt * 3)), list(testbench.random_bodies(3))
    body, place, syndrome = spoil(testbench, kind, before)
    sender = cocotb.start_soon(testbench.send([*before, body, *after]))
    for _ in range(20000):
        if dut.unit__error.value:
            break
        await tick(dut)
    error = int(dut.unit__error.value)
    seen = len(testbench.writes), len(testbench.done)
    await tick(dut, 400)
    assert (len(testbench.writes), len(testbench.done)) == seen, "went on after the error"
    code = UnitError[kind.replace("WRAP", "ADDRESS")]
    assert error == int(dut.unit__error.value) == 1 | code << 1 | syndrome << 5
    expected = [w for b in before for w in testbench.expected(b)]
    expected += list(testbench.expected(body))[:place]
    assert testbench.writes == expected
    assert len(testbench.done) == len(before)
    assert testbench.memory.idle, "bus left hanging"
    assert not dut.unit__instr__ready.value
    sender.cancel()


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
