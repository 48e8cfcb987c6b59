"""FEED, MATMUL, array and accumulators together, against the numpy model of the instructions."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from superlip.element import INT8
from superlip.rtl.config import FEED_WORDS, NodeConfig
from superlip.rtl.feed import Feed
from superlip.rtl.feed import model as feed_model
from superlip.rtl.isa import Opcode, encode
from superlip.rtl.matrix import MatrixUnit, model, pixel_latency
from superlip.rtl.ports import READ_LATENCY, UnitError, instruction_layout
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import Source, start, tick

CASES = {
    "packed": {"tm": 8, "tn": 8, "mac": "packed", "act_words": 4096, "acc_words": 256},
    "single": {"tm": 16, "tn": 16, "mac": "single", "act_words": 2048, "act_banks": 2, "acc_words": 128},
}


def build(**parameters):
    return MatrixUnit(NodeConfig(**parameters))


def instruction(opcode, **body):
    """An instruction as a unit sees it."""
    return int.from_bytes(encode(opcode, **body), "little") & ((1 << instruction_layout(opcode).size) - 1)


class Buffer:
    """An on-chip buffer behind a ReadPort; refuses a read with chance ``refuse``. Without a read, data is garbage.

    ``words`` : ndarray, shape (reads, bytes of one); ``accepted`` : list of (cycle, address) of reads.
    """

    def __init__(self, dut, prefix, words, *, rng, refuse=0.0):
        self.dut, self.words, self.rng, self.refuse = dut, words, rng, refuse
        self.port = {n: getattr(dut, f"{prefix}__{n}") for n in ("valid", "addr", "ready", "data", "data_valid")}
        self.port["ready"].value = self.port["data_valid"].value = self.port["data"].value = 0
        self.cycle, self.accepted = 0, []

    async def run(self):
        port, pipe = self.port, [None] * (READ_LATENCY - 1)
        while True:
            port["ready"].value = int(self.rng.random() >= self.refuse)
            await RisingEdge(self.dut.clk)
            accept = port["valid"].value == 1 and port["ready"].value == 1
            if accept:
                self.accepted.append((self.cycle, int(port["addr"].value)))
            self.cycle += 1
            pipe.append(int(port["addr"].value) if accept else None)
            address = pipe.pop(0)
            port["data_valid"].value = address is not None
            if address is None:
                port["data"].value = self.rng.getrandbits(8 * self.words.shape[1])
            else:
                port["data"].value = int.from_bytes(self.words[address].tobytes(), "little")


def some(rng, bits):
    """A number of so many bits, more often a small one than not, or the largest."""
    return rng.choice(
        (rng.randint(0, 4), rng.getrandbits(bits), rng.getrandbits(rng.randint(1, bits)), (1 << bits) - 1)
    )


def addresses(fields):
    """Of the pixels of a MATMUL instruction, in its order: ndarray int64; those of padding are -1."""
    f = fields
    ahead = (1 << f["fold"]) - 1
    n, ky, kx, r, c = np.ogrid[: f["n_tiles"], : f["kh"], : f["kw"], : f["rows"], : f["cols"] + ahead]
    y = f["y0"] + r * f["stride_y"] + ky * f["dilation_y"]
    x = f["x0"] + c * f["stride_x"] + kx * f["dilation_x"]
    inside = (y >= 0) & (y < f["height"]) & (x >= 0) & (x < f["width"])
    return np.where(inside, f["act"] + n * f["plane"] + y * f["pitch"] + x, -1).reshape(-1)


class Testbench:
    """The unit with its two buffers, instructions for both units, and what the accumulators should hold."""

    def __init__(self, dut, *, refuse_weights=0.0, refuse_act=0.0, idle=0.0):
        self.dut, self.config, self.rng = dut, NodeConfig(**case()), rng()
        self.random = np.random.default_rng(self.rng.getrandbits(64))
        self.latency = pixel_latency(self.config)
        config, random = self.config, self.random
        corners = np.array(INT8.bounds, INT8.dtype)
        self.act = random.integers(INT8.low, INT8.high + 1, (config.act_words, config.tn), INT8.dtype)
        self.weights = random.integers(INT8.low, INT8.high + 1, (config.weight_words, config.tn), INT8.dtype)
        for words in (self.act, self.weights):
            some = random.random(words.shape) < 0.2
            words[some] = random.choice(corners, some.sum())
        self.acc = np.zeros((config.acc_words, config.tm), np.int32)
        self.shadow = np.zeros((config.tm, config.tn), INT8.dtype)
        self.act_buffer = Buffer(dut, "act_read", self.act, rng=self.rng, refuse=refuse_act)
        pairs = self.weights.reshape(-1, FEED_WORDS * config.tn)
        self.weight_buffer = Buffer(dut, "weight_read", pairs, rng=self.rng, refuse=refuse_weights)
        self.feeds = Source(dut, "feed__instr", rng=self.rng, idle=idle)
        self.matmuls = Source(dut, "matmul__instr", rng=self.rng, idle=idle)
        self.cycle, self.done, self.senders = 0, {"feed": [], "matmul": []}, []
        self.working, self.stalled = {"feed": 0, "matmul": 0}, {"feed": 0, "matmul": 0}
        self.signals = {
            unit: (source, *(getattr(dut, f"{unit}__{name}") for name in ("done", "busy", "stalled")))
            for unit, source in (("feed", self.feeds), ("matmul", self.matmuls))
        }

    async def start(self):
        for name in ("feed__halt", "matmul__halt", "acc_read__valid", "acc_read__addr"):
            getattr(self.dut, name).value = 0
        await start(self.dut)
        for task in (self.act_buffer.run(), self.weight_buffer.run(), self._watch()):
            cocotb.start_soon(task)
        return self

    async def restart(self):
        """Reset, in whatever state the units are; buffers and weights stay."""
        for task in self.senders:
            task.cancel()
        self.senders.clear()
        self.feeds.valid.value = self.matmuls.valid.value = 0
        self.dut.rst.value = 1
        await tick(self.dut, 2 + READ_LATENCY)
        self.dut.rst.value = 0
        self.act_buffer.accepted.clear()
        self.weight_buffer.accepted.clear()
        self.done, self.working = {"feed": [], "matmul": []}, {"feed": 0, "matmul": 0}
        await tick(self.dut)

    def send(self, feeds, matmuls):
        """Offer instructions to both units from now on."""
        self.senders.append(cocotb.start_soon(self.feeds.send(feeds)))
        self.senders.append(cocotb.start_soon(self.matmuls.send(matmuls)))

    async def _watch(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value == 0:
                self._look_at("feed", self.weight_buffer.port)
                self._look_at("matmul", self.act_buffer.port)
            self.cycle += 1

    def _look_at(self, unit, port):
        """``busy`` from the cycle after an instruction was taken until it is done; ``stalled`` by a refused read."""
        instr, done, busy, stalled = self.signals[unit]
        assert busy.value == (self.working[unit] > 0), f"{unit} is busy, or not, with {self.working[unit]}"
        self.working[unit] += instr.valid.value == 1 and instr.ready.value == 1
        if done.value == 1:
            self.done[unit].append(self.cycle)
            self.working[unit] -= 1
        if port["valid"].value == 1:
            assert stalled.value != port["ready"].value, f"{unit} stalled: {stalled.value}"
        self.stalled[unit] += int(stalled.value)

    def feed(self, weights, sets, rows):
        """A FEED instruction and its weight sets. Columns that it does not load keep what they had."""
        fields, result = {"weights": weights, "sets": sets, "rows": rows}, []
        error, _, loaded = feed_model(self.config, fields, self.weights)
        assert error is UnitError.NONE
        for words in loaded:
            self.shadow = self.shadow.copy()
            self.shadow[:rows] = words
            result.append(self.shadow)
        return instruction(Opcode.FEED, **fields), result

    def random_feeds(self, passes, *, all_rows):
        """Instructions that feed ``passes`` sets, from anywhere, however split, and the sets."""
        instructions, sets = [], []
        while len(sets) < passes:
            tm = self.config.tm
            rows = tm if all_rows and not sets else FEED_WORDS * self.rng.randint(1, tm // FEED_WORDS)
            count = self.rng.randint(1, passes - len(sets))
            first = FEED_WORDS * self.rng.randint(0, (self.config.weight_words - count * rows) // FEED_WORDS)
            word, more = self.feed(first, count, rows)
            instructions.append(word)
            sets += more
        return instructions, sets

    def random_fields(self, *, longest=40):
        """Fields of a MATMUL instruction that stays inside the memories; ``longest``: of a pass, in pixels."""
        r = self.rng
        rows = r.randint(1, r.choice((1, 8)))
        cols = r.randint(1, r.choice((1, max(1, longest // rows))))
        height, width = r.randint(1, 12), r.randint(1, 12)
        pitch = width + r.choice((0, 0, 3))
        n_tiles = r.choice((1, 1, 2, 4))
        plane = height * pitch + r.randint(0, 20)
        return {
            "act": r.randint(0, self.config.act_words - n_tiles * plane), "plane": plane, "pitch": pitch,
            "height": height, "width": width, "y0": r.randint(-4, 4), "x0": r.randint(-4, 4),
            "stride_y": r.randint(1, 3), "stride_x": r.randint(1, 3), "kh": r.randint(1, 3), "kw": r.randint(1, 3),
            "dilation_y": r.randint(1, 3), "dilation_x": r.randint(1, 3), "n_tiles": n_tiles,
            "rows": rows, "cols": cols, "zero_point": r.choice((0, *INT8.bounds, 5)),
            "acc": r.randint(0, self.config.acc_words - rows * cols), "accumulate": 0, "fold": r.choice((0, 0, 1, 2)),
        }  # fmt: skip

    def wide_fields(self):
        """Fields of a MATMUL instruction of few pixels, any of which may be as large as the format has it.

        One pixel, often just inside or just outside its source, is chosen first, and the source put around it.
        """
        r = self.rng
        rows, cols = r.choice(((1, 1), (1, 3), (3, 1), (2, 2)))
        kh, kw, n_tiles = r.choice(
            ((1, 1, 1), (2, 3, 2), (r.randint(4, 40), 1, 1), (1, r.randint(4, 40), 1), (1, 1, 30))
        )
        fields = {
            "rows": rows, "cols": cols, "kh": kh, "kw": kw, "n_tiles": n_tiles, "fold": r.choice((0, 0, 1, 2)),
            "height": some(r, 12) or 1, "width": some(r, 12) or 1, "pitch": some(r, 12), "accumulate": 0,
            "zero_point": r.randint(*INT8.bounds), "acc": r.randint(0, self.config.acc_words - rows * cols),
        }  # fmt: skip
        fields |= {name: some(r, 8) for name in ("stride_y", "stride_x", "dilation_y", "dilation_x")}
        for first, size, step, dilation, count, kernel in (
            ("y0", "height", "stride_y", "dilation_y", rows, kh), ("x0", "width", "stride_x", "dilation_x", cols, kw),
        ):  # fmt: skip
            there = r.choice((-1, 0, fields[size] - 1, fields[size], r.randrange(fields[size])))
            there -= r.randrange(count) * fields[step] + r.randrange(kernel) * fields[dilation]
            fields[first] = max(-(1 << 12), min((1 << 12) - 1, there))
        return fields | {"act": 0, "plane": 0}

    def wide_inside(self):
        """Such fields of which all pixels are in the buffer, often at one of its ends."""
        while True:
            fields = self.wide_fields()
            last = int(addresses(fields).max())
            room = self.config.act_words - 1 - last
            if last < 0:
                return fields | {"act": some(self.rng, 20), "plane": some(self.rng, 20)}
            if room >= 0:
                plane = self.rng.randint(0, room // fields["n_tiles"])
                room -= plane * (fields["n_tiles"] - 1)
                return fields | {"plane": plane, "act": self.rng.choice((0, room, self.rng.randint(0, room)))}

    def wide_outside(self):
        """Such fields, the counts included, with a pixel outside the buffer in one of the first passes; its address."""
        r = self.rng
        while True:
            fields = self.wide_fields()
            fields[r.choice(("kh", "kw", "n_tiles"))] |= 1 << r.randrange(8)
            fields["n_tiles"] |= r.choice((0, 1 << r.randrange(12)))
            bits = r.choice((20, (self.config.act_words - 1).bit_length()))
            fields |= {"act": some(r, bits), "plane": some(r, bits)}
            where = addresses(fields)
            wrong = int(np.argmax(where >= self.config.act_words))
            passes = fields["n_tiles"] * fields["kh"] * fields["kw"]
            if where[wrong] >= self.config.act_words and wrong * passes < 40 * len(where):
                return fields, int(where[wrong])

    async def finished(self, feeds, matmuls, *, within=20000):
        """Wait until so many instructions are done."""
        for _ in range(within):
            if len(self.done["feed"]) >= feeds and len(self.done["matmul"]) >= matmuls:
                return
            await tick(self.dut)
        raise AssertionError(f"hangs with {len(self.done['feed'])} and {len(self.done['matmul'])} instructions done")

    async def check(self, addresses, expected=None):
        """Read accumulator words as VECTOR does, one a cycle or with pauses."""
        dut, left, coming = self.dut, list(addresses), [None] * READ_LATENCY
        expected = self.acc if expected is None else expected
        asked, pause = None, 0.0
        while left or asked is not None or any(address is not None for address in coming):
            if asked is None and left and self.rng.random() >= pause:
                asked, pause = left.pop(0), 0.3
            dut.acc_read__valid.value = asked is not None
            dut.acc_read__addr.value = self.rng.randrange(self.config.acc_words) if asked is None else asked
            await RisingEdge(dut.clk)
            address = coming.pop(0)
            assert dut.acc_read__data_valid.value == (address is not None)
            if address is not None:
                word = int(dut.acc_read__data.value).to_bytes(4 * self.config.tm, "little")
                got = np.frombuffer(word, np.int32)
                assert (got == expected[address]).all(), f"accumulator {address}: {got} is not {expected[address]}"
            accepted = asked is not None and dut.acc_read__ready.value == 1
            coming.append(asked if accepted else None)
            asked = None if accepted else asked
        dut.acc_read__valid.value = 0


async def run_random(testbench, jobs):
    """Give FEED and MATMUL everything at once, and compare all accumulators that were written at the end."""
    feeds, matmuls, written = [], [], set()
    for job, fields in enumerate(jobs):
        passes = fields["n_tiles"] * fields["kh"] * fields["kw"]
        instructions, sets = testbench.random_feeds(passes, all_rows=job == 0)
        feeds += instructions
        matmuls.append(instruction(Opcode.MATMUL, **fields))
        testbench.acc = model(fields, testbench.act, np.array(sets), testbench.acc)
        written |= set(range(fields["acc"], fields["acc"] + fields["rows"] * fields["cols"]))
    testbench.send(feeds, matmuls)
    await testbench.finished(len(feeds), len(matmuls))
    assert testbench.dut.matmul__busy.value == 0 or testbench.done["matmul"][-1] == testbench.cycle - 1
    await testbench.check(sorted(written))
    assert testbench.dut.matmul__busy.value == 0 and testbench.dut.feed__busy.value == 0
    assert (len(testbench.done["feed"]), len(testbench.done["matmul"])) == (len(feeds), len(matmuls))


def accumulating(testbench, fields, before):
    """Sometimes go on with words of the job before, at any distance from its end."""
    if before and testbench.rng.random() < 0.6:
        size = fields["rows"] * fields["cols"]
        start = before["acc"] + testbench.rng.choice((0, before["rows"] * before["cols"] - 1, -size + 1))
        if start >= 0 and start + size <= testbench.config.acc_words:
            known = set(range(before["acc"], before["acc"] + before["rows"] * before["cols"]))
            fields |= {"acc": start, "accumulate": int(set(range(start, start + size)) <= known)}
    return fields


@cocotb.test()
async def random_instructions(dut):
    """Padding, strides, dilation, many passes, accumulation; buffers that refuse."""
    testbench = await Testbench(dut, refuse_weights=0.3, refuse_act=0.2, idle=0.2).start()
    jobs = []
    for _ in range(25):
        jobs.append(accumulating(testbench, testbench.random_fields(), jobs[-1] if jobs else None))
    await run_random(testbench, jobs)


@cocotb.test()
async def short_passes(dut):
    """Passes and instructions of one to five pixels that meet in the same words, at full speed."""
    testbench = await Testbench(dut).start()
    jobs = []
    for _ in range(80):
        fields = testbench.random_fields(longest=5) | {"rows": 1}
        fields["cols"] = min(fields["cols"], 5)
        jobs.append(accumulating(testbench, fields, jobs[-1] if jobs else None))
    await run_random(testbench, jobs)


@cocotb.test()
async def one_read_sets(dut):
    """Sets of one read, so that weights are never what a pass of one pixel waits for."""
    testbench = await Testbench(dut).start()
    feeds, matmuls = [], []
    word, first = testbench.feed(0, 1, testbench.config.tm)
    feeds.append(word)
    fields = testbench.random_fields() | {
        "rows": 1,
        "cols": 1,
        "kh": 3,
        "kw": 3,
        "n_tiles": 1,
        "acc": 7,
        "accumulate": 0,
    }
    word, sets = testbench.feed(100, 8, FEED_WORDS)
    feeds.append(word)
    testbench.acc = model(fields, testbench.act, np.array(first + sets), testbench.acc)
    matmuls.append(instruction(Opcode.MATMUL, **fields))
    for i in range(30):
        word, sets = testbench.feed(200 + FEED_WORDS * i, 3, FEED_WORDS)
        feeds.append(word)
        fields = fields | {"kh": 1, "kw": 3, "accumulate": 1}
        testbench.acc = model(fields, testbench.act, np.array(sets), testbench.acc)
        matmuls.append(instruction(Opcode.MATMUL, **fields))
    testbench.send(feeds, matmuls)
    await testbench.finished(len(feeds), len(matmuls))
    await testbench.check([7])


@cocotb.test()
async def largest_sums(dut):
    """The lower of two sums in one multiplier reaches its sign bit, and is positive, or is a power of two above the
    lowest that this bit can say: a single other bit tells the two apart."""
    testbench = await Testbench(dut).start()
    testbench.weights[:] = INT8.low
    for pixel in (INT8.low, *(-INT8.low - (1 << bit) for bit in range(7))):
        await testbench.restart()
        testbench.act[:] = pixel
        await run_random(testbench, [testbench.random_fields() for _ in range(3 if pixel == INT8.low else 1)])


@cocotb.test()
async def full_speed(dut):
    """As many pixels a pass as FEED has reads for a set, of FEED_WORDS words each: a read in every cycle on either
    side, within and between instructions."""
    testbench = await Testbench(dut).start()
    tm = testbench.config.tm
    set_reads = tm // FEED_WORDS
    fields = {
        "act": 3, "plane": 400, "pitch": 19, "height": 19, "width": 19, "y0": 0, "x0": 0, "stride_y": 1, "stride_x": 2,
        "kh": 2, "kw": 3, "dilation_y": 1, "dilation_x": 1, "n_tiles": 4, "rows": 2, "cols": set_reads // 2, "acc": 5,
    }  # fmt: skip
    jobs = [fields, fields | {"acc": 50, "kh": 1}, fields | {"accumulate": 1, "rows": 5}, fields | {"kw": 1}]
    jobs[2] |= {"acc": 60, "accumulate": 0}
    feeds, matmuls, pixels, passes = [], [], [], 0
    for job in jobs:
        count = job["n_tiles"] * job["kh"] * job["kw"]
        word, sets = testbench.feed(passes * tm, count, tm)
        feeds.append(word)
        matmuls.append(instruction(Opcode.MATMUL, **job))
        testbench.acc = model(job, testbench.act, np.array(sets), testbench.acc)
        pixels.append(count * job["rows"] * job["cols"])
        passes += count
    testbench.send(feeds, matmuls)
    await testbench.finished(len(jobs), len(jobs))
    cycles = [cycle for cycle, _ in testbench.act_buffer.accepted]
    assert cycles == list(range(cycles[0], cycles[0] + sum(pixels))), "a bubble between two pixels"
    ends = np.cumsum(pixels) - 1
    assert testbench.done["matmul"] == [cycles[0] + end + testbench.latency for end in ends]
    reads = [cycle for cycle, _ in testbench.weight_buffer.accepted]
    ends = np.cumsum([job["n_tiles"] * job["kh"] * job["kw"] * set_reads for job in jobs]) - 1
    assert testbench.done["feed"] == [reads[end] + READ_LATENCY for end in ends]
    # From the first swap on, until the longer passes of the third instruction come near.
    steady = reads[set_reads + Feed.QUEUE_DEPTH : ends[1] + 1]
    assert len(steady) > 100 and steady == list(range(steady[0], steady[0] + len(steady))), "FEED missed a cycle"
    for job in jobs:
        await testbench.check(range(job["acc"], job["acc"] + job["rows"] * job["cols"]))


@cocotb.test()
async def vector_reads_alongside(dut):
    """What an instruction wrote is read from the cycle after its ``done`` on, while the next ones run."""
    testbench = await Testbench(dut, refuse_weights=0.1).start()
    third = testbench.config.acc_words // 3
    jobs, states = [], []
    feeds = []
    for i in range(24):
        fields = testbench.random_fields(longest=third) | {"acc": i % 3 * third}
        fields["cols"] = min(fields["cols"], third // fields["rows"])
        instructions, sets = testbench.random_feeds(fields["n_tiles"] * fields["kh"] * fields["kw"], all_rows=i == 0)
        testbench.acc = model(fields, testbench.act, np.array(sets), testbench.acc)
        feeds += instructions
        jobs.append(fields)
        states.append(testbench.acc)
    cocotb.start_soon(testbench.feeds.send(feeds))
    words = [instruction(Opcode.MATMUL, **fields) for fields in jobs]
    sender = cocotb.start_soon(testbench.matmuls.send(words[:3]))
    for i, fields in enumerate(jobs):
        while len(testbench.done["matmul"]) <= i:
            await RisingEdge(dut.clk)
        # The word that was written last is read first.
        words_of_job = range(fields["acc"], fields["acc"] + fields["rows"] * fields["cols"])
        await testbench.check(reversed(words_of_job), states[i])
        await sender
        sender = cocotb.start_soon(testbench.matmuls.send(words[i + 3 : i + 4]))


@cocotb.test()
async def wide_instructions(dut):
    """Fields up to the largest, of few pixels, at the borders of source and buffer."""
    testbench = await Testbench(dut).start()
    await run_random(testbench, [testbench.wide_inside() for _ in range(40)])


@cocotb.test()
async def reads_ahead(dut):
    """FEED loads a set and reads ahead as much as its queue holds, and no more until it is wanted."""
    testbench = await Testbench(dut).start()
    tm, reads = testbench.config.tm, testbench.weight_buffer.accepted
    for rows in (tm, 3 * FEED_WORDS):
        await testbench.restart()
        first, sets = testbench.feed(0, 1, tm)
        word, more = testbench.feed(100, 20, rows)
        testbench.send([first, word], [])
        for passes in range(1, 4):
            await tick(dut, 60)
            assert len(reads) == (tm + (passes - 1) * rows) // FEED_WORDS + Feed.QUEUE_DEPTH
            before = testbench.stalled["feed"]
            await tick(dut, 10)
            assert testbench.stalled["feed"] == before + 10
            fields = simple(testbench)
            testbench.acc = model(fields, testbench.act, np.array([*sets, *more][passes - 1 :][:1]), testbench.acc)
            testbench.send([], [instruction(Opcode.MATMUL, **fields)])
            await testbench.finished(0, passes)
            await testbench.check(range(16))


def simple(testbench, **changes):
    """A good instruction of one pass, changed."""
    return {
        "act": 0, "plane": 0, "pitch": 4, "height": 4, "width": 4, "stride_y": 1, "stride_x": 1, "kh": 1, "kw": 1,
        "dilation_y": 1, "dilation_x": 1, "n_tiles": 1, "rows": 4, "cols": 4, "acc": 0,
    } | changes  # fmt: skip


async def stops(testbench, unit, code, syndrome, done, *, within=400):
    """The unit raises this error, after so many instructions, and never anything again."""
    dut = testbench.dut
    error, done_port = getattr(dut, f"{unit}__error"), getattr(dut, f"{unit}__done")
    for _ in range(within):
        await RisingEdge(dut.clk)
        if int(error.value) & 1:
            break
        assert int(error.value) == 0 or unit == "feed"
    for _ in range(60):
        assert int(error.value) == 1 | code << 1 | syndrome << 5, f"{int(error.value):#x}"
        assert len(testbench.done[unit]) == done and done_port.value == 0
        await RisingEdge(dut.clk)


@cocotb.test()
async def wrong_matmul(dut):
    """Each mistake: what came before is complete, the mistake writes nothing, nothing follows."""
    acc_words, act_words = NodeConfig(**case()).acc_words, NodeConfig(**case()).act_words
    mistakes = [({name: 0}, UnitError.OPERAND, 0) for name in ("n_tiles", "kh", "kw", "rows", "cols")]
    mistakes += [
        ({"acc": acc_words - 15}, UnitError.OPERAND, acc_words + 1),
        ({"rows": 4000, "cols": 4000, "acc": 7}, UnitError.OPERAND, 16_000_007),
        ({"rows": 4095, "cols": 4095, "acc": 7}, UnitError.OPERAND, 16_769_032),
        ({"act": act_words - 3}, UnitError.ADDRESS, act_words),
        ({"plane": act_words - 15, "n_tiles": 2}, UnitError.ADDRESS, act_words),
        ({"act": act_words + 5}, UnitError.ADDRESS, act_words + 5),
        ({"plane": (1 << 20) - 1, "n_tiles": 2}, UnitError.ADDRESS, (1 << 20) - 1),
    ]
    testbench = await Testbench(dut).start()
    for changes, code, syndrome in mistakes:
        await testbench.restart()
        good = simple(testbench, acc=20)
        bad = {"acc": 40} | simple(testbench) | {"acc": 40} | changes
        word, sets = testbench.feed(0, 8, testbench.config.tm)
        testbench.acc = model(good, testbench.act, np.array(sets[:1]), testbench.acc)
        testbench.acc = model(good | {"acc": 80}, testbench.act, np.array(sets[1:2]), testbench.acc)
        fields = (good, good | {"acc": 80}, bad, good | {"acc": 80})
        testbench.send([word], [instruction(Opcode.MATMUL, **f) for f in fields])
        await stops(testbench, "matmul", code, syndrome, 2)
        assert all(address < act_words for _, address in testbench.act_buffer.accepted)
        await testbench.check([*range(20, 36), *range(80, 96)])


@cocotb.test()
async def wide_mistakes(dut):
    """A pixel outside the buffer, near the beginning of an instruction of whatever size."""
    testbench = await Testbench(dut).start()
    act_words = testbench.config.act_words
    for _ in range(30):
        await testbench.restart()
        fields, address = testbench.wide_outside()
        testbench.send([testbench.feed(0, 64, testbench.config.tm)[0]], [instruction(Opcode.MATMUL, **fields)])
        await stops(testbench, "matmul", UnitError.ADDRESS, address, 0, within=1000)
        assert all(address < act_words for _, address in testbench.act_buffer.accepted)


@cocotb.test()
async def wrong_feed(dut):
    config = NodeConfig(**case())
    words, most = config.weight_words, (1 << 20) - 1
    mistakes = [
        ({"sets": 0}, UnitError.OPERAND, 0),
        ({"rows": 0}, UnitError.OPERAND, 0),
        ({"rows": config.tm + 1}, UnitError.OPERAND, config.tm + 1),
        ({"rows": config.tm + FEED_WORDS}, UnitError.OPERAND, config.tm + FEED_WORDS),
        ({"rows": config.tm - 1}, UnitError.OPERAND, config.tm - 1),
        ({"rows": 1}, UnitError.OPERAND, 1),
        ({"weights": 7}, UnitError.OPERAND, 7),
        ({"weights": most}, UnitError.OPERAND, most),
        ({"weights": 7, "rows": config.tm - 1}, UnitError.OPERAND, config.tm - 1),
        ({"weights": 7, "sets": 0}, UnitError.OPERAND, 7),
        ({"weights": words - config.tm + FEED_WORDS}, UnitError.ADDRESS, words),
        ({"weights": words}, UnitError.ADDRESS, words),
        ({"weights": most - 1}, UnitError.ADDRESS, most - 1),
        ({"weights": words - config.tm, "sets": (1 << 16) - 1}, UnitError.ADDRESS, words),
    ]
    testbench = await Testbench(dut).start()
    for changes, code, syndrome in mistakes:
        await testbench.restart()
        good, sets = testbench.feed(12, 1, config.tm)
        fields = {"weights": 0, "sets": 1, "rows": config.tm} | changes
        assert feed_model(config, fields, testbench.weights)[:2] == (code, syndrome)
        bad = instruction(Opcode.FEED, **fields)
        testbench.acc = model(simple(testbench), testbench.act, np.array(sets), testbench.acc)
        testbench.send([good, bad, good], [instruction(Opcode.MATMUL, **simple(testbench))])
        await stops(testbench, "feed", code, syndrome, 1)
        assert all(address < words // FEED_WORDS for _, address in testbench.weight_buffer.accepted)
        await testbench.finished(1, 1)
        await testbench.check(range(16))


@cocotb.test()
async def halts(dut):
    """With ``halt``, no read is issued and nothing more is accumulated."""
    testbench = await Testbench(dut).start()
    word, _ = testbench.feed(0, 9, testbench.config.tm)
    testbench.send([word], [instruction(Opcode.MATMUL, **simple(testbench, kh=3, kw=3))])
    while len(testbench.act_buffer.accepted) < 40:
        await RisingEdge(dut.clk)
    dut.feed__halt.value = dut.matmul__halt.value = 1
    await tick(dut, 2)
    reads = len(testbench.act_buffer.accepted), len(testbench.weight_buffer.accepted)
    await tick(dut, 50)
    assert (len(testbench.act_buffer.accepted), len(testbench.weight_buffer.accepted)) == reads
    assert not testbench.done["matmul"]
