"""Requantize: corners and random values on the RTL against the numpy model."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.element import INT8
from superlip.rtl.requantize import FLOAT_BIAS, Requantize
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import start

CASES = {"lanes8": {"lanes": 8}}

SMALLEST, LARGEST = 0x0080_0000, 0x7F7F_FFFF
CORNERS = [0, 1, -1, 2, 3, 2**24 - 1, 2**24 + 1, -(2**24) - 1, 2**25 - 1, 2**31 - 1, 2**31 - 64, -(2**31), 1 - 2**31]


def build(lanes):
    return Requantize(lanes)


def signed_value(handle, bits=8):
    value = int(handle.value)
    return value - (1 << bits) if value >> (bits - 1) else value


def random_control(random):
    low, high = random.choice(
        [INT8.bounds, (0, INT8.high), (random.randint(*INT8.bounds), random.randint(*INT8.bounds))]
    )
    return {"exact": 0, "shift": random.getrandbits(6), "zp": random.randint(*INT8.bounds), "low": low, "high": high}


def pack(control):
    return (control["exact"] | control["shift"] << 1 | (control["zp"] & 0xFF) << 7
            | (control["low"] & 0xFF) << 15 | (control["high"] & 0xFF) << 23)  # fmt: skip


def random_scale(random):
    kind = random.randrange(8)
    if kind == 0:
        return random.choice([0, SMALLEST, LARGEST, 0x3F80_0000, 0x3F00_0000])
    if kind == 1:
        return random.randint(SMALLEST, LARGEST)
    exponent = random.randint(FLOAT_BIAS - 32, FLOAT_BIAS + 9)
    fraction = random.getrandbits(23) & (-1 << random.choice([0, 0, 12, 20, 23]))
    return exponent << 23 | fraction


def random_acc(random, scale, control):
    """Mostly values whose results are inside the elements, often at a tie or at an end of the clip, or beside it."""
    exact, shift = control["exact"], control["shift"]
    edge = random.choice([control["low"], control["high"]]) - control["zp"] + random.randint(-1, 1)
    if exact:
        limit = 1 << 35
        halves = 2 * random.choice([random.randint(-140, 140), edge]) + random.randint(0, 1)
        near = halves * (1 << max(shift - 1, 0)) + random.randint(-1, 1)
        value = random.choice([near, random.randint(1 - limit, limit - 1), random.choice([limit - 1, 1 - limit])])
        return value if abs(value) < limit else random.randint(1 - limit, limit - 1)
    if random.random() < 0.1:
        return random.choice(CORNERS)
    factor = float(np.uint32(scale).view(np.float32)) or 1.0
    halves = random.choice([random.randint(-300, 300), 2 * edge])
    value = round(halves * 0.5 / factor) + random.randint(-2, 2) if factor > 1e-30 else 0
    return value if -(2**31) <= value < 2**31 else random.randint(-(2**31), 2**31 - 1)


def product_ties():
    """(acc, scale bits) whose product lies 3/4 of float32's last place above k + 1/2, k even.

    Rounded to 24 bits it must go up, so that k + 1 is the result: dropping any bit below makes a tie of it, and k.
    """
    pairs = []
    for k in range(2, INT8.high, 2):
        bits = k.bit_length()
        product = 4 * (2 * k + 1 << 23 - bits) + 3  # 26 bits
        for acc in range(3, 1 << 12, 2):
            factor = product // acc
            if product % acc == 0 and factor < 1 << 24 and acc.bit_length() + factor.bit_length() == 26:
                pairs.append((acc, int(np.float32(factor * 2.0 ** (bits - 26)).view(np.uint32))))
    return pairs


async def compare(dut, values, scales, expected, *, idle, random):
    """Send ``values`` (control, accs), collect the results; assert the latency of each and its value."""
    lanes, latency = case()["lanes"], Requantize(1).latency
    for lane in range(lanes):
        getattr(dut, f"scale__{lane}").value = scales[lane]
    sent, received, cycle = [], 0, 0
    queue = list(values)
    while received < len(values):
        if queue and random.random() >= idle:
            control, accs = queue.pop(0)
            dut.valid.value = 1
            dut.control.value = pack(control)
            for lane in range(lanes):
                getattr(dut, f"acc__{lane}").value = accs[lane] & (1 << 36) - 1
            sent.append(cycle)
        else:
            dut.valid.value = 0
        await RisingEdge(dut.clk)
        if int(dut.o_valid.value):
            assert cycle == sent[received] + latency, "latency differs"
            got = [signed_value(getattr(dut, f"o__{lane}")) for lane in range(lanes)]
            assert got == list(expected[received]), (values[received], [hex(s) for s in scales])
            received += 1
        cycle += 1
    return cycle


@cocotb.test()
async def equals_model(dut):
    random, lanes = rng(), case()["lanes"]
    dut.valid.value = 0
    await start(dut)
    for _ in range(40):
        scales = [random_scale(random) for _ in range(lanes)]
        floats = np.array(scales, np.uint32).view(np.float32)
        values, expected = [], []
        for _ in range(40):
            control = random_control(random)
            control["exact"] = int(random.random() < 0.3)
            accs = [random_acc(random, s, control) for s in scales]
            clip = control["zp"], control["low"], control["high"]
            if control["exact"]:
                result = Requantize.model_exact(np.array(accs, np.int64), control["shift"], *clip)
            else:
                result = Requantize.model(np.array(accs, np.int64).astype(np.int32), floats, *clip)
            values.append((control, accs))
            expected.append([int(v) for v in result])
        idle = random.choice([0.0, 0.0, 0.4])
        cycles = await compare(dut, values, scales, expected, idle=idle, random=random)
        if idle == 0.0:
            assert cycles == len(values) + Requantize(1).latency, "not one value a cycle"


@cocotb.test()
async def rounds_products_up(dut):
    """Ties that only the lowest bits of a product decide."""
    random, lanes = rng(), case()["lanes"]
    dut.valid.value = 0
    await start(dut)
    control = {"exact": 0, "shift": 0, "zp": 0, "low": INT8.low, "high": INT8.high}
    pairs = product_ties()
    assert len(pairs) > 100
    for pair in range(0, len(pairs) - lanes, lanes):
        accs, scales = zip(*pairs[pair : pair + lanes], strict=True)
        floats = np.array(scales, np.uint32).view(np.float32)
        expected = Requantize.model(np.array(accs, np.int32), floats, 0, *INT8.bounds)
        assert (expected % 2 == 1).all(), "not such ties"
        values = [(control, accs), (control, [-acc for acc in accs])]
        await compare(dut, values, scales, [list(expected), list(-expected)], idle=0.0, random=random)


@cocotb.test()
async def one_bit_decides(dut):
    """Beside a tie by the lowest bit alone, whichever place that has: 2**n (k + 1/2) + 1, and - 1, times 2**-n."""
    random, lanes = rng(), case()["lanes"]
    dut.valid.value = 0
    await start(dut)
    control = {"exact": 0, "shift": 0, "zp": 0, "low": -128, "high": 127}
    for first in range(2, 24):  # each place in each lane
        places = [2 + (first + lane) % 22 for lane in range(lanes)]
        scales = [(127 - n) << 23 for n in places]
        values, expected = [], []
        for _ in range(12):
            ks = [random.randrange(min(120, 1 << 24 - n)) for n in places]  # so that it is exact in float32
            sign, step = random.choice([-1, 1]), random.choice([-1, 1])
            values.append((control, [sign * ((2 * k + 1 << n - 1) + step) for k, n in zip(ks, places, strict=True)]))
            expected.append([sign * (k + (step > 0)) for k in ks])
        await compare(dut, values, scales, expected, idle=0.0, random=random)
