"""The parts of a node in a design of somebody else's, who has read the docstrings and no source.

``test_reuse.py`` makes a package of it outside of the repository, and runs that.

Two boards of theirs: on the first an array multiplies pixels with a matrix, a requantizer makes bytes of the sums, and
a link port sends them; on the second they land in a buffer, which is read at the end.
"""

import numpy as np
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.sim import Simulator

from superlip.rtl.config import NodeConfig
from superlip.rtl.link.port import LinkPort
from superlip.rtl.memory import BankedMemory
from superlip.rtl.pe_array import PEArray
from superlip.rtl.ports import ReadPort
from superlip.rtl.requantize import Requantize

LANES, PIXELS, FIRST = 8, 16, 5
CONFIG = NodeConfig(tm=LANES, tn=LANES, link_bytes=8, frame_words=PIXELS, frame_slots=2)
SCALE = np.float32(0.0123)


class Theirs(wiring.Component):
    """Sums of one pixel a cycle, as bytes, in the other board's buffer from word FIRST on."""

    weight: In(8 * LANES)
    weight_column: In(3)
    weight_valid: In(1)
    swap: In(1)
    pixel: In(8 * LANES)
    pixel_valid: In(1)
    arrived: Out(1)
    read: In(ReadPort(8 * LANES))

    def elaborate(self, platform):
        m = Module()
        m.submodules.array = array = PEArray(LANES, LANES, mac="packed")
        m.submodules.requantize = requantize = Requantize(LANES)
        m.submodules.here = here = LinkPort(CONFIG)
        m.submodules.there = there = LinkPort(CONFIG)
        m.submodules.buffer = buffer = BankedMemory(64, 2, LANES, readers=1, writers=1)
        m.d.comb += [
            array.w_valid.eq(self.weight_valid),
            array.w_column.eq(self.weight_column),
            array.w_data.eq(self.weight),
            array.x_swap.eq(self.swap),
            array.x_valid.eq(self.pixel_valid),
            array.x.eq(self.pixel),
            requantize.valid.eq(array.psum_valid),
            requantize.control.low.eq(-128),
            requantize.control.high.eq(127),
            requantize.control.zp.eq(3),
        ]
        for lane in range(LANES):
            m.d.comb += requantize.acc[lane].eq(array.psum[lane])
            m.d.comb += requantize.scale[lane].eq(int(SCALE.view(np.uint32)))

        # Results wait in a shift register until all are there: a frame's words are offered without pause.
        waiting = Signal(8 * LANES * PIXELS)
        count, asked = Signal(range(PIXELS + 1)), Signal()
        word = Cat(requantize.o[lane] for lane in range(LANES))
        header, words = here.frames.header, here.frames.words
        m.d.comb += [
            header.valid.eq((count == PIXELS) & ~asked),
            header.payload.destination.eq(2),
            header.payload.memory.eq(0),
            header.payload.address.eq(FIRST),
            header.payload.words.eq(PIXELS),
            header.payload.post.eq(1),
            header.payload.unit.eq(4),
            header.payload.counter.eq(6),
            words.valid.eq(asked & (count != 0)),
            words.payload.eq(waiting),
        ]
        with m.If(requantize.o_valid):
            m.d.sync += [waiting.eq(Cat(waiting[8 * LANES :], word)), count.eq(count + 1)]
        with m.If(header.valid & header.ready):
            m.d.sync += asked.eq(1)
        with m.If(words.valid & words.ready):
            m.d.sync += [waiting.eq(waiting >> 8 * LANES), count.eq(count - 1)]

        m.d.comb += [here.node.eq(1), there.node.eq(2), there.frames.header.valid.eq(0)]
        connect(m, here.tx, there.rx)
        connect(m, there.tx, here.rx)
        connect(m, there.write_act, buffer.write[0])
        connect(m, flipped(self.read), buffer.read[0])
        with m.If(there.post.valid & (there.post.unit == 4) & (there.post.counter == 6)):
            m.d.sync += self.arrived.eq(1)
        return m


def packed(values):
    return int.from_bytes(np.asarray(values, np.int8).tobytes(), "little")


def main():
    """Simulate it, and hold what arrives against numpy."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, (LANES, LANES)).astype(np.int8)
    pixels = rng.integers(-128, 128, (PIXELS, LANES)).astype(np.int8)
    dut, received = Theirs(), []

    async def use(ctx):
        for column in range(LANES):
            ctx.set(dut.weight, packed(weights[column]))
            ctx.set(dut.weight_column, column)
            ctx.set(dut.weight_valid, 1)
            await ctx.tick()
        ctx.set(dut.weight_valid, 0)
        ctx.set(dut.swap, 1)  # with the first pixel
        for pixel in pixels:
            ctx.set(dut.pixel, packed(pixel))
            ctx.set(dut.pixel_valid, 1)
            await ctx.tick()
            ctx.set(dut.swap, 0)
        ctx.set(dut.pixel_valid, 0)
        await ctx.tick().until(dut.arrived)
        for word in range(PIXELS):
            ctx.set(dut.read.addr, FIRST + word)
            ctx.set(dut.read.valid, 1)
            await ctx.tick().until(dut.read.ready)
            ctx.set(dut.read.valid, 0)
            *_, valid, data = await ctx.tick().sample(dut.read.data_valid, dut.read.data)
            while not valid:
                *_, valid, data = await ctx.tick().sample(dut.read.data_valid, dut.read.data)
            received.append(np.frombuffer(data.to_bytes(LANES, "little"), np.int8))

    simulator = Simulator(dut)
    simulator.add_clock(5e-9)
    simulator.add_testbench(use)
    simulator.run_until(20e-6)
    sums = PEArray.model(pixels, weights)
    np.testing.assert_array_equal(received, Requantize.model(sums, SCALE, 3, -128, 127))
    assert len(np.unique(received)) > 50
    print(f"{len(received)} words equal")


if __name__ == "__main__":
    main()
