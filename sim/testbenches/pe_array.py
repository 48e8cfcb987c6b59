"""PE array: every kind of event in any order, against the array without skew that its docstring promises."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.element import INT8
from superlip.rtl.pe_array import PEArray, psum_latency
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import start

CASES = {
    "packed": {"tm": 8, "tn": 8, "mac": "packed", "columns": 2},  # as a node has it
    "single": {"tm": 8, "tn": 8, "mac": "single"},
    "packed_deep": {"tm": 8, "tn": 32, "mac": "packed"},
    "single_wide": {"tm": 16, "tn": 8, "mac": "single", "columns": 4},
}


def build(**parameters):
    return PEArray(**parameters)


def word(values):
    return int.from_bytes(np.asarray(values, INT8.dtype).tobytes(), "little")


class Driver:
    """Applies one event a cycle and compares ``psum`` in every cycle."""

    def __init__(self, dut):
        self.dut, self.tm, self.tn, self.cycle = dut, case()["tm"], case()["tn"], 0
        self.columns = case().get("columns", 1)
        self.latency = psum_latency(self.tn)
        self.shadow = np.zeros((self.tm, self.tn), INT8.dtype)
        self.active = self.shadow.copy()
        self.expected = {}

    async def apply(self, x=None, *, swap=False, column=None, weights=None):
        """``weights``: shape (columns, tn), of the ``column``-th as many channels."""
        dut = self.dut
        dut.x_valid.value, dut.x_swap.value, dut.w_valid.value = x is not None, swap, weights is not None
        if swap:
            self.active = self.shadow.copy()
        if x is not None:
            dut.x.value = word(x)
            self.expected[self.cycle + self.latency] = PEArray.model(x[None], self.active)[0]
        if weights is not None:
            dut.w_column.value, dut.w_data.value = column, word(weights)
            self.shadow[column * self.columns : (column + 1) * self.columns] = weights
        await RisingEdge(dut.clk)
        expected = self.expected.pop(self.cycle, None)
        assert int(dut.psum_valid.value) == (expected is not None), f"cycle {self.cycle}"
        if expected is not None:
            got = np.frombuffer(int(dut.psum.value).to_bytes(4 * self.tm, "little"), np.int32)
            assert (got == expected).all(), f"cycle {self.cycle}: {got} is not {expected}"
        self.cycle += 1

    def loads(self, weights):
        """(column, weights) of each load of a set, shape (tm, tn)."""
        return enumerate(weights.reshape(-1, self.columns, self.tn))

    async def load(self, weights):
        for column, some in self.loads(weights):
            await self.apply(column=column, weights=some)

    async def drain(self):
        for _ in range(self.latency + 1):
            await self.apply()
        assert not self.expected


async def begin(dut):
    for name in ("x", "x_valid", "x_swap", "w_valid", "w_column", "w_data"):
        getattr(dut, name).value = 0
    await start(dut)
    driver = Driver(dut)
    # Weights keep their value over a reset: begin with known ones, in both sets.
    zero = np.zeros_like(driver.shadow)
    await driver.load(zero)
    await driver.apply(swap=True)
    return driver


@cocotb.test()
async def random_events(dut):
    """Pixels, swaps and loads at any time, with values that favour the corners of the elements."""
    driver = await begin(dut)
    random = np.random.default_rng(rng().getrandbits(64))

    def values():
        corners = random.choice(np.array([INT8.low, -INT8.high, -1, 0, 1, INT8.high], INT8.dtype), driver.tn)
        anything = random.integers(INT8.low, INT8.high + 1, driver.tn, INT8.dtype)
        return np.where(random.random(driver.tn) < random.random(), corners, anything)

    for _ in range(3000):
        busy = random.random() < 0.8
        await driver.apply(
            values() if random.random() < 0.7 else None,
            swap=random.random() < 0.1,
            column=int(random.integers(driver.tm // driver.columns)),
            weights=np.stack([values() for _ in range(driver.columns)]) if busy else None,
        )
    await driver.drain()


@cocotb.test()
async def extremes(dut):
    """All products at the same corner, above all -128 * -128 in every stage: +2**17 a chain; and sums of chains that
    are a power of two above -2**17, so that one other bit tells them from +2**17."""
    driver = await begin(dut)
    tm, tn = driver.tm, driver.tn
    corners = (*INT8.bounds, -INT8.high, 0, 1, -1)
    for w0 in corners:
        for w1 in corners:
            weights = np.empty((tm, tn), INT8.dtype)
            weights[::2], weights[1::2] = w0, w1
            await driver.load(weights)
            powers = (-INT8.low - (1 << bit) for bit in range(7)) if INT8.low in (w0, w1) else ()
            for i, x in enumerate((*corners, *powers)):
                await driver.apply(np.full(tn, x, INT8.dtype), swap=i == 0)
    await driver.drain()


@cocotb.test()
async def loads_behind_a_swap(dut):
    """Sets back to back, the first words of the next in the cycle of the swap, as FEED does it."""
    driver = await begin(dut)
    random = np.random.default_rng(rng().getrandbits(64))
    tm, tn = driver.tm, driver.tn
    await driver.load(random.integers(INT8.low, INT8.high + 1, (tm, tn), INT8.dtype))
    for _ in range(20):
        for column, some in driver.loads(random.integers(INT8.low, INT8.high + 1, (tm, tn), INT8.dtype)):
            x = random.integers(INT8.low, INT8.high + 1, tn, INT8.dtype)
            await driver.apply(x, swap=column == 0, column=column, weights=some)
    await driver.drain()
