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


ONE_BIT_PRODUCTS = (
    (11518409, 16132217), (16494566, 13998395), (14256028, 14885335), (10850072, 13376459), (14500240, 12208169),
    (14544160, 12095705), (16739264, 13728079), (9272704, 16244787), (16154368, 12863871), (12101120, 13174747),
    (15320064, 16148113), (13920256, 14059589), (14520320, 10676841), (11427840, 16356283), (13058048, 16335157),
    (11304960, 14491625), (16056320, 12736989), (15335424, 15845149), (15466496, 15071059), (11010048, 13681421),
    (13631488, 10405101), (14680064, 10560659), (12582912, 12320769), (14696249, 8716041), (9693014, 13725443),
    (14998844, 9273263), (8908584, 11663341), (11370032, 10298827), (8474912, 15633337), (13722048, 9334839),
    (12431488, 8579233), (15996160, 8420157), (11857408, 11173703), (10392576, 8992813), (8841216, 8580981),
    (8892416, 12673715), (9101312, 8516967), (10174464, 11779173), (10321920, 9906547), (9240576, 10113925),
    (11403264, 11425863), (13369344, 9087659), (9961472, 12196595), (11534336, 11057711), (10485760, 13264487),
)  # fmt: skip
"""(acc, factor) of 24 bits whose product has 24 bits (2 k + 1) 2**z, k even, then a one, and below it only one more: at
each place once in products of 48 bits and in those of 47. Found by trying odd factors, each with the one of the other
that gives the low bits."""


def product_ties(rest):
    """(acc, scale bits) whose product lies ``rest`` quarters of float32's last place above k + 1/2, k even.

    With 3 it must go up when it is rounded to 24 bits, so that k + 1 is the result; with 2 that is a tie, which goes
    down to another one, and k is the result.
    """
    pairs = []
    for k in range(2, INT8.high, 2):
        bits = k.bit_length()
        product = 4 * (2 * k + 1 << 23 - bits) + rest  # 26 bits
        for acc in range(3, 1 << 12, 2):
            factor = product // acc
            if product % acc == 0 and factor < 1 << 24 and acc.bit_length() + factor.bit_length() == 26:
                pairs.append((acc, scale_bits(factor, bits - 26)))
    return pairs


def one_bit_products():
    """(acc, scale bits, k): the product is above k + 1/2, k even, by its guard bit and one below it: k + 1."""
    found = []
    for acc, factor in ONE_BIT_PRODUCTS:
        cut = (acc * factor).bit_length() - 24
        top = acc * factor >> cut
        zeros = (top & -top).bit_length() - 1
        found.append((acc, scale_bits(factor, -cut - zeros - 1), top >> zeros + 1))
    return found


def scale_bits(factor, exponent):
    """Bits of the float32 factor * 2**exponent."""
    return int(np.float32(factor * 2.0**exponent).view(np.uint32))


def beside_ties(random, n, most=24):
    """(value, k): 2**n (k + 1/2) and that with each bit below it; k as it is or, of less than ``most`` bits, plus one.

    The results, once divided by 2**n and rounded half to even, are k and k + 1.
    """
    for place in (None, *range(n - 1)):
        k = random.getrandbits(random.randint(0, max(0, min(7, most - n))))
        k = min(k, 126)
        value = (2 * k + 1 << n - 1) + (0 if place is None else 1 << place)
        yield value, k + (place is not None or k % 2)


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
    for _ in range(28):
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


PLAIN = {"exact": 0, "shift": 0, "zp": 0, "low": INT8.low, "high": INT8.high}


async def decided(dut, random, rounds):
    """Rounds (scale, [(value, result), ...]) a lane: sends each value with a random sign."""
    dut.valid.value = 0
    await start(dut)
    for scales, lanes in rounds:
        length = max(len(values) for values in lanes)
        values, expected = [], []
        for place in range(length):
            pairs = [values[place % len(values)] for values in lanes]
            signs = [random.choice([-1, 1]) for _ in lanes]
            values.append((PLAIN, [sign * value for sign, (value, _) in zip(signs, pairs, strict=True)]))
            expected.append([sign * result for sign, (_, result) in zip(signs, pairs, strict=True)])
        await compare(dut, values, scales, expected, idle=0.0, random=random)


@cocotb.test()
async def rounds_products(dut):
    """Ties that only the lowest bits of a product decide, and those that none decides."""
    random, lanes, rounds = rng(), case()["lanes"], []
    for rest in (2, 3):
        pairs = product_ties(rest)
        assert len(pairs) > 100
        for pair in range(0, len(pairs) - lanes, lanes):
            accs, scales = zip(*pairs[pair : pair + lanes], strict=True)
            floats = np.array(scales, np.uint32).view(np.float32)
            expected = Requantize.model(np.array(accs, np.int32), floats, 0, *INT8.bounds)
            assert (expected % 2 == (rest == 3)).all(), "not such ties"
            rounds.append((scales, [[pair] for pair in zip(accs, expected.tolist(), strict=True)]))
    await decided(dut, random, rounds)


@cocotb.test()
async def one_bit_of_a_product_decides(dut):
    """Whichever bit it is, in each lane."""
    random, lanes, rounds = rng(), case()["lanes"], []
    products = one_bit_products()
    for first in range(len(products)):
        some = [products[(first + lane) % len(products)] for lane in range(lanes)]
        for acc, scale, k in some:
            floats = np.array([scale], np.uint32).view(np.float32)
            assert Requantize.model(np.array([acc], np.int32), floats, 0, *INT8.bounds) == k + 1
        rounds.append(([scale for _, scale, _ in some], [[(acc, k + 1)] for acc, _, k in some]))
    await decided(dut, random, rounds)


@cocotb.test()
async def one_bit_decides(dut):
    """Beside a tie by one bit alone, whichever, or by none: 2**n (k + 1/2) times 2**-n."""
    random, lanes, rounds = rng(), case()["lanes"], []
    for first in range(24):  # each n in each lane
        places = [1 + (first + lane) % 24 for lane in range(lanes)]
        rounds.append(([(FLOAT_BIAS - n) << 23 for n in places], [list(beside_ties(random, n)) for n in places]))
    for first in range(7):  # sums of more than 24 bits, which are rounded twice
        extra = [1 + (first + lane) % 7 for lane in range(lanes)]
        cases = [double_ties(random, bits) for bits in extra]
        rounds.append(([(FLOAT_BIAS - n) << 23 for n, _ in cases], [values for _, values in cases]))
    await decided(dut, random, rounds)


def double_ties(random, extra):
    """(n, [(value, result), ...]): sums of 24 + ``extra`` bits, beside a tie or on it by bits that float32 cuts off."""
    bits = random.randint(1, 6)
    values = []
    for place in (None, *range(extra - 1), "odd"):
        k = 1 << bits - 1 | random.getrandbits(bits - 1)
        top = (2 * k + 1 << 23 - bits) - (place == "odd")
        value = (top << extra) + (1 << extra - 1)
        if isinstance(place, int):
            value += 1 << place
        values.append((value, k + 1 if isinstance(place, int) else k + k % 2))
    return 24 - bits + extra, values


@cocotb.test()
async def one_bit_decides_an_exact_value(dut):
    """The same of values with ``exact``, of up to 35 bits."""
    random, lanes = rng(), case()["lanes"]
    dut.valid.value = 0
    await start(dut)
    values, expected = [], []
    for n in range(1, 36):
        for pairs in zip(*(beside_ties(random, n, 35) for _ in range(lanes)), strict=True):
            sign = random.choice([-1, 1])
            values.append((PLAIN | {"exact": 1, "shift": n}, [sign * value for value, _ in pairs]))
            expected.append([sign * result for _, result in pairs])
    await compare(dut, values, [random_scale(random) for _ in range(lanes)], expected, idle=0.0, random=random)


@cocotb.test()
async def clips(dut):
    """Values at both ends of the clip and beside them, for any zero point."""
    random, lanes = rng(), case()["lanes"]
    dut.valid.value = 0
    await start(dut)
    values, expected = [], []
    for _ in range(400):
        low, high = sorted(random.randint(*INT8.bounds) for _ in range(2))
        zp = random.randint(*INT8.bounds)
        results = [random.choice((low, high)) + random.randint(-1, 1) for _ in range(lanes)]
        values.append((PLAIN | {"exact": 1, "zp": zp, "low": low, "high": high}, [result - zp for result in results]))
        expected.append([min(max(result, low), high) for result in results])
    await compare(dut, values, [0] * lanes, expected, idle=0.0, random=random)
