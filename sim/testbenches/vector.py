"""VECTOR against its numpy twin: random streams on memories that refuse at random, errors, throughput."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.element import INT8
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import DEPTHWISE_WORDS, MAX_LANE_MAX, PARAM_WORDS, VectorOp
from superlip.rtl.ports import UnitError
from superlip.rtl.vector import Vector
from superlip.rtl.vector_model import VectorState
from superlip.sim.runner import case, rng
from superlip.sim.testbenches import requantize
from superlip.sim.testbenches._vectors import (
    ACC_WORDS,
    ACT_WORDS,
    DEST,
    KINDS,
    Program,
    harness,
    operations,
    params_at,
    replay,
)  # fmt: skip

CASES = {
    "lanes8": {"lanes": 8, "rows": 16}, "lanes16": {"lanes": 16, "rows": 64}, "plain8": {"lanes": 8, "rows": 0},
}  # fmt: skip


def node(lanes, rows):
    return NodeConfig(tm=lanes, tn=lanes, act_words=ACT_WORDS, act_banks=3, acc_words=ACC_WORDS, depthwise_rows=rows)


def build(lanes, rows):
    return Vector(node(lanes, rows))


@cocotb.test()
async def random_streams(dut):
    """Every operation, back to back, with and without refusals."""
    random, config = rng(), node(**case())
    unit = await harness(dut, random)
    memory, program, bodies = unit.act.copy(), Program(random, config), []
    # The last one: results wait for the write port, so that reads have to wait for room.
    for chance, refuse_write, count in ((0.0, 0.0, 90), (0.3, 0.3, 60), (0.7, 0.7, 20), (0.0, 0.8, 20)):
        unit.refuse(chance)
        unit.refuse_write = refuse_write
        for _ in range(count):
            bodies.append(random.choice((program.instruction, program.wide))())
            unit.send(len(bodies) - 1, bodies[-1])
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        assert unit.error is None
    assert {body["op"] for body in bodies} == {int(op) for op in operations(config)}
    await unit.wait(lambda: dut.unit__busy.value == 0, 5)
    replay(unit, config, memory, unit.acc_port.words, bodies)


@cocotb.test()
async def throughput(dut):
    """Cycles from the first to the last word, and the latency, are what the docstring promises."""
    random, config = rng(), node(**case())
    unit = await harness(dut, random)
    memory, program, bodies = unit.act.copy(), Program(random, config), []

    unloaded = {"load_params": 0, "load_table": 0, "use_table": 0}

    async def run(op, steps, port, first, **fields):
        """Two instructions without parameters, of ``steps`` cycles, ``first`` for a result; no gap between them."""
        before = len(unit.writes)
        port.accepted.clear()
        for _ in range(2):
            body = program.instruction(op, **fields)
            body |= unloaded
            bodies.append(body)
            unit.send(len(bodies) - 1, body)
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        cycles = [cycle for cycle, *_ in unit.writes[before:]]
        assert port.accepted[-1] - port.accepted[0] == 2 * steps - 1, fields
        assert cycles[-1] - port.accepted[-1] == build(**case()).latency
        assert cycles[-1] - cycles[0] == 2 * steps - first, fields

    full = {"groups": 1, "rows": 4, "cols": 6, "height": 9, "width": 12, "y0": 0, "x0": 0, "stride_y": 2, "stride_x": 2}
    for op in operations(config):
        program.kind, program.table = None, False
        body = program.instruction(op)  # loads the parameters of the operation
        bodies.append(body)
        unit.send(len(bodies) - 1, body)
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        window = (3, 2) if op in (VectorOp.SUM, VectorOp.MAX) else (1, 1)
        operands = 2 if op in (VectorOp.ADD, VectorOp.MUL) else 1
        port = unit.acc_port if op == VectorOp.REQUANTIZE else unit.act_port
        shape = full | {"kh": window[0], "kw": window[1]}
        steps = operands * window[0] * window[1]
        if op == VectorOp.DEPTHWISE:  # 9 rows and 13 columns, of which windows end in the third ones
            await run(op, 9 * 13, port, 2 * 9 + 3, **full | {"kh": 3, "kw": 3, "width": 13})
        else:
            await run(op, 24 * steps, port, steps, **shape)
    short = [program.instruction(VectorOp.MAX, **full | {"rows": 1, "cols": 1, "kh": 1, "kw": 1}) for _ in range(20)]
    short = [body | unloaded for body in short]
    before = unit.cycle
    for body in short:
        bodies.append(body)
        unit.send(len(bodies) - 1, body)
    await unit.wait(lambda: len(unit.dones) == len(bodies))
    assert unit.cycle - before <= 20 * 4 + 40
    loads = [({"load_params": 1}, PARAM_WORDS), ({"load_params": 1, "load_table": 1}, PARAM_WORDS + 64)]
    if config.depthwise_rows:
        fields = {"op": VectorOp.DEPTHWISE, "kh": 3, "kw": 3, "stride_y": 1, "stride_x": 1, "load_params": 1}
        loads.append((fields, PARAM_WORDS + DEPTHWISE_WORDS))
    for load, cycles in loads:
        at = params_at(config.tn, KINDS[VectorOp.SUM], 0)
        pair = [body | unloaded, body | unloaded | load | {"params": at}]
        for body in pair:
            bodies.append(body)
            unit.send(len(bodies) - 1, body)
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        gap = unit.writes[-1][0] - unit.dones[-2]
        first = 3 * 3 if load.get("op") == VectorOp.DEPTHWISE else 1  # steps of the second one, a single result
        assert cycles + first <= gap <= cycles + first + build(**case()).latency + 12, gap
    assert unit.stalled == 0
    replay(unit, config, memory, unit.acc_port.words, bodies)


async def one_by_one(unit, config, rounds):
    """Run rounds (accumulator words or None, words at SOURCE or None, parameters, body); compare what each leaves."""
    state = VectorState()
    for number, (acc, words, params, fields) in enumerate(rounds):
        for memory, first, new in ((unit.acc_port.words, 0, acc), (unit.act, SOURCE, words)):
            if new is not None:
                memory[first : first + len(new)] = new
        unit.act[:PARAM_WORDS] = np.array(params, np.int32).view(INT8.dtype).reshape(PARAM_WORDS, -1)
        memory = unit.act.copy()
        body = {"groups": 1, "rows": 1, "kh": 1, "kw": 1, "height": 1, "width": 4095, "stride_x": 1, "dest": DEST,
                "dest_step": 1, "lane_last": config.tn - 1, "load_params": 1, "low": INT8.low, "high": INT8.high,
                "source": SOURCE} | fields  # fmt: skip
        unit.send(number, body)
        await unit.wait(lambda number=number: len(unit.dones) == number + 1)
        assert Vector.model(config, memory, unit.acc_port.words, state, body) == (UnitError.NONE, 0)
        wrong = np.argwhere(memory != unit.act)
        assert not len(wrong), f"{VectorOp(body['op']).name}: [word, lane] {wrong[:8].tolist()} of {len(wrong)}"


SOURCE = 16  # words of a round
PER_STEP = (1 << 27) - 2048  # of ADD's sum, for a step more of both operands: twice a factor that is nearly the largest


@cocotb.test()
async def one_bit_of_a_sum_decides(dut):
    """Sums beside ties, as `requantize` has them, on top of any bias; and words of a window that differ in one bit."""
    random, config = rng(), node(**case())
    unit = await harness(dut, random)
    lanes, rounds = config.tn, []

    def add(scales, values, **body):
        """``values``: a list of sums for each lane, the shorter ones filled up with others."""
        count = max(len(some) for some in values)
        biases = [random.choice([0, random.getrandbits(32)]) for _ in range(lanes)]
        sums = np.array([[*some, *random.choices(some, k=count - len(some))] for some in values], np.int64)
        acc = (sums.T - biases).astype(np.int32)
        params = np.column_stack([np.array(biases, np.int64), scales]).astype(np.uint32).view(np.int32)
        rounds.append((acc, None, params, {"op": VectorOp.REQUANTIZE, "source": 0, "cols": count} | body))

    def signed(value):
        return random.choice([-1, 1]) * value

    products = [(acc, scale) for acc, scale, _ in requantize.one_bit_products()]
    products += random.sample(requantize.product_ties(2), 40) + random.sample(requantize.product_ties(3), 10)
    for first in range(len(products)):
        some = [products[(first + lane) % len(products)] for lane in range(lanes)]
        add([scale for _, scale in some], [[signed(acc)] for acc, _ in some])
    for first in range(24):
        places = [1 + (first + lane) % 24 for lane in range(lanes)]
        values = [[signed(value) for value, _ in requantize.beside_ties(random, n)] for n in places]
        add([(requantize.FLOAT_BIAS - n) << 23 for n in places], values)
    for first in range(7):
        cases = [requantize.double_ties(random, 1 + (first + lane) % 7) for lane in range(lanes)]
        add([(requantize.FLOAT_BIAS - n) << 23 for n, _ in cases], [[signed(v) for v, _ in some] for _, some in cases])
    for _ in range(20):
        control = requantize.random_control(random) | {"exact": 0}
        scales = [requantize.random_scale(random) for _ in range(lanes)]
        values = [[requantize.random_acc(random, scale, control) for _ in range(40)] for scale in scales]
        add(scales, values, low=control["low"], high=control["high"], zp_out=control["zp"])
    for bit in range(31):
        places = [(bit + lane) % 31 for lane in range(lanes)]
        words = [random.getrandbits(31) - random.choice([0, 1 << 31]) for _ in range(lanes)]
        pairs = [[word, word ^ 1 << place] for word, place in zip(words, places, strict=True)]
        pairs = [[*pair, *pair[::-1]] for pair in pairs]
        scales = [(requantize.FLOAT_BIAS - place) << 23 for place in places]
        params = np.column_stack([-np.array(words, np.int64), scales]).astype(np.uint32).view(np.int32)
        body = {"op": VectorOp.REQUANTIZE, "source": 0, "cols": 2, "kw": 2, "stride_x": 2}
        rounds.append((np.array(pairs).T.astype(np.int32), None, params, body))
    await one_by_one(unit, config, rounds)


@cocotb.test()
async def one_bit_of_an_exact_sum_decides(dut):
    """ADD beside ties at each shift: x * mult_a + y * mult_b is a chosen number of up to 35 bits; MAX beside a clip."""
    random, config = rng(), node(**case())
    unit = await harness(dut, random)
    rounds = []
    for number in range(140):
        shift = 1 + number % 35
        params, words = [], []
        for _ in range(config.tn):
            values = [value for value, _ in requantize.beside_ties(random, shift, 35)]
            values = [value for value in values if value // PER_STEP <= 253] or [1 << shift - 1]
            value = random.choice([values[0], *random.choices(values, k=2)])  # often the tie itself
            x = random.randint(value // PER_STEP + 2, 255)
            y = x - 1
            second = value * pow(y, -1, x) % x
            second += (value // (x + y) - second) // x * x
            first = (value - y * second) // x
            sign = random.choice([-1, 1])
            params.append((sign * first, sign * second))
            words.append((x - 128, y - 128))
        body = {"op": VectorOp.ADD, "cols": 1, "zp_a": -128, "zp_b": -128, "shift": shift, "source_b": SOURCE + 1}
        rounds.append((None, np.array(words).T.astype(INT8.dtype), params, body))
    for number in range(60):  # lanes, of groups of which each gets the largest, that differ in one bit
        level = 1 + number % MAX_LANE_MAX
        words = [random.getrandbits(INT8.bits) for _ in range(config.tn >> level)]
        pairs = [(word, word ^ 1 << random.randrange(INT8.bits)) for word in words]
        lanes = [random.choice(pair) for _ in range(1 << level) for pair in pairs]
        body = {"op": VectorOp.MAX, "cols": 1, "lane_max": level, "load_params": 0}
        rounds.append((None, np.array([lanes], np.uint8).view(INT8.dtype), params, body))
    for _ in range(40):  # at the ends of a clip
        low, high = sorted(random.randint(*INT8.bounds) for _ in range(2))
        edges = [[random.choice((low, high)) + random.randint(-1, 1) for _ in range(config.tn)] for _ in range(12)]
        body = {"op": VectorOp.MAX, "cols": 12, "low": low, "high": high, "load_params": 0}
        rounds.append((None, np.array(edges).clip(*INT8.bounds).astype(INT8.dtype), params, body))
    await one_by_one(unit, config, rounds)


@cocotb.test()
async def errors(dut):
    """What comes before the mistake is written and done, nothing after it."""
    random, config = rng(), node(**case())
    far = 2**20 - 1
    window = {"groups": 2, "rows": 3, "cols": 4, "height": 4, "width": 4, "y0": 0, "x0": 0,
              "kh": 1, "kw": 1, "stride_y": 1, "stride_x": 1}  # fmt: skip
    mistakes = [
        {"groups": 0}, {"rows": 0}, {"cols": 0}, {"kh": 0}, {"kw": 0}, {"op": len(operations(config))}, {"op": 7},
        {"lane_last": config.tm}, {"lane_first": 4, "lane_last": 3}, {"lane_max": 3}, {"op": VectorOp.ADD, "kh": 2},
        {"op": VectorOp.MUL, "kw": 3}, {"source": ACT_WORDS - 6}, {"plane": far}, {"dest": ACT_WORDS - 3},
        {"dest": far, "source": far}, {"dest_plane": far}, {"op": VectorOp.ADD, "source_b": ACT_WORDS - 3},
        {"op": VectorOp.MUL, "plane_b": far}, {"op": VectorOp.REQUANTIZE, "source": ACC_WORDS - 5},
        {"load_params": 1, "params": ACT_WORDS - 3}, {"load_table": 1, "params": far},
        {"y0": -2, "source": ACT_WORDS - 2}, {"source": far, "pitch": 4095, "height": 4095, "y0": 4000},
        {"groups": 9, "rows": 1, "cols": 1, "plane": far, "y0": 1, "x0": 3, "source": far},
    ]  # fmt: skip
    if config.depthwise_rows:
        mistakes += [
            {"op": VectorOp.DEPTHWISE, "kh": 3, "kw": 3} | mistake for mistake in (
                {"kh": 4}, {"kw": 2}, {"stride_y": 3}, {"stride_x": 4}, {"stride_y": 0}, {"stride_x": 255},
                {"rows": config.depthwise_rows - 1}, {"rows": config.depthwise_rows // 2, "stride_y": 2},
                {"cols": 4094}, {"cols": 2048, "stride_x": 2}, {"source": ACT_WORDS - 6}, {"dest": ACT_WORDS - 3},
                {"source": ACT_WORDS - 16, "pitch": 5, "y0": -1, "x0": -2, "height": 5, "stride_x": 2},
                {"dest": ACT_WORDS - 16, "stride_y": 2, "dest_pitch": 3, "dest_step": 7, "dest_plane": 0},
                {"load_params": 1, "params": ACT_WORDS - PARAM_WORDS - DEPTHWISE_WORDS + 1},
            )
        ]  # fmt: skip
    for number, mistake in enumerate(mistakes):
        unit = await harness(dut, random, clock=number == 0)
        unit.refuse(random.choice([0.0, 0.4]))
        memory, program, bodies = unit.act.copy(), Program(random, config), []
        for _ in range(3):
            bodies.append(program.instruction())
        if mistake.get("op") in operations(config):  # its parameters
            bodies.append(program.instruction(mistake["op"]))
        bad = program.instruction(VectorOp.MAX, **window) | {"use_table": 0, "load_params": 0, "load_table": 0}
        bad |= {"lane_first": 0, "lane_last": config.tn - 1, "dest_step": 1} | mistake
        if bad["groups"] > 3:
            bad["dest_plane"] = 0
        state = VectorState()
        for body in bodies:
            Vector.model(config, memory, unit.acc_port.words, state, body)
        expected = Vector.model(config, memory, unit.acc_port.words, state, bad)
        assert expected[0] != UnitError.NONE, mistake
        for tag, body in enumerate([*bodies, bad, *bodies]):
            unit.send(tag, {name: int(value) for name, value in body.items()})
        await unit.wait(lambda unit=unit: unit.error is not None)
        count, dones = len(unit.writes), len(unit.dones)
        assert dones == len(bodies), mistake
        unit.refuse(0.0)
        for _ in range(60):
            await RisingEdge(dut.clk)
        assert (count, dones) == (len(unit.writes), len(unit.dones)), mistake
        assert unit.error == expected and (memory == unit.act).all(), (mistake, unit.error)
        unit.task.cancel()


@cocotb.test()
async def one_bit_outside(dut):
    """Each address with one high bit set, and no other: it is outside, and the syndrome."""
    random, config = rng(), node(**case())
    fields = {"op": VectorOp.MAX, "groups": 1, "rows": 1, "cols": 1, "height": 4095, "width": 4095, "kh": 1, "kw": 1,
              "pitch": 1 << 11, "dest": DEST, "lane_last": config.tn - 1}  # fmt: skip
    act = [1 << bit for bit in range((ACT_WORDS - 1).bit_length(), 20)]
    mistakes = [{name: at} for at in act for name in ("source", "dest")]
    mistakes += [{"op": VectorOp.ADD, "load_params": 1, "source_b": at} for at in act]
    mistakes += [{random.choice(("load_params", "load_table")): 1, "params": at} for at in act]
    mistakes += [{"op": VectorOp.REQUANTIZE, "load_params": 1, "source": 1 << bit} for bit in range(7, 20)]
    mistakes += [{"y0": 1 << bit} for bit in range(12)]
    for number, mistake in enumerate(mistakes):
        unit = await harness(dut, random, clock=number == 0)
        body = fields | mistake
        expected = Vector.model(config, unit.act.copy(), unit.acc_port.words, VectorState(), body)
        if expected[0] == UnitError.NONE:
            unit.task.cancel()
            continue
        unit.send(number, body)
        await unit.wait(lambda unit=unit: unit.error is not None, 100)
        assert unit.error == expected and not unit.writes and not unit.dones, (mistake, unit.error)
        unit.task.cancel()


@cocotb.test()
async def halt(dut):
    """No write starts while another part of the node has failed."""
    random = rng()
    unit = await harness(dut, random)
    program = Program(random, node(**case()))
    for tag in range(8):
        unit.send(tag, program.instruction(VectorOp.REQUANTIZE, rows=4, cols=6))
    await unit.wait(lambda: len(unit.writes) >= 10)
    dut.unit__halt.value = 1
    await RisingEdge(dut.clk)
    count = len(unit.writes)
    for _ in range(100):
        await RisingEdge(dut.clk)
    assert len(unit.writes) <= count + 1 and dut.write__valid.value == 0
