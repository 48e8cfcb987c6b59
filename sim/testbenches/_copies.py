"""What the testbenches of LOAD and STORE share: sizes, a copying unit with DRAM behind it, and its errors."""

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.config import BUS_ADDRESS_BITS, PAGE, NodeConfig
from superlip.rtl.isa import encode
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._axi import AxiMemory, Regions, copy_words, random_copy
from superlip.sim.testbenches._streams import Source, start, tick

__all__ = ["CASES", "DRAM_WORDS", "STRIPE", "CopyTestbench", "fast_bodies", "misplace"]

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
        self.now, self.done = 0, []
        self.source = Source(dut, "unit__instr", rng=self.rng, idle=stall)
        self.regions = Regions(self.rng, self.config, STRIPE)
        self.memory = None

    async def start(self, *, serve=True, **memory):
        """Reset, DRAM (``memory``: see AxiMemory), and the watch. ``serve=False``: something else answers the ports."""
        dut, config = self.dut, self.config
        for index in range(config.axi_ports):
            for name in self.idle_inputs:
                getattr(dut, f"dram__{index}__{name}").value = 0
        stripe, places = STRIPE, None
        if serve:  # anywhere on the bus
            pages = 1 << BUS_ADDRESS_BITS - 12
            stripe, self.regions.origin = self.rng.randrange(pages) << 12, self.rng.randrange(pages - STRIPE // PAGE)
            first = self.regions.origin * PAGE
            places = [(port * stripe + first, port * STRIPE) for port in range(config.axi_ports)]
        dut.stripe.value = stripe
        dut.regions.value = self.regions.value
        dut.unit__halt.value = 0
        size = STRIPE * config.axi_ports
        self.memory = AxiMemory(dut, rng=self.rng, size=size, beat_bytes=config.axi_bytes, places=places, **memory)
        await start(dut)
        if serve:
            self.memory.serve(config.axi_ports, self.channel)
        cocotb.start_soon(self.watch())

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


def misplace(rng, body, size, kind):
    """Spoil a copy in a memory of ``size`` words: (words before its first bad one, the syndrome).

    ``kind``: "OPERAND" (a count is 0), "ADDRESS" (it ends outside) or "WRAP" (the sum of a row and its stride is a
    valid address, but for its carry).
    """
    if kind == "OPERAND":
        body[rng.choice(["count0", "count1", "count2"])] = 0
        return 0, 0
    if kind == "WRAP":
        body |= {"local": size - body["count0"], "count1": 2}
        body["local_stride1"] = (1 << 20) - body["local"] + 3
    else:
        body["local"] = size - rng.randint(0, max(a for a, _ in copy_words(body)) - body["local"])
    addresses = [a for a, _ in copy_words(body)]
    place = next(i for i, a in enumerate(addresses) if a >= size)
    return place, addresses[place]
