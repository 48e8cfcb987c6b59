"""STORE against random copies: DRAM contents, order, throughput, errors, halt, and bursts that always complete."""

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamWrite, AxiWriteBus

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import Opcode, encode
from superlip.rtl.ports import READ_LATENCY, UnitError
from superlip.rtl.store import Store
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
    return Store(NodeConfig(**parameters))


class Testbench:
    """A Store with buffers that answer reads and a log of ``done``."""

    def __init__(self, dut, *, stall=0.0, salt=""):
        self.dut, self.rng, self.config, self.stall = dut, rng(), NodeConfig(**case()), stall
        self.rng.seed(f"{self.rng.random()} {salt}")
        self.sizes = (self.config.act_words, self.config.weight_words)
        self.buffers = [[self.rng.randbytes(self.config.tn) for _ in range(size)] for size in self.sizes]
        self.now, self.done, self.beats = 0, [], 0
        self.source = Source(dut, "unit__instr", rng=self.rng, idle=stall)
        self.memory = None

    async def start(self, *, serve=True, **memory):
        dut, config = self.dut, self.config
        for index in range(config.axi_ports):
            for name in ("awready", "wready", "bvalid", "bid"):
                getattr(dut, f"dram__{index}__{name}").value = 0
        dut.stripe.value = STRIPE
        dut.unit__halt.value = 0
        dut.read_act__data_valid.value = dut.read_weight__data_valid.value = 0
        self.memory = AxiMemory(
            dut, rng=self.rng, size=STRIPE * config.axi_ports, beat_bytes=config.axi_bytes, **memory
        )
        self.before = bytes(self.memory.data)
        await start(dut)
        if serve:
            self.memory.serve(config.axi_ports, "write")
        cocotb.start_soon(self._serve_reads())

    async def _serve_reads(self):
        dut = self.dut
        names = ("valid", "ready", "addr", "data", "data_valid")
        ports = [[getattr(dut, f"read_{name}__{s}") for s in names] for name in ("act", "weight")]
        ready, answers = [False, False], [[None] * READ_LATENCY for _ in ports]
        done, beat = dut.unit__done, dut.beat
        while True:
            for index, (_, ready_signal, _, data, data_valid) in enumerate(ports):
                ready[index] = self.rng.random() >= self.stall
                ready_signal.value = ready[index]
                word = answers[index][0]
                data_valid.value = word is not None
                data.value = int.from_bytes(word, "little") if word else self.rng.getrandbits(8 * self.config.tn)
            await RisingEdge(dut.clk)
            self.now += 1
            self.beats += bool(beat.value)
            if done.value:
                self.done.append((self.now, [p.answered for p in self.memory.ports.values()]))
            for index, (valid, _, addr, _, _) in enumerate(ports):
                word = self.buffers[index][int(addr.value)] if ready[index] and valid.value else None
                # Accepted at this edge: the word is on data READ_LATENCY cycles later.
                answers[index] = [*answers[index][1:], word]

    def random_bodies(self, count):
        return [random_copy(self.rng, self.sizes, DRAM_WORDS) for _ in range(count)]

    async def send(self, bodies):
        await self.source.send(int.from_bytes(encode(Opcode.STORE, **body), "little") for body in bodies)

    async def finish(self, count, *, cycles=20000):
        for _ in range(cycles):
            if len(self.done) >= count:
                return
            await tick(self.dut)
        raise AssertionError(f"{len(self.done)} of {count} instructions done after {cycles} cycles")

    def log(self, bodies):
        """The words that the bodies write, in order: (DRAM word, bytes)."""
        return [(dram, self.buffers[b["memory"]][local]) for b in bodies for local, dram in copy_words(b)]

    def contents(self, log):
        """DRAM behind all ports after a log of writes."""
        data, size = bytearray(self.before), self.config.axi_bytes
        for dram, word in log:
            for port in range(self.config.axi_ports):
                start = port * STRIPE + dram * size
                data[start : start + size] = word[port * size : (port + 1) * size]
        return data

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
    await testbench.start(stall=0.3, latency=9)
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
            channel.set_pause_generator(iter(lambda: testbench.rng.random() < 0.2, None))
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
    line = {"count1": 1, "count2": 1, "local": 3, "memory": 0}
    bodies = [line | {"dram": 100 + 400 * n, "count0": 400} for n in range(4)]
    tile = {"count0": 5, "count1": 8, "count2": 10, "local": 0, "memory": 1, "dram": 77}
    tile |= {"dram_stride1": 5, "dram_stride2": 40, "local_stride1": 6, "local_stride2": 50}
    bodies += [tile, tile]
    begin = testbench.now
    cocotb.start_soon(testbench.send(bodies))
    while not testbench.beats:
        await tick(dut)
    first = testbench.now
    await testbench.finish(len(bodies))
    testbench.check(bodies)
    speed = testbench.beats / (testbench.done[-1][0] - latency - first)
    dut._log.info("%.3f words a cycle, first word after %d cycles", speed, first - begin)
    config = testbench.config
    in_flight = config.axi_outstanding * config.axi_burst_beats
    assert speed >= min(0.9, in_flight / (latency + config.axi_burst_beats + 14))


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


def spoil(testbench, kind):
    """A copy with an error of that kind, the number of words before its first bad row, and the syndrome."""
    body = testbench.random_bodies(1)[0]
    size = testbench.sizes[body["memory"]]
    if kind == "OPERAND":
        body[testbench.rng.choice(["count0", "count1", "count2"])] = 0
        return body, 0, 0
    if kind == "WRAP":  # the sum of a row and its stride is a valid address, but for its carry
        body |= {"local": size - body["count0"], "count1": 2}
        body["local_stride1"] = (1 << 20) - body["local"] + 3
    else:
        body["local"] = size - testbench.rng.randint(0, max(a for a, _ in copy_words(body)) - body["local"])
    addresses = [a for a, _ in copy_words(body)]
    place = next(i for i, a in enumerate(addresses) if a >= size)
    return body, place - place % body["count0"], addresses[place]


async def stopped(dut, testbench):
    """The error, when the unit has one; everything must stay as it is from then on."""
    for _ in range(20000):
        if dut.unit__error.value:
            break
        await tick(dut)
    error, done = int(dut.unit__error.value), len(testbench.done)
    await tick(dut, 400)
    assert len(testbench.done) == done, "done after the error"
    assert error == int(dut.unit__error.value)
    assert testbench.memory.idle, "burst left incomplete"
    assert not dut.unit__instr__ready.value
    return error


@cocotb.test()
@cocotb.parametrize(kind=["ADDRESS", "WRAP", "OPERAND"], attempt=[0, 1, 2])
async def source_errors(dut, kind, attempt):
    """A bad source stops the unit with everything before it done, and nothing from the bad row on written."""
    testbench = Testbench(dut, stall=0.2, salt=f"{kind} {attempt}")
    await testbench.start(stall=0.2)
    before, after = testbench.random_bodies(attempt * 3), testbench.random_bodies(3)
    body, good, syndrome = spoil(testbench, kind)
    sender = cocotb.start_soon(testbench.send([*before, body, *after]))
    error = await stopped(dut, testbench)
    assert error == 1 | UnitError[kind.replace("WRAP", "ADDRESS")] << 1 | syndrome << 5
    assert len(testbench.done) == len(before)
    whole = testbench.log(before)
    drams = [dram for _, dram in copy_words(body)][:good]
    locals_ = [local for local, _ in copy_words(body)][:good]
    whole += [(d, testbench.buffers[body["memory"]][a]) for d, a in zip(drams, locals_, strict=True)]
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
    testbench.memory.broken.add(port * STRIPE + word * testbench.config.axi_bytes)
    sender = cocotb.start_soon(testbench.send(bodies))
    error = await stopped(dut, testbench)
    assert error == 1 | UnitError.AXI_WRITE << 1 | (port << 8 | 2) << 5
    assert len(testbench.done) <= first
    sender.cancel()


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
        assert words_of(testbench.memory, testbench.config, STRIPE, 500 + index) == testbench.buffers[1][5 + index]
