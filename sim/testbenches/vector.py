"""VECTOR against its numpy twin: random streams on memories that refuse at random, errors, throughput."""

import itertools

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.element import INT8
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import PARAM_WORDS, Opcode, VectorOp, encode, table_words
from superlip.rtl.ports import UnitError
from superlip.rtl.vector import Vector
from superlip.rtl.vector_model import VectorState
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import start

CASES = {"lanes8": {"lanes": 8}, "lanes16": {"lanes": 16}}

ACT_WORDS, ACC_WORDS = 1536, 128
DEST = 768  # sources and parameters below, destinations from here on, but for a few words that are never written
DEST_END = ACT_WORDS - 16
VARIANTS = 2
KINDS = {VectorOp.REQUANTIZE: 0, VectorOp.SUM: 1, VectorOp.MUL: 2, VectorOp.ADD: 3}


def node(lanes):
    return NodeConfig(tm=lanes, tn=lanes, act_words=ACT_WORDS, act_banks=3, acc_words=ACC_WORDS)


def build(lanes):
    return Vector(node(lanes))


class Memory:
    """Answers a read port two cycles after an accepted read; refuses, and puts noise on the bus, at random."""

    def __init__(self, dut, prefix, words, random):
        self.words, self.random, self.refuse = words, random, 0.0
        self.bits = 8 * words[0].nbytes
        names = ("valid", "addr", "ready", "data", "data_valid")
        self.valid, self.addr, self.ready, self.data, self.data_valid = (getattr(dut, f"{prefix}__{n}") for n in names)
        self.ready.value, self.data_valid.value = 0, 0
        self.accepted, self.coming = [], None

    def edge(self, cycle):
        """Call after each rising edge, before writes of that cycle change ``words``."""
        answer, self.coming = self.coming, None
        if self.valid.value == 1 and self.ready.value == 1:
            addr = int(self.addr.value)
            assert addr < len(self.words), f"read of word {addr}"
            self.coming = int.from_bytes(self.words[addr].tobytes(), "little")
            self.accepted.append(cycle)
        self.data.value = self.random.getrandbits(self.bits) if answer is None else answer
        self.data_valid.value = int(answer is not None)
        self.ready.value = int(self.random.random() >= self.refuse)


class Harness:
    """The unit with its memories; logs writes, dones and errors with their cycles."""

    def __init__(self, dut, random, act, acc):
        self.dut, self.random, self.act = dut, random, act
        self.act_port, self.acc_port = Memory(dut, "act_read", act, random), Memory(dut, "acc_read", acc, random)
        self.refuse_write = self.idle = 0.0
        self.writes, self.dones, self.error, self.cycle = [], [], None, 0
        self.stalled = 0
        self.queue = []
        dut.unit__instr__valid.value = dut.write__ready.value = dut.unit__halt.value = 0

    def refuse(self, chance):
        self.act_port.refuse = self.acc_port.refuse = self.refuse_write = self.idle = chance

    def send(self, tag, body):
        self.queue.append(int.from_bytes(encode(Opcode.VECTOR, tag=tag, **body), "little"))

    async def run(self):
        dut, offered = self.dut, False
        while True:
            await RisingEdge(dut.clk)
            self.act_port.edge(self.cycle)
            self.acc_port.edge(self.cycle)
            self._take_write()
            if dut.unit__done.value == 1:
                self.dones.append(self.cycle)
            self.stalled += int(dut.unit__stalled.value)
            error = int(dut.unit__error.value)
            if error & 1 and self.error is None:
                self.error = UnitError(error >> 1 & 15), error >> 5
            if offered and dut.unit__instr__ready.value == 1:
                self.queue.pop(0)
                offered = False
            offered = bool(self.queue) and (offered or self.random.random() >= self.idle)
            dut.unit__instr__valid.value = int(offered)
            if offered:
                dut.unit__instr__payload.value = self.queue[0]
            self.cycle += 1

    def _take_write(self):
        dut = self.dut
        if dut.write__valid.value == 1 and dut.write__ready.value == 1:
            addr, mask, lanes = int(dut.write__addr.value), int(dut.write__mask.value), self.act.shape[1]
            assert addr < len(self.act), f"write of word {addr}"
            word = np.frombuffer(int(dut.write__data.value).to_bytes(lanes, "little"), INT8.dtype)
            written = [bool(mask >> lane & 1) for lane in range(lanes)]
            self.act[addr, written] = word[written]
            self.writes.append((self.cycle, addr, word, written, int(dut.trace_tag.value)))
        dut.write__ready.value = int(self.random.random() >= self.refuse_write)

    async def wait(self, condition, limit=40_000):
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if condition():
                return
        raise AssertionError(f"nothing more happens: {len(self.dones)} done, {len(self.writes)} written")


async def harness(dut, random, *, clock=True):
    """A unit, reset, on random memories with blocks of parameters in them."""
    lanes = case()["lanes"]
    generator = np.random.default_rng(random.getrandbits(32))
    act = generator.integers(INT8.low, INT8.high + 1, (ACT_WORDS, lanes)).astype(INT8.dtype)
    acc = generator.integers(-(2**31), 2**31, (ACC_WORDS, lanes)) >> generator.integers(0, 20, (ACC_WORDS, 1))
    for kind, variant in itertools.product(range(4), range(VARIANTS)):
        block = act[params_at(lanes, kind, variant) :][:PARAM_WORDS]
        block[:] = random_params(generator, kind, lanes).view(INT8.dtype).reshape(PARAM_WORDS, lanes)
    unit = Harness(dut, random, act, acc.astype(np.int32))
    if clock:
        await start(dut)
    else:
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
    unit.task = cocotb.start_soon(unit.run())
    return unit


def params_at(lanes, kind, variant):
    return (kind * VARIANTS + variant) * (PARAM_WORDS + table_words(lanes))


def random_params(generator, kind, lanes):
    """int32, shape (lanes, 2), with which results of the operation are mostly inside the elements."""
    params = np.empty((lanes, 2), np.int32)
    if kind == KINDS[VectorOp.ADD]:
        params[:] = generator.integers(-(2**26), 2**26, (lanes, 2)) >> generator.integers(0, 6, (lanes, 1))
        params[0] = [-(2**26), 2**26 - 1]
        return params
    exponent = {0: -14.0, 1: -3.0, 2: -9.0}[kind]
    params[:, 0] = generator.integers(-1000, 1000, lanes)
    params[:, 1] = np.exp2(exponent + generator.uniform(-3, 3, lanes)).astype(np.float32).view(np.int32)
    params[0, 0], params[1, 1], params[2, 1] = 2**31 - 1, 0, np.float32(0.5).view(np.int32)
    return params


class Program:
    """Random instructions that stay inside the memories; knows which parameters the unit holds by then."""

    def __init__(self, random, lanes):
        self.random, self.lanes = random, lanes
        self.kind, self.table = None, False

    def instruction(self, op=None, **fixed):
        random = self.random
        op = random.choice(list(VectorOp)) if op is None else op
        body = {
            "op": int(op),
            "groups": random.randint(1, 3),
            "rows": random.randint(1, 4),
            "cols": random.randint(1, 6),
        }
        body["lane_first"] = random.choice([0, random.randrange(self.lanes)])
        body["lane_last"] = random.choice([self.lanes - 1, random.randint(body["lane_first"], self.lanes - 1)])
        body["zero_above"] = random.getrandbits(1)
        for name in ("zp_a", "zp_b", "zp_out"):
            body[name] = random.choice([0, INT8.low, random.randint(*INT8.bounds)])
        body["low"], body["high"] = random.choice([INT8.bounds, (0, INT8.high), (-30, 40)])
        body["shift"] = random.choice([random.randint(20, 28), random.getrandbits(6)])
        body |= self._window(op, body) | fixed
        body |= self._source(op, body) | self._places(body)
        return body | self._parameters(op)

    def _window(self, op, body):
        random = self.random
        if op in (VectorOp.MAX, VectorOp.SUM) or (op == VectorOp.REQUANTIZE and random.random() < 0.5):
            shape = random.randrange(4)
            if shape == 0:  # global
                height, width = random.randint(1, 5), random.randint(1, 5)
                return {"rows": 1, "cols": 1, "height": height, "width": width, "kh": height, "kw": width}
            if shape == 1:  # 3 x 3, stride 2, padding 1
                return {"height": 2 * body["rows"], "width": 2 * body["cols"] - 1, "y0": -1, "x0": -1, "kh": 3, "kw": 3,
                        "stride_y": 2, "stride_x": 2}  # fmt: skip
            kh, kw = random.randint(1, 4), random.randint(1, 4)
        else:
            if random.random() < 0.7:
                return {"kh": 1, "kw": 1, "height": body["rows"], "width": body["cols"], "stride_y": 1, "stride_x": 1}
            kh = kw = 1
        return {"height": random.randint(1, 8), "width": random.randint(1, 8), "y0": random.randint(-4, 3),
                "x0": random.randint(-4, 3), "kh": kh, "kw": kw, "stride_y": random.randint(0, 3),
                "stride_x": random.randint(0, 3)}  # fmt: skip

    def _source(self, op, body):
        random = self.random
        words = ACC_WORDS if op == VectorOp.REQUANTIZE else DEST
        pitch = body["width"] + random.randint(0, 2)
        end = (body["height"] - 1) * pitch + body["width"]
        plane = random.randint(0, (words - end) // body["groups"])
        pitch_b = body["cols"] + random.randint(0, 3)
        end_b = body["rows"] * pitch_b
        plane_b = random.randint(0, (DEST - end_b) // body["groups"])
        return {"pitch": pitch, "plane": plane, "pitch_b": pitch_b, "plane_b": plane_b,
                "source": self._base(words, end + (body["groups"] - 1) * plane),
                "source_b": self._base(DEST, end_b + (body["groups"] - 1) * plane_b)}  # fmt: skip

    def _base(self, words, used):
        return self.random.choice([0, words - used, self.random.randint(0, words - used)])

    def _places(self, body):
        random, words = self.random, DEST_END - DEST
        step = random.randint(0, 3)
        pitch = random.randint(0, 40)
        end = (body["cols"] - 1) * step + (body["rows"] - 1) * pitch + 1
        plane = random.randint(0, (words - end) // body["groups"])
        dest = DEST + self._base(words, end + (body["groups"] - 1) * plane)
        return {"dest": dest, "dest_step": step, "dest_pitch": pitch, "dest_plane": plane}

    def _parameters(self, op):
        random, fields = self.random, {}
        wanted = KINDS.get(op, self.kind)
        load_params = (wanted is not None and wanted != self.kind) or random.random() < 0.1
        load_table = random.random() < 0.1
        if load_params or load_table:
            kind = random.randrange(3) if wanted is None else wanted
            at = params_at(self.lanes, kind, random.randrange(VARIANTS))
            fields = {"load_params": int(load_params), "load_table": int(load_table), "params": at}
            self.kind = kind if load_params else self.kind
            self.table |= load_table
        return fields | {"use_table": int(self.table and random.random() < 0.5)}


def replay(unit, config, memory, acc, bodies):
    """Assert that the log is what the model makes of ``bodies``: each word, mask, tag and done, in order."""
    state, shadow, writes = VectorState(), memory.copy(), iter(unit.writes)
    for tag, body in enumerate(bodies):
        assert Vector.model(config, memory, acc, state, body) == (UnitError.NONE, 0)
        for _ in range(body["groups"] * body["rows"] * body["cols"]):
            cycle, addr, word, written, got_tag = next(writes)
            assert got_tag == tag, f"word {addr} has tag {got_tag}, not {tag}"
            shadow[addr, written] = word[written]
        wrong = np.argwhere(shadow != memory)
        assert not len(wrong), f"{VectorOp(body['op']).name} {body}: [word, lane] {wrong[:8].tolist()} of {len(wrong)}"
        assert unit.dones[tag] == cycle + 1, f"done {unit.dones[tag]}, last word {cycle}"
    assert next(writes, None) is None and len(unit.dones) == len(bodies)


@cocotb.test()
async def random_streams(dut):
    """Every operation, back to back, with and without refusals."""
    random, config = rng(), node(**case())
    unit = await harness(dut, random)
    memory, program, bodies = unit.act.copy(), Program(random, config.tn), []
    # The last one: results wait for the write port, so that reads have to wait for room.
    for chance, refuse_write, count in ((0.0, 0.0, 90), (0.3, 0.3, 60), (0.7, 0.7, 20), (0.0, 0.8, 20)):
        unit.refuse(chance)
        unit.refuse_write = refuse_write
        for _ in range(count):
            bodies.append(program.instruction())
            unit.send(len(bodies) - 1, bodies[-1])
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        assert unit.error is None
    assert {body["op"] for body in bodies} == {int(op) for op in VectorOp}
    await unit.wait(lambda: dut.unit__busy.value == 0, 5)
    replay(unit, config, memory, unit.acc_port.words, bodies)


@cocotb.test()
async def throughput(dut):
    """Cycles from the first to the last word, and the latency, are what the docstring promises."""
    random, config = rng(), node(**case())
    unit = await harness(dut, random)
    memory, program, bodies = unit.act.copy(), Program(random, config.tn), []

    unloaded = {"load_params": 0, "load_table": 0, "use_table": 0}

    async def run(op, steps, port, **fields):
        """Two instructions without parameters: ``steps`` cycles each, and no gap between them."""
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
        assert cycles[-1] - cycles[0] == 2 * steps - 2 * steps // len(cycles), fields

    full = {"groups": 1, "rows": 4, "cols": 6, "height": 9, "width": 12, "y0": 0, "x0": 0, "stride_y": 2, "stride_x": 2}
    for op in (VectorOp.REQUANTIZE, VectorOp.ADD, VectorOp.MUL, VectorOp.SUM, VectorOp.MAX):
        program.kind, program.table = None, False
        body = program.instruction(op)  # loads the parameters of the operation
        bodies.append(body)
        unit.send(len(bodies) - 1, body)
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        window = (3, 2) if op in (VectorOp.SUM, VectorOp.MAX) else (1, 1)
        operands = 2 if op in (VectorOp.ADD, VectorOp.MUL) else 1
        port = unit.acc_port if op == VectorOp.REQUANTIZE else unit.act_port
        shape = full | {"kh": window[0], "kw": window[1]}
        await run(op, 24 * operands * window[0] * window[1], port, **shape)
    short = [program.instruction(VectorOp.MAX, **full | {"rows": 1, "cols": 1, "kh": 1, "kw": 1}) for _ in range(20)]
    short = [body | unloaded for body in short]
    before = unit.cycle
    for body in short:
        bodies.append(body)
        unit.send(len(bodies) - 1, body)
    await unit.wait(lambda: len(unit.dones) == len(bodies))
    assert unit.cycle - before <= 20 * 4 + 40
    loads = (({"load_params": 1}, PARAM_WORDS), ({"load_params": 1, "load_table": 1}, PARAM_WORDS + 64))
    for load, cycles in loads:
        at = params_at(config.tn, KINDS[VectorOp.SUM], 0)
        pair = [body | unloaded, body | unloaded | load | {"params": at}]
        for body in pair:
            bodies.append(body)
            unit.send(len(bodies) - 1, body)
        await unit.wait(lambda: len(unit.dones) == len(bodies))
        gap = unit.writes[-1][0] - unit.dones[-2]
        assert cycles < gap <= cycles + build(**case()).latency + 12, gap
    assert unit.stalled == 0
    replay(unit, config, memory, unit.acc_port.words, bodies)


@cocotb.test()
async def errors(dut):
    """What comes before the mistake is written and done, nothing after it."""
    random, config = rng(), node(**case())
    far = 2**20 - 1
    window = {"groups": 2, "rows": 3, "cols": 4, "height": 4, "width": 4, "y0": 0, "x0": 0,
              "kh": 1, "kw": 1, "stride_y": 1, "stride_x": 1}  # fmt: skip
    mistakes = [
        {"groups": 0}, {"rows": 0}, {"cols": 0}, {"kh": 0}, {"kw": 0}, {"op": 5}, {"op": 7},
        {"lane_last": config.tm}, {"lane_first": 4, "lane_last": 3}, {"op": VectorOp.ADD, "kh": 2},
        {"op": VectorOp.MUL, "kw": 3}, {"source": ACT_WORDS - 6}, {"plane": far}, {"dest": ACT_WORDS - 3},
        {"dest": far, "source": far}, {"dest_plane": far}, {"op": VectorOp.ADD, "source_b": ACT_WORDS - 3},
        {"op": VectorOp.MUL, "plane_b": far}, {"op": VectorOp.REQUANTIZE, "source": ACC_WORDS - 5},
        {"load_params": 1, "params": ACT_WORDS - 3}, {"load_table": 1, "params": far},
        {"y0": -2, "source": ACT_WORDS - 2}, {"source": far, "pitch": 4095, "height": 4095, "y0": 4000},
        {"groups": 9, "rows": 1, "cols": 1, "plane": far, "y0": 1, "x0": 3, "source": far},
    ]  # fmt: skip
    for number, mistake in enumerate(mistakes):
        unit = await harness(dut, random, clock=number == 0)
        unit.refuse(random.choice([0.0, 0.4]))
        memory, program, bodies = unit.act.copy(), Program(random, config.tn), []
        for _ in range(3):
            bodies.append(program.instruction())
        if mistake.get("op") in list(VectorOp):  # its parameters
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
async def halt(dut):
    """No write starts while another part of the node has failed."""
    random = rng()
    unit = await harness(dut, random)
    program = Program(random, case()["lanes"])
    for tag in range(8):
        unit.send(tag, program.instruction(VectorOp.REQUANTIZE, rows=4, cols=6))
    await unit.wait(lambda: len(unit.writes) >= 10)
    dut.unit__halt.value = 1
    await RisingEdge(dut.clk)
    count = len(unit.writes)
    for _ in range(100):
        await RisingEdge(dut.clk)
    assert len(unit.writes) <= count + 1 and dut.write__valid.value == 0
