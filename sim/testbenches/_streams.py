"""Helpers of the testbenches: clock and reset, streams with random back-pressure, buffer ports."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge, Timer

__all__ = ["PERIOD_NS", "start", "tick", "until", "Source", "Sink", "pauses"]

PERIOD_NS = 5
"""Of the clock that ``start`` starts."""


async def start(dut, *, cycles=3, again=False):
    """Start the clock on ``clk`` (not ``again``), hold ``rst`` for ``cycles``, return in the first cycle after it."""
    if not again:
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
    dut.rst.value = 1
    for _ in range(cycles):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def tick(dut, cycles=1):
    """Wait for that many rising edges."""
    for _ in range(cycles):
        await RisingEdge(dut.clk)


async def until(dut, condition, *, cycles=60_000):
    """Wait until ``condition()`` is true after a rising edge."""
    for _ in range(cycles):
        await RisingEdge(dut.clk)
        if condition():
            return
    raise AssertionError(f"not within {cycles} cycles")


def pauses(rng, chance):
    """For a channel of cocotbext-axi (``set_pause_generator``): a pause in a cycle by chance, for ever."""
    while True:
        yield rng.random() < chance


class Source:
    """Drives a stream ``prefix__payload/valid/ready`` with the items of a list; ``idle`` is the chance of a pause."""

    def __init__(self, dut, prefix, *, rng, idle=0.0):
        self.dut, self.rng, self.idle = dut, rng, idle
        self.payload = getattr(dut, f"{prefix}__payload")
        self.valid = getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready")
        self.valid.value = 0

    async def send(self, items):
        """Return when the last item has been taken."""
        for item in items:
            while self.rng.random() < self.idle:
                await RisingEdge(self.dut.clk)
            self.payload.value = item
            self.valid.value = 1
            while True:
                await RisingEdge(self.dut.clk)
                if self.ready.value == 1:  # the value before the edge
                    break
            self.valid.value = 0


class Sink:
    """Takes items of a stream into ``items``; ``stall`` is the chance of a cycle without ready."""

    def __init__(self, dut, prefix, *, rng, stall=0.0):
        self.dut, self.rng, self.stall = dut, rng, stall
        self.payload = getattr(dut, f"{prefix}__payload")
        self.valid = getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready")
        self.items = []
        self.ready.value = 0

    async def run(self):
        """Run for ever; start with ``cocotb.start_soon``."""
        while True:
            self.ready.value = int(self.rng.random() >= self.stall)
            await RisingEdge(self.dut.clk)
            if self.ready.value == 1 and self.valid.value == 1:
                self.items.append(int(self.payload.value))


async def settle():
    """Let combinational outputs settle, then read them."""
    await Timer(1, unit="ps")
    await ReadOnly()
