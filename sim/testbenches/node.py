"""One whole node: programs assembled by hand, run from DRAM, compared with the golden; and what goes wrong."""

from collections import Counter
from itertools import cycle

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiRamWrite, AxiReadBus, AxiWriteBus

from superlip.element import INT8
from superlip.ops.arithmetic import convolve, requantize
from superlip.rtl.config import BUS_ADDRESS_BITS, FEED_WORDS, NodeConfig
from superlip.rtl.isa import INSTRUCTION_BYTES, Memory, Opcode, Region, Unit, VectorOp, encode
from superlip.rtl.node import Node
from superlip.rtl.ports import UnitError
from superlip.rtl.registers import ERROR_UNIT_FETCH, ERROR_UNIT_WATCHDOG, IDENTITY, region_settings, registers
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import pauses, start, tick

CASES = {
    "tiny": {"tm": 8, "tn": 8},
    "two_ports": {"tm": 16, "tn": 16, "axi_ports": 2, "axi_burst_beats": 16, "mac": "single", "link_bytes": 16},
}


STRIPE = 1 << 16
BASE, SIZE = 0x3000, 0xC000  # of each region, the base within its part of the memory
PART_BITS = 18
PROGRAM = 0x8040  # not a multiple of the fetch's bursts
IFM, WEIGHTS, PARAMS, OFM = (  # words in DRAM
    region << 32 | word
    for region, word in zip(
        (Region.IMAGES, Region.WEIGHTS, Region.WEIGHTS, Region.RESULTS), (0x000, 0x100, 0x200, 0x300), strict=True
    )
)
HEIGHT, WIDTH = 5, 6
PIXELS = HEIGHT * WIDTH
SCRATCH_OFM, SCRATCH_PARAMS = 0x200, 0x100  # words in the activation buffer


def build(**sizes):
    return Node(NodeConfig(**sizes))


def kernel(config):
    """Rows and columns of the convolution: its weights have 256 words at most."""
    return 3 if config.tn <= 16 else 2


def placed(kind):
    """``AxiRamRead`` or ``AxiRamWrite`` whose regions lie anywhere in the address space, in the parts of one memory."""

    class Placed(kind):
        def __init__(self, *args, bases, **more):
            super().__init__(*args, size=len(Region) << PART_BITS, **more)
            self.bases = bases

        def place(self, address):
            parts = {base >> PART_BITS for base in self.bases.values()}
            assert address >> PART_BITS in parts, f"{address:#x} is in no region"
            return address % self.size

        async def _read(self, address, length):
            return self.read(self.place(address), length)

        async def _write(self, address, data):
            self.write(self.place(address), data)

    return Placed


class Board:
    """The node with its DRAM and its driver."""

    def __init__(self, dut, random):
        self.dut, self.random = dut, random
        self.config = NodeConfig(**case())
        self.offsets = {r.name: r.offset for r in registers(self.config)}
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "regs_"), dut.clk, dut.rst)
        self.reads, self.writes = [], []
        # Anywhere among the addresses of the bus, each in its part of the memory.
        self.bases = {r: random.getrandbits(29) << PART_BITS + 2 | r << PART_BITS | BASE for r in Region}
        memory, read, write = None, placed(AxiRamRead), placed(AxiRamWrite)
        for p in range(self.config.axi_ports):
            bus = AxiReadBus.from_prefix(dut, f"dram_read__{p}_")
            self.reads.append(read(bus, dut.clk, dut.rst, mem=memory, bases=self.bases))
            memory = self.reads[0].mem
            bus = AxiWriteBus.from_prefix(dut, f"dram_write__{p}_")
            self.writes.append(write(bus, dut.clk, dut.rst, mem=memory, bases=self.bases))
        self.trace = []

    async def begin(self, *, loop=False):
        dut = self.dut
        dut.link_tx__ready.value = 1
        dut.link_rx__valid.value = 0
        await start(dut)
        cocotb.start_soon(self._watch())
        if loop:
            cocotb.start_soon(self._loop())
        await self.write("STRIPE_LO", STRIPE)
        for name, value in region_settings({r: (base, SIZE) for r, base in self.bases.items()}).items():
            await self.write(name, value)
        await self.write("PROGRAM_LO", PROGRAM)
        await self.write("NODE", 5)

    async def _watch(self):
        """Collect (tag, word address, bytes) of the trace."""
        dut, mask = self.dut, (1 << self.config.tn) - 1
        while True:
            await RisingEdge(dut.clk)
            if dut.trace_write.value[0] == 1:
                write = int(dut.trace_write.value)
                assert int(dut.trace_mask.value) == mask
                data = int(dut.trace_data.value).to_bytes(self.config.tn, "little")
                self.trace.append((write >> 21, write >> 1 & 0xFFFFF, data))

    async def _loop(self):
        """The link's end is its own beginning."""
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            dut.link_rx__payload.value = dut.link_tx__payload.value
            dut.link_rx__valid.value = dut.link_tx__valid.value

    def slow(self, chance):
        for read, write in zip(self.reads, self.writes, strict=True):
            for channel in (read.ar_channel, read.r_channel, write.aw_channel, write.w_channel, write.b_channel):
                channel.set_pause_generator(pauses(self.random, chance))

    async def write(self, name, value):
        await self.master.write(self.offsets[name], value.to_bytes(4, "little"))

    async def read(self, name):
        return int.from_bytes((await self.master.read(self.offsets[name], 4)).data, "little")

    def put(self, word, values):
        """Words to DRAM: ``values``: elements, shape (count, tn)."""
        for p, part in enumerate(np.split(np.asarray(values, INT8.dtype), self.config.axi_ports, axis=1)):
            self.reads[0].write(self._place(word) + p * STRIPE, part.tobytes())

    def _place(self, word):
        """Byte in the memory of a word in DRAM."""
        return (word >> 32 << PART_BITS) + BASE + (word & 0xFFFF_FFFF) * self.config.axi_bytes

    def get(self, word, count):
        size = self.config.axi_bytes
        ports = range(self.config.axi_ports)
        parts = [self.reads[0].read(self._place(word) + p * STRIPE, count * size) for p in ports]
        return np.concatenate([np.frombuffer(x, INT8.dtype).reshape(count, size) for x in parts], axis=1)

    def put_program(self, instructions):
        """With rubbish behind END: it must not be executed."""
        rubbish = self.random.randbytes(16 * INSTRUCTION_BYTES)
        self.reads[0].write(
            self._place(Region.PROGRAMS << 32) + PROGRAM, b"".join(instructions) + encode(Opcode.END) + rubbish
        )

    async def run(self, *, timeout=20_000):
        """Start, wait for irq, return STATUS; once it is done no unit is at work."""
        await self.write("CONTROL", 1)
        for _ in range(timeout):
            await RisingEdge(self.dut.clk)
            if self.dut.irq.value == 1:
                break
        else:
            raise AssertionError(f"no irq after {timeout} cycles")
        busy = [int(getattr(self.dut, f"trace_status__{unit}").value) & 1 for unit in Unit]
        status = await self.read("STATUS")
        assert status != 2 or not any(busy), busy
        return status

    async def reset(self):
        await self.write("CONTROL", 2)
        await self.write("CONTROL", 0)
        for _ in range(2000):
            if not await self.read("STATUS") & 8:
                return
        raise AssertionError("the reset does not end")

    async def error(self):
        """(code, part, syndrome)."""
        assert await self.read("STATUS") == 4
        word = await self.read("ERROR")
        return word & 15, word >> 8, await self.read("SYNDROME")

    async def counters(self):
        """All of them: (unit, source) to what it holds, where that is not 0."""
        values = {(u, s): await self.read(f"{u.name}_COUNTER_{s}") for u in Unit for s in range(8)}
        return {place: value for place, value in values.items() if value}


def copy(memory, local, dram, count, **more):
    """Body of a contiguous LOAD or STORE."""
    return {"memory": memory, "local": local, "dram": dram, "count0": count, "count1": 1, "count2": 1, **more}


class Conv:
    """A convolution of one tile, with random data and places in the buffers.

    With a ``pad`` of 1 it is padded above and on the left by 1, and to the size of its IFM; with 0 not at all.
    """

    def __init__(self, board, seed, *, pad=1):
        data = np.random.default_rng(seed)
        config = board.config
        self.kernel, self.pad = kernel(config), pad
        self.sets, less = self.kernel**2, 0 if pad else self.kernel - 1
        self.rows, self.cols = HEIGHT - less, WIDTH - less
        self.pixels = self.rows * self.cols
        self.act, self.params = (int(v) for v in data.integers(0, 0x100 - PIXELS, 2))
        self.params += SCRATCH_PARAMS
        room = min(0x100, config.weight_words - self.sets * config.tn)
        self.weights = FEED_WORDS * int(data.integers(0, room // FEED_WORDS + 1))
        self.ofm = SCRATCH_OFM + int(data.integers(0, min(0x400, config.act_words - SCRATCH_OFM - PIXELS)))
        self.board, t = board, board.config.tn
        self.x = data.integers(INT8.low, INT8.high + 1, (1, t, HEIGHT, WIDTH), INT8.dtype)
        self.w = data.integers(INT8.low, INT8.high + 1, (t, t, self.kernel, self.kernel), INT8.dtype)
        self.bias = data.integers(-5000, 5000, t, np.int32)
        self.scale = data.uniform(0.0005, 0.003, t).astype(np.float32)
        self.zero_point, self.zp_out = (int(v) for v in data.integers(-20, 20, 2))
        board.put(IFM, self.x[0].transpose(1, 2, 0).reshape(PIXELS, t))
        board.put(WEIGHTS, self.w.transpose(2, 3, 0, 1).reshape(self.sets * t, t))
        params = np.stack([self.bias, self.scale.view(np.int32)], axis=1).astype("<i4")
        board.put(PARAMS, np.frombuffer(params.tobytes(), INT8.dtype).reshape(8, t))

    def expected(self):
        pads = (1, 1, self.kernel - 2, self.kernel - 2) if self.pad else (0, 0, 0, 0)
        acc = convolve(self.x, self.w, self.bias, strides=(1, 1), pads=pads, dilations=(1, 1), groups=1,
                       pad_value=self.zero_point)  # fmt: skip
        ofm = requantize(acc, self.scale.reshape(1, -1, 1, 1), self.zp_out)
        return ofm[0].transpose(1, 2, 0).reshape(self.pixels, -1)

    def program(self, tag=0x1234):
        t = self.board.config.tn
        window = {"stride_y": 1, "stride_x": 1, "rows": self.rows, "cols": self.cols}
        load = {"tag": tag}
        return [
            encode(Opcode.LOAD, post=[Unit.FEED], **load, **copy(Memory.WEIGHT, self.weights, WEIGHTS, self.sets * t)),
            encode(Opcode.LOAD, post=[Unit.MATMUL], **load, **copy(Memory.ACT, self.act, IFM, PIXELS)),
            encode(Opcode.LOAD, post=[Unit.VECTOR], **load, **copy(Memory.ACT, self.params, PARAMS, 8)),
            encode(Opcode.FEED, tag=tag, waits={Unit.LOAD: 1}, weights=self.weights, sets=self.sets, rows=t),
            encode(Opcode.MATMUL, tag=tag, waits={Unit.LOAD: 1}, post=[Unit.VECTOR], act=self.act, plane=0,
                   pitch=WIDTH, height=HEIGHT, width=WIDTH, **window, y0=-self.pad, x0=-self.pad, kh=self.kernel,
                   kw=self.kernel, dilation_y=1, dilation_x=1, n_tiles=1, acc=0, zero_point=self.zero_point),
            encode(Opcode.VECTOR, tag=tag, waits={Unit.LOAD: 1, Unit.MATMUL: 1}, post=[Unit.STORE],
                   op=VectorOp.REQUANTIZE, source=0, pitch=self.cols, height=self.rows, width=self.cols, **window,
                   kh=1, kw=1, dest=self.ofm, dest_pitch=self.cols, dest_step=1, groups=1, load_params=1,
                   params=self.params, zp_out=self.zp_out, low=INT8.low, high=INT8.high, lane_first=0,
                   lane_last=t - 1),
            encode(Opcode.STORE, tag=tag, waits={Unit.VECTOR: 1}, **copy(Memory.ACT, self.ofm, OFM, self.pixels)),
        ]  # fmt: skip

    async def check(self):
        """Run it and compare what is in DRAM, and the trace."""
        board = self.board
        board.put(OFM, np.full((PIXELS, board.config.tn), 99))
        board.put_program(self.program())
        board.trace.clear()
        assert await board.run() == 2, await board.read("ERROR")
        expected = self.expected()
        np.testing.assert_array_equal(board.get(OFM, self.pixels), expected)
        np.testing.assert_array_equal(board.get(OFM + self.pixels, PIXELS - self.pixels), 99)
        assert board.trace == [(0x1234, self.ofm + i, row.tobytes()) for i, row in enumerate(expected)]


@cocotb.test()
async def convolution(dut):
    """A tile, three times with other data, one of them with a slow memory; the registers tell what happened."""
    board = Board(dut, rng())
    await board.begin()
    assert await board.read("ID") == IDENTITY
    assert await board.read("SIZE_TN") == board.config.tn
    for chance, pad in ((0, 1), (0.5, 1), (0, 0)):
        board.slow(chance)
        before = await board.read("CYCLES_LO")
        conv = Conv(board, board.random.getrandbits(32), pad=pad)
        await conv.check()
        cycles = await board.read("CYCLES_LO")
        assert cycles != before and cycles > conv.sets * conv.pixels
        assert await board.read("DRAM_READ_WORDS") == conv.sets * board.config.tn + PIXELS + 8
        assert await board.read("DRAM_WRITE_WORDS") == conv.pixels
        for unit in Unit:
            busy, stalled, waiting = [await board.read(f"{unit.name}_{c}") for c in ("BUSY", "STALLED", "WAITING")]
            assert stalled <= busy <= busy + waiting <= cycles
            assert (busy > 0) == (unit != Unit.SEND)
            assert (waiting > 0) == (unit not in (Unit.LOAD, Unit.SEND)), unit
        assert await board.counters() == {}
        assert await board.read("MATMUL_BUSY") - await board.read("MATMUL_STALLED") >= conv.sets * conv.pixels


@cocotb.test()
async def any_unit_last(dut):
    """The beginning of a program, so that each unit is the last one at work: done comes when it has ended."""
    board = Board(dut, rng())
    await board.begin()
    conv = Conv(board, board.random.getrandbits(32))
    program = conv.program()
    # Without MATMUL there is room in the array for no more than one set.
    feed = encode(Opcode.FEED, waits={Unit.LOAD: 1}, weights=conv.weights, sets=1, rows=board.config.tn)
    for part in (program[:3], [program[0], feed], program[:5], program[:6]):
        board.put_program(part)
        assert await board.run() == 2
        await board.reset()


@cocotb.test()
async def posts_are_counted(dut):
    """Every unit posts to every other, and the link: each in its own counter."""
    board = Board(dut, rng())
    await board.begin(loop=True)
    r, t, counts, program = board.random, board.config.tn, Counter(), []

    def add(opcode, **body):
        posts = [unit for unit in Unit if r.random() < 0.5]
        counts.update((unit, opcode) for unit in posts)
        program.append(encode(opcode, post=posts, **body))

    window = {"height": 1, "width": 1, "stride_y": 1, "stride_x": 1, "kh": 1, "kw": 1, "rows": 1, "cols": 1}
    for _ in range(r.randint(20, 30)):
        add(Opcode.LOAD, fill=1, **copy(Memory.ACT, r.randrange(64), 0, 1))
        add(Opcode.FEED, weights=0, sets=1, rows=t)
        add(Opcode.MATMUL, act=0, plane=0, pitch=1, **window, y0=0, x0=0, dilation_y=1, dilation_x=1, n_tiles=1, acc=0)
        add(Opcode.VECTOR, op=VectorOp.REQUANTIZE, source=0, pitch=1, **window, dest=0, dest_pitch=1, dest_step=1,
            groups=1, low=INT8.low, high=INT8.high, lane_last=t - 1)  # fmt: skip
        add(Opcode.STORE, **copy(Memory.ACT, 0, OFM, 1))
        unit, counter = r.choice(list(Unit)), r.choice([6, 7])
        counts[unit, counter] += 1
        add(Opcode.SEND, node=5, remote_post=1, remote_unit=unit, remote_counter=counter)
    board.put_program(program)
    assert await board.run() == 2
    await tick(dut, 50)  # the last post is on the link
    assert await board.counters() == counts
    await board.reset()
    assert await board.counters() == {}


@cocotb.test()
async def strided_copies(dut):
    """Rows and planes that are apart in DRAM and in the buffers."""
    board = Board(dut, rng())
    await board.begin()
    r, t, size = board.random, board.config.tn, min(2000, SIZE // board.config.axi_bytes)
    data = np.frombuffer(r.randbytes(size * t), INT8.dtype).reshape(size, t)
    for memory, total in ((Memory.ACT, board.config.act_words), (Memory.WEIGHT, board.config.weight_words)):
        counts = [r.randint(1, 5), r.randint(2, 4), r.randint(2, 4)]
        body = {f"count{n}": count for n, count in enumerate(counts)} | {"memory": memory}

        def strides(room, counts=counts):
            """Start and strides of the shape in so many words, without two words in one place."""
            stride1 = counts[0] + r.randint(0, 3)
            stride2 = r.randint(counts[1] * stride1, room // counts[2])
            return r.randint(0, room // counts[2] - counts[1] * stride1), stride1, stride2

        def places(start, stride1, stride2, counts=counts):
            plane, row, word = np.ogrid[: counts[2], : counts[1], : counts[0]]
            return (start + plane * stride2 + row * stride1 + word).ravel()

        read, local, write = strides(size), strides(total), strides(size)

        def fields(region, dram, local=local):
            return dict(
                zip(("dram", "dram_stride1", "dram_stride2"), (region << 32 | dram[0], *dram[1:]), strict=True)
            ) | (dict(zip(("local", "local_stride1", "local_stride2"), local, strict=True)))

        board.put(Region.IMAGES << 32, data)
        expected = np.full((size, t), 55)
        board.put(Region.RESULTS << 32, expected)
        expected[places(*write)] = data[places(*read)]
        board.put_program([
            encode(Opcode.LOAD, post=[Unit.STORE], **body, **fields(Region.IMAGES, read)),
            encode(Opcode.STORE, waits={Unit.LOAD: 1}, **body, **fields(Region.RESULTS, write)),
        ])  # fmt: skip
        assert await board.run() == 2
        np.testing.assert_array_equal(board.get(Region.RESULTS << 32, size), expected)


@cocotb.test()
async def link_to_itself(dut):
    """SEND to this very node, whose STORE waits for the remote post."""
    board = Board(dut, rng())
    await board.begin(loop=True)
    t, count = board.config.tn, 2 * board.config.frame_words + 5
    words = np.frombuffer(board.random.randbytes(count * t), INT8.dtype).reshape(count, t)
    board.put(IFM, words)
    send = {"node": 5, "remote_memory": Memory.WEIGHT, "remote": 7, "remote_stride1": 0, "remote_stride2": 0}
    board.put_program([
        encode(Opcode.LOAD, post=[Unit.SEND], **copy(Memory.ACT, 3, IFM, count)),
        encode(Opcode.SEND, waits={Unit.LOAD: 1}, memory=Memory.ACT, local=3, count0=count, count1=1, count2=1, **send,
               remote_post=1, remote_unit=Unit.STORE, remote_counter=6),
        encode(Opcode.STORE, waits={6: 1}, **copy(Memory.WEIGHT, 7, OFM, count)),
    ])  # fmt: skip
    assert await board.run() == 2
    np.testing.assert_array_equal(board.get(OFM, count), words)
    assert await board.read("LINK_TX_FLITS") >= count * t // board.config.link_bytes
    assert await board.read("LINK_RX_FLITS") > 0
    assert await board.read("LINK_ERRORS") == 0


@cocotb.test()
async def outside_a_region(dut):
    """What lies behind a region is neither read nor written; a program does not go on there."""
    board = Board(dut, rng())
    await board.begin()
    t, size = board.config.tn, board.config.axi_bytes
    words = SIZE // size
    for region in Region:
        opcode = board.random.choice([Opcode.LOAD, Opcode.STORE])
        behind, ends = region << 32 | words, board.bases[region] + SIZE
        board.put(behind, np.full((64, t), 77))
        board.put_program([encode(opcode, tag=3, **copy(Memory.ACT, 5, behind - 1, 2))])
        assert await board.run() == 4
        assert await board.error() == (UnitError.REGION, opcode, ends >> 12 & 0xFFFF_FFFF)
        np.testing.assert_array_equal(board.get(behind, 64), np.full((64, t), 77))
        await board.reset()
    await board.write("PROGRAMS_SIZE_LO", PROGRAM & ~0xFFF)
    assert await board.run() == 4
    ends = board.bases[Region.PROGRAMS] + PROGRAM
    assert await board.error() == (UnitError.REGION, ERROR_UNIT_FETCH, ends >> 12 & 0xFFFF_FFFF)


@cocotb.test()
async def beyond_the_bus(dut):
    """A region that would go on behind the last address of the bus ends there, on whichever port comes first."""
    board = Board(dut, rng())
    await board.begin()
    top, inside = 1 << BUS_ADDRESS_BITS, 0x2000
    base = top - inside - (board.config.axi_ports - 1) * STRIPE
    board.bases |= {Region.IMAGES: base}
    for name, value in region_settings({Region.IMAGES: (base, 2 * inside)}).items():
        await board.write(name, value)
    words = inside // board.config.axi_bytes
    for opcode in (Opcode.LOAD, Opcode.STORE):
        for count in (1, 2):
            board.put_program([encode(opcode, **copy(Memory.ACT, 5, Region.IMAGES << 32 | words - 1, count))])
            assert await board.run() == (2 if count == 1 else 4)
        assert await board.error() == (UnitError.REGION, opcode, base + inside >> 12 & 0xFFFF_FFFF)
        await board.reset()
    for name, value in region_settings({Region.PROGRAMS: (top - inside, 2 * inside)}).items():
        await board.write(name, value)
    await board.write("PROGRAM_LO", inside)
    board.reads[0].write(0, encode(Opcode.END))
    assert await board.run() == 4
    assert await board.error() == (UnitError.REGION, ERROR_UNIT_FETCH, top >> 12 & 0xFFFF_FFFF)


@cocotb.test()
async def bad_opcode(dut):
    """An instruction of no unit stops the node; after a reset it works."""
    board = Board(dut, rng())
    await board.begin()
    conv = Conv(board, 1)
    opcode = board.random.choice(range(6, 15))
    program = conv.program()
    place = board.random.randrange(len(program))
    board.put_program([*program[:place], bytes([opcode]) + bytes(63), *program[place:]])
    assert await board.run() == 4
    assert await board.error() == (UnitError.OPCODE, ERROR_UNIT_FETCH, opcode)
    await board.write("CONTROL", 1)  # ignored
    await tick(dut, 200)
    assert await board.read("STATUS") == 4
    await board.reset()
    assert await board.read("STATUS") == 0
    await conv.check()


@cocotb.test()
async def bad_address(dut):
    """A LOAD beyond the buffer names LOAD and the address; a reset with bursts under way leaves the bus usable."""
    board = Board(dut, rng())
    await board.begin()
    conv = Conv(board, 2)
    board.slow(0.5)
    words = board.config.act_words
    board.put_program([encode(Opcode.LOAD, **copy(Memory.ACT, words - 20, 0, 1000))])
    assert await board.run() == 4
    assert await board.error() == (UnitError.ADDRESS, Unit.LOAD, words)
    await board.reset()
    await conv.check()


@cocotb.test()
async def bad_read(dut):
    """An error response to a fetch is an error of fetch, but not behind END."""
    board = Board(dut, rng())
    await board.begin()
    conv = Conv(board, 3)
    end = PROGRAM + (len(conv.program()) + 1) * INSTRUCTION_BYTES
    broken, seen = set(), []
    channel = board.reads[0].r_channel
    send = channel.send

    async def send_broken(beat):
        if int(beat.rid) == 1:  # of fetch, whose beats are in order
            seen.append(beat)
            if PROGRAM + (len(seen) - 1) * board.config.axi_bytes in broken:
                beat.rresp = 2
        await send(beat)

    channel.send = send_broken
    broken.update(range(end, end + 4096, board.config.axi_bytes))
    await conv.check()
    broken.add(PROGRAM + 2 * INSTRUCTION_BYTES + board.config.axi_bytes)
    seen.clear()
    assert await board.run() == 4
    assert await board.error() == (UnitError.AXI_READ, ERROR_UNIT_FETCH, 2)
    broken.clear()
    await board.reset()
    await conv.check()


@cocotb.test()
async def watchdog(dut):
    """A wait that never comes: the error names the unit at the root and what it lacks, not those behind it."""
    board = Board(dut, rng())
    await board.begin()
    conv = Conv(board, 4)
    await board.write("WATCHDOG", 500)
    program = conv.program()
    program[1] = encode(Opcode.LOAD, **copy(Memory.ACT, 0, IFM, PIXELS))  # does not post to MATMUL
    board.put_program(program)
    assert await board.run() == 4
    assert await board.error() == (UnitError.WATCHDOG, ERROR_UNIT_WATCHDOG, 1 << Unit.LOAD << 8 | Unit.MATMUL)
    state = await board.read("VECTOR_STATE")
    assert state & 0xFFFF == 0x1234 and state >> 16 & 0xFF == 1 << Unit.MATMUL and state >> 26 & 1
    await board.reset()
    # LOAD waits for STORE, which waits for another node: STORE is at the root.
    store = encode(Opcode.STORE, waits={7: 2}, post=[Unit.LOAD], **copy(Memory.ACT, 0, OFM, 1))
    board.put_program([store, encode(Opcode.LOAD, waits={Unit.STORE: 1}, **copy(Memory.ACT, 0, IFM, 1))])
    assert await board.run() == 4
    assert await board.error() == (UnitError.WATCHDOG, ERROR_UNIT_WATCHDOG, 1 << 15 | Unit.STORE)
    await board.reset()
    await conv.check()


@cocotb.test()
async def a_slow_memory_is_no_hang(dut):
    """The watchdog sees that beats come, though an instruction takes longer than it waits."""
    board = Board(dut, rng())
    await board.begin()
    await board.write("WATCHDOG", 100)
    board.put_program([encode(Opcode.LOAD, fill=1, **copy(Memory.ACT, 0, 0, 1))])
    board.reads[0].r_channel.set_pause_generator(cycle([True] * 40 + [False]))
    assert await board.run() == 2


@cocotb.test()
async def reset_at_any_time(dut):
    """Resets in the middle of a run with a slow memory; each time the next run is right."""
    board = Board(dut, rng())
    await board.begin()
    board.slow(0.3)
    copies = [
        instruction
        for i in range(6)
        for instruction in (
            encode(Opcode.LOAD, post=[Unit.STORE], **copy(Memory.ACT, 100 * i, IFM, 90)),
            encode(Opcode.STORE, waits={Unit.LOAD: 1}, **copy(Memory.ACT, 100 * i, OFM + 100 * i, 90)),
        )
    ]
    for _ in range(8):
        board.put_program(copies)
        await board.write("CONTROL", 1)
        await tick(dut, board.random.randrange(5, 600))
        await board.reset()
        assert await board.read("STATUS") == 0
    # A start during a reset waits for its end.
    conv = Conv(board, board.random.getrandbits(32))
    board.put_program(conv.program())
    await board.write("CONTROL", 2)
    assert await board.run() == 2
    await conv.check()
