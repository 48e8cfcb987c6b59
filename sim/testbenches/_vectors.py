"""Helpers of VECTOR's testbench: the unit with its memories, and random programs for it."""

import itertools

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.element import INT8
from superlip.rtl.isa import DEPTHWISE_WORDS, MAX_LANE_MAX, PARAM_WORDS, Opcode, VectorOp, encode, table_words
from superlip.rtl.ports import UnitError
from superlip.rtl.vector import Vector
from superlip.rtl.vector_model import Fields, Places, VectorState
from superlip.sim.runner import case
from superlip.sim.testbenches._streams import start

__all__ = ["ACC_WORDS", "ACT_WORDS", "DEST", "KINDS", "Program", "harness", "operations", "params_at", "replay"]

ACT_WORDS, ACC_WORDS = 1536, 128
DEST = 768  # sources and parameters below, destinations from here on, but for a few words that are never written
DEST_END = ACT_WORDS - 16
VARIANTS = 2
KINDS = {VectorOp.REQUANTIZE: 0, VectorOp.SUM: 1, VectorOp.MUL: 2, VectorOp.ADD: 3, VectorOp.DEPTHWISE: 4}


def operations(config):
    """What VECTOR does in such a node."""
    return [op for op in VectorOp if config.depthwise_rows or op is not VectorOp.DEPTHWISE]


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
        self.stalled = self.working = 0
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
            self._look_at(dut)
            self.act_port.edge(self.cycle)
            self.acc_port.edge(self.cycle)
            self._take_write()
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

    def _look_at(self, dut):
        """``busy`` from the cycle after an instruction was taken until the last is done; ``stalled`` by a refusal."""
        assert dut.unit__busy.value == (self.working > 0), f"busy, or not, with {self.working} instructions"
        self.working += dut.unit__instr__valid.value == 1 and dut.unit__instr__ready.value == 1
        if dut.unit__done.value == 1:
            self.dones.append(self.cycle)
            self.working -= 1
        reads = [port for port in (self.act_port, self.acc_port) if port.valid.value == 1]
        if reads:
            refused = any(port.ready.value == 0 for port in reads)
            assert dut.unit__stalled.value == refused, f"stalled: {dut.unit__stalled.value}"
        assert self.working or dut.unit__stalled.value == 0
        self.stalled += int(dut.unit__stalled.value)

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
    for kind, variant in itertools.product(KINDS.values(), range(VARIANTS)):
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
    return (kind * VARIANTS + variant) * (PARAM_WORDS + DEPTHWISE_WORDS + table_words(lanes))


def random_params(generator, kind, lanes):
    """int32, shape (lanes, 2), with which results of the operation are mostly inside the elements.

    Some lanes, other ones each time, have the largest values, or a scale of 0, which shows nothing.
    """
    params = np.empty((lanes, 2), np.int32)
    largest, zero, half = generator.permutation(lanes)[:3]
    if kind == KINDS[VectorOp.ADD]:
        params[:] = generator.integers(-(2**26), 2**26, (lanes, 2)) >> generator.integers(0, 6, (lanes, 1))
        params[largest] = [-(2**26), 2**26 - 1]
        return params
    exponent = {0: -14.0, 1: -3.0, 2: -9.0, 4: -9.0}[kind]
    params[:, 0] = generator.integers(-1000, 1000, lanes)
    params[:, 1] = np.exp2(exponent + generator.uniform(-3, 3, lanes)).astype(np.float32).view(np.int32)
    params[largest, 0], params[zero, 1], params[half, 1] = 2**31 - 1, 0, np.float32(0.5).view(np.int32)
    return params


def some(random, bits):
    """A number of so many bits, more often a small one than not, or the largest."""
    return random.choice(
        (random.randint(0, 4), random.getrandbits(random.randint(1, bits)), random.getrandbits(bits), (1 << bits) - 1)
    )


class Program:
    """Random instructions that stay inside the memories; knows which parameters the unit holds by then."""

    def __init__(self, random, config):
        self.random, self.config, self.lanes = random, config, config.tn
        self.kind, self.table = None, False

    def instruction(self, op=None, **fixed):
        random = self.random
        op = random.choice(operations(self.config)) if op is None else op
        body = {
            "op": int(op),
            "groups": random.randint(1, 3),
            "rows": random.randint(1, 4),
            "cols": random.randint(1, 6),
        }
        body["lane_first"] = random.choice([0, random.randrange(self.lanes)])
        body["lane_last"] = random.choice([self.lanes - 1, random.randint(body["lane_first"], self.lanes - 1)])
        body["zero_above"], body["lane_max"] = random.getrandbits(1), random.choice((0, 0, 1, MAX_LANE_MAX))
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
        elif op == VectorOp.DEPTHWISE:
            kh = kw = 3
            fields = {"stride_y": random.randint(1, 2), "stride_x": random.randint(1, 2), "kh": kh, "kw": kw}
            if random.random() < 0.3:  # as many rows as there can be
                body["rows"] = (self.config.depthwise_rows - 3) // fields["stride_y"] + 1
            return {"height": random.randint(1, 20), "width": random.randint(1, 12), "y0": random.randint(-4, 3),
                    "x0": random.randint(-4, 3)} | fields  # fmt: skip
        else:
            if random.random() < 0.7:
                return {"kh": 1, "kw": 1, "height": body["rows"], "width": body["cols"], "stride_y": 1, "stride_x": 1}
            kh = kw = 1
        return {"height": random.randint(1, 8), "width": random.randint(1, 8), "y0": random.randint(-4, 3),
                "x0": random.randint(-4, 3), "kh": kh, "kw": kw, "stride_y": random.randint(0, 3),
                "stride_x": random.randint(0, 3)}  # fmt: skip

    def wide(self, op=None):
        """An instruction whose source has any of the sizes of the format, around a pixel at one of its borders."""
        random, body = self.random, self.instruction(op)
        results = body["groups"] * body["rows"] * body["cols"]
        fields = {name: some(random, 12) for name in ("height", "width", "pitch")}
        fields |= {name: some(random, 8) for name in ("stride_y", "stride_x")} | {"kh": 1, "kw": 1}
        if body["op"] == VectorOp.DEPTHWISE:
            fields |= {name: body[name] for name in ("stride_y", "stride_x", "kh", "kw")}
        elif body["op"] in (VectorOp.MAX, VectorOp.SUM, VectorOp.REQUANTIZE):
            fields[random.choice(("kh", "kw"))] = random.randint(1, max(1, 150 // results))
        for first, size, step, count, kernel in (
            ("y0", "height", "stride_y", "rows", "kh"), ("x0", "width", "stride_x", "cols", "kw"),
        ):  # fmt: skip
            there = random.choice((-1, 0, fields[size] - 1, fields[size]))
            there -= random.randrange(body[count]) * fields[step] + random.randrange(fields[kernel])
            fields[first] = max(-(1 << 12), min((1 << 12) - 1, there))
        words = ACC_WORDS if body["op"] == VectorOp.REQUANTIZE else DEST
        places = Places(None, Fields(body | fields | {"source": 0, "plane": 0}))
        inside = places.source[places.present]
        if not len(inside):
            fields |= {"source": some(random, 20), "plane": some(random, 20)}
        elif (room := words - 1 - int(inside.max())) < 0:
            return body
        else:
            fields["plane"] = random.randint(0, room // body["groups"])
            fields["source"] = random.choice((0, room - (body["groups"] - 1) * fields["plane"]))
        return body | fields

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
        pitch = random.randint(0, 600 // body["rows"])
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
