"""What the testbenches of LOAD and STORE share: sizes, a copying unit with DRAM behind it, and its errors."""

import cocotb
from amaranth.utils import exact_log2
from cocotb.triggers import RisingEdge

from superlip.rtl.config import BUS_ADDRESS_BITS, DRAM_ADDRESS_BITS, PAGE, NodeConfig
from superlip.rtl.isa import FORMATS, REGION_BITS, encode
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._axi import (
    DECERR,
    SLVERR,
    AxiMemory,
    Regions,
    WrappedMemory,
    bursts_of,
    copy_words,
    dram_runs,
    random_copy,
    wide_number,
)
from superlip.sim.testbenches._streams import Source, start, tick

__all__ = [
    "CASES",
    "DRAM_WORDS",
    "STRIPE",
    "CopyTestbench",
    "bad_answers",
    "fast_bodies",
    "many_rows",
    "misplace",
    "short_rows",
    "slow_ports",
    "wide_copies",
]  # fmt: skip

CASES = {
    "four_ports": {
        "tm": 64, "tn": 64, "act_words": 768, "act_banks": 3, "weight_words": 512,
        "axi_ports": 4, "axi_outstanding": 8, "axi_burst_beats": 16,
    },
    "one_port": {"act_words": 1024, "weight_words": 512},
    "narrow": {
        "tm": 16, "tn": 16, "act_words": 512, "weight_words": 768, "weight_banks": 3,
        "axi_ports": 2, "axi_outstanding": 1, "axi_burst_beats": 5,
    },
}  # fmt: skip

_PAGES = 1 << BUS_ADDRESS_BITS - exact_log2(PAGE)  # of the bus

DRAM_WORDS = 3000
STRIPE = 1 << 16


class CopyTestbench:
    """A unit that copies between DRAM and the buffers. A subclass watches it: ``watch``, which fills ``done``.

    Parameters
    ----------
    stall : float
        Chance of a pause in front of an instruction, and of a buffer port without ready.
    salt : str
        For parametrized tests: other random numbers for each.

    Attributes
    ----------
    opcode : Opcode
    channel : str
        What the unit does with DRAM, "read" or "write".
    idle_inputs : tuple of str
        Signals of a DRAM port that are driven before anything serves it.
    done : list
        What was noted at each ``done``, in order; ``now`` counts cycles.
    """

    opcode = channel = None
    idle_inputs = ()

    def __init__(self, dut, *, stall=0.0, salt=""):
        self.dut, self.rng, self.config, self.stall = dut, rng(), NodeConfig(**case()), stall
        self.rng.seed(f"{self.rng.random()} {salt}")
        self.sizes = (self.config.act_words, self.config.weight_words)
        self.now, self.done, self.tasks = 0, [], []
        self.source = Source(dut, "unit__instr", rng=self.rng, idle=stall)
        self.regions = Regions(self.rng, self.config, STRIPE)
        self.memory = None

    async def start(self, *, serve=True, wide=False, again=False, **memory):
        """Reset, DRAM (``memory``: see AxiMemory), and the watch.

        ``serve=False``: something else answers the ports. ``wide``: any stripe, and regions all over the bus.
        ``again``: the clock runs, and who ran before has come to an ``end``.
        """
        dut, config = self.dut, self.config
        for index in range(config.axi_ports):
            for name in self.idle_inputs:
                getattr(dut, f"dram__{index}__{name}").value = 0
        kind, stripe, size = AxiMemory, STRIPE, STRIPE * config.axi_ports
        if wide:
            kind, stripe, size = WrappedMemory, self.rng.randrange(_PAGES) * PAGE, STRIPE
        elif serve:  # anywhere on the bus
            stripe = self.rng.randrange(_PAGES) * PAGE
            self.regions.origin = self.rng.randrange(_PAGES - STRIPE // PAGE)
            first = self.regions.origin * PAGE
            memory["places"] = [(port * stripe + first, port * STRIPE) for port in range(config.axi_ports)]
        self.stripe = stripe
        dut.stripe.value = stripe
        dut.regions.value = self.regions.value
        dut.unit__halt.value = 0
        self.memory = kind(dut, rng=self.rng, size=size, beat_bytes=config.axi_bytes, **memory)
        await start(dut, again=again)
        if serve:
            self.tasks += self.memory.serve(config.axi_ports, self.channel)
        self.tasks += [cocotb.start_soon(task) for task in (self.watch(), self._watch_busy())]

    async def start_wide(self, body, pages, *, again):
        """Start, and send a copy of ``wide_copies``; returns the body with its region."""
        region, address = divmod(body.get("dram", 0), 1 << DRAM_ADDRESS_BITS)
        region ^= self.rng.getrandbits(REGION_BITS)
        body = body | {"dram": region << DRAM_ADDRESS_BITS | address}
        self.regions.widen({region: pages} if pages else {})
        await self.start(wide=True, again=again)
        self.tasks.append(cocotb.start_soon(self.send([body | {"placed": True}])))
        return body

    async def _watch_busy(self):
        """From an instruction that was taken to its ``done``."""
        unit = [getattr(self.dut, f"unit__{name}") for name in ("busy", "done", "instr__valid", "instr__ready")]
        count = 0
        while True:
            await RisingEdge(self.dut.clk)
            busy, done, valid, ready = (signal.value == 1 for signal in unit)
            assert busy == (count > 0)
            count += (valid and ready) - done

    def end(self):
        """Nobody runs any more."""
        for task in self.tasks:
            task.cancel()

    def address(self, word, port):
        """Byte on a port's bus of a word of DRAM, counted from 0 on port 0's."""
        return (word * self.config.axi_bytes + port * self.stripe) % (1 << BUS_ADDRESS_BITS)

    def runs(self, body):
        """Yield (first word on port 0's bus, words, error) of each DRAM run; error: (code, syndrome), or None."""
        region, first = divmod(body.get("dram", 0), 1 << DRAM_ADDRESS_BITS)
        page = PAGE // self.config.axi_bytes
        base, end = (pages * page for pages in self.regions.pages[region])
        for word, count in dram_runs(body | {"dram": first}):
            behind = base + word + count
            outside = (UnitError.REGION, behind // page & 0xFFFF_FFFF) if behind > end else None
            yield base + word, count, outside

    def bursts(self, body, port):
        """Yield (address on a port's bus, beats) of what may be asked for."""
        for word, count, outside in self.runs(body):
            if outside:
                return
            for first, beats in bursts_of(self.config, word, count):
                yield self.address(first, port), beats

    async def until(self, enough, *, cycles=400):
        """Until ``enough()``, an error, or the first ``done``; returns (code, syndrome) of the error, or None."""
        error = self.dut.unit__error
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
            if error.value or self.done or enough():
                break
        await tick(self.dut, 4)
        value = int(error.value)
        return (value >> 1 & 15, value >> 5) if value else None

    def random_bodies(self, count):
        return [random_copy(self.rng, self.sizes, DRAM_WORDS) for _ in range(count)]

    async def send(self, bodies):
        bodies = (self.regions.placed(body) for body in bodies)
        await self.source.send(int.from_bytes(encode(self.opcode, **body), "little") for body in bodies)

    async def finish(self, count, *, cycles=20000):
        for _ in range(cycles):
            if len(self.done) >= count:
                return
            await tick(self.dut)
        raise AssertionError(f"{len(self.done)} of {count} instructions done after {cycles} cycles")

    def attainable(self, latency, own):
        """Words a cycle that must be reached: 0.9, or what bursts in flight allow with ``own`` cycles of the unit."""
        in_flight = self.config.axi_outstanding * self.config.axi_burst_beats
        return min(0.9, in_flight / (latency + self.config.axi_burst_beats + own))

    async def stopped(self, changing):
        """The error, when the unit has one; ``changing()`` and all else must stay as it is from then on."""
        for _ in range(20000):
            if self.dut.unit__error.value:
                break
            await RisingEdge(self.dut.clk)
        error, seen = int(self.dut.unit__error.value), changing()
        await tick(self.dut, 400)
        assert changing() == seen, "went on after the error"
        assert error == int(self.dut.unit__error.value)
        assert self.memory.idle, "burst left incomplete"
        assert not self.dut.unit__instr__ready.value
        return error


def fast_bodies():
    """Copies that a unit does at full speed: long lines, and short rows that join in DRAM."""
    line = {"count1": 1, "count2": 1, "local": 3, "memory": 0}
    tile = {"count0": 5, "count1": 8, "count2": 10, "local": 0, "memory": 1, "dram": 77}
    tile |= {"dram_stride1": 5, "dram_stride2": 40, "local_stride1": 6, "local_stride2": 50}
    return [*(line | {"dram": 100 + 400 * n, "count0": 400} for n in range(4)), tile, tile]


def wide_copies(rng, config, opcode):
    """Yield (body, pages of its region) of copies that use all bits of their fields; None: of any region.

    Most end in an error after a few words; others would take very long.
    """
    widths = {field.name: field.width for field in FORMATS[opcode].fields}
    sizes = config.act_words, config.weight_words
    bits = widths["count0"]
    for bit in range(bits):  # no count is zero
        memory = rng.randint(0, 1)
        counts = {f"count{n}": 1 << (bit + 5 * n) % bits for n in range(3)}
        yield {"memory": memory, "local": sizes[memory] - 1, "local_stride1": 1, "local_stride2": 1, **counts}, None
    for _ in range(16):  # rows and planes join, to a run that ends behind its region
        first = rng.getrandbits(36)
        row, rows = rng.randint(1, 60), rng.choice([1, 1 + rng.getrandbits(bits - 1), 1 + rng.getrandbits(bits - 1)])
        yield _joined(rng, row, rows, rng.randint(1 << 14, (1 << bits) - 1)), (first, first + rng.randint(1, 200))
    for bit in range(bits, widths["dram_stride1"] + bits - 3):
        yield _long(rng, 1 << bit, config.axi_burst_beats), (rng.getrandbits(20), _PAGES)
    for behind in (0, 0, 0, 0, 1, 1, 1, 1):  # up to the very end of a region, or one word more
        body = random_copy(rng, sizes, DRAM_WORDS, words=30) | {"dram": 0}
        first, pages = rng.getrandbits(36), DRAM_WORDS * config.axi_bytes // PAGE + rng.randint(1, 1 << 16)
        room = pages * PAGE // config.axi_bytes
        yield body | {"dram": room + behind - max(map(sum, dram_runs(body)))}, (first, first + pages)
    names = ["local", "dram", *(f"count{n}" for n in range(3))]
    names += [f"{side}_stride{n}" for side in ("local", "dram") for n in (1, 2)]
    for _ in range(30):
        body = {name: rng.randint(1, 4) for name in names} | {"memory": rng.randint(0, 1)}
        for name in rng.sample(names, rng.randint(1, 3)):
            body[name] = wide_number(rng, widths[name]) or 1
        yield body, None


async def slow_ports(testbench):
    """Copies of short rows with each port slow in turn: as many bursts are under way as may be. Returns the copies."""
    sent = []
    for port in testbench.memory.ports.values():
        port.latency = 25
        await testbench.send(bodies := short_rows(4))
        sent += bodies
        await testbench.finish(len(sent))
        assert port.most == min(testbench.config.axi_outstanding, 20)
        port.latency = 1
    return sent


async def bad_answers(testbench_of, code):
    """Each port's bad response, and the first of two ports', whatever it is, is the unit's error.

    ``testbench_of``: makes a testbench with a salt. ``code``: of the error.
    """
    random, config = rng(), NodeConfig(**case())
    for number, (answers, syndrome) in enumerate(_bad_responses(random, config.axi_ports)):
        testbench = testbench_of(number)
        await testbench.start(again=number > 0)
        for port, answer in answers.items():
            testbench.memory.broken[port * STRIPE + 45 * config.axi_bytes] = answer
        body = {"count0": 9, "count1": 1, "count2": 1, "dram": 40}
        testbench.tasks.append(cocotb.start_soon(testbench.send([body])))
        error = await testbench.until(lambda: False)
        assert error == (code, syndrome) and not testbench.done
        testbench.end()


def _bad_responses(rng, ports):
    """Ports with their response, for each of some copies, and the syndrome that these have."""
    chosen = [(port,) for port in range(ports)] + [tuple(rng.sample(range(ports), 2)) for _ in range(2 * (ports > 1))]
    for some in chosen:
        answers = {port: rng.choice([SLVERR, DECERR]) for port in some}
        yield answers, min(some) << 8 | answers[min(some)]


def _joined(rng, row, rows, planes):
    """A copy that is one run in DRAM, and writes few words on chip again and again."""
    strides = {"dram_stride1": row, "dram_stride2": row * rows, "local_stride1": 0, "local_stride2": 0}
    counts = {"count0": row, "count1": rows, "count2": planes}
    return {"memory": rng.randint(0, 1), "local": rng.randint(0, 3), "dram": rng.randint(0, 999), **strides, **counts}


def _long(rng, words, burst):
    """A copy of a little more words than so many: if they were forgotten it would be over soon."""
    while True:
        planes = rng.randint(1 << 15, (1 << 16) - 1)
        plane = -(-words // planes)
        if burst < plane * planes - words < burst + 45:
            for row in range(min(250, plane), 0, -1):
                if plane % row == 0 and plane // row < 1 << 16:
                    return _joined(rng, row, plane // row, planes)


def short_rows(count):
    """Copies whose rows are a burst each, of one word."""
    row = {"memory": 0, "local": 9, "local_stride1": 1, "dram": 7, "dram_stride1": 3}
    return [row | {"count0": 1, "count1": 5, "count2": 1}] * count


async def many_rows(testbench):
    """Copies of more rows and planes than others have, to their end: up to 9 bits of either, and 14 bits of one."""
    apart = {"count0": 1, "memory": 0, "local": 2, "local_stride1": 1, "local_stride2": 7, "dram": 5, "dram_stride1": 2}
    both = [{"count1": 1 << bit | 1, "count2": 2} for bit in range(4, 9)]
    both += [{"count1": 2, "count2": 1 << bit | 1} for bit in range(4, 7)]
    same = {"count0": 1, "count1": 1, "count2": 1, "memory": 1, "local": 4, "dram": 9}
    most = [same | {count: (1 << 13) + 6} for count in ("count1", "count2")]
    bodies = [*(apart | {"dram_stride2": 29} | counts for counts in both), *most]
    await testbench.start(latency=1)
    await testbench.send(bodies)
    await testbench.finish(len(bodies), cycles=200_000)
    testbench.check(bodies)


def misplace(rng, body, size, kind, attempt):
    """Spoil a copy in a memory of ``size`` words: (words before its first bad one, the syndrome).

    ``kind``: "OPERAND" (a count is 0, by ``attempt``), "ADDRESS" (it ends outside) or "WRAP" (the sum of a row and its
    stride is a valid address, but for its carry).
    """
    if kind == "OPERAND":
        body[f"count{attempt}"] = 0
        return 0, 0
    if kind == "WRAP":
        body |= {"local": size - body["count0"], "count1": 2}
        body["local_stride1"] = (1 << 20) - body["local"] + 3
    else:
        body["local"] = size - rng.randint(0, max(a for a, _ in copy_words(body)) - body["local"])
    addresses = [a for a, _ in copy_words(body)]
    place = next(i for i, a in enumerate(addresses) if a >= size)
    return place, addresses[place]
