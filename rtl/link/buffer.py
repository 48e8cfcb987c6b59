"""A queue in block RAM whose items become visible, or vanish, a frame at a time."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from superlip.rtl.config import LIMITS, Limit

from ..parameters import Component

__all__ = ["FrameBuffer"]


class FrameBuffer(Component):
    """Queue of words that come out only after ``commit``.

    One word a cycle goes in and one comes out. A committed word is on ``o`` two cycles after ``commit``,
    later ones follow without a gap. There is no overflow check: whoever writes keeps count (by credits,
    or of the words that it has asked for).

    Reset empties it.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words, committed or not; a power of two.

    Members
    -------
    write : In(1)
        Append ``data``.
    data : In(width)
    commit : In(1)
        Let out what has been written, a word written in this cycle included.
    rewind : In(1)
        Forget what has been written and not committed. ``commit`` in the same cycle comes first; a word
        must not be written in that cycle.
    o : Out(stream of words)
    """

    def __init__(self, width, *, depth):
        Limit(2, 1 << 16).check("depth", depth)
        Limit(1, 8 * LIMITS["tn"].high, power_of_two=False).check("width", width)
        self.width, self.depth = width, depth
        super().__init__(
            {
                "write": In(1),
                "data": In(width),
                "commit": In(1),
                "rewind": In(1),
                "o": Out(stream.Signature(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        # One bit more than an address: equal pointers are an empty queue, never a full one.
        bits = self.depth.bit_length()
        written = Signal(bits)
        committed = Signal(bits)
        read = Signal(bits)
        end = Signal(bits)
        m.d.comb += [
            end.eq(written + self.write),
            write_port.addr.eq(written),
            write_port.data.eq(self.data),
            write_port.en.eq(self.write),
        ]
        m.d.sync += written.eq(Mux(self.rewind & ~self.commit, committed, end))
        with m.If(self.commit):
            m.d.sync += committed.eq(end)

        # The read port's own output register is the head of the queue: it holds while it isn't enabled. A
        # word is read at the earliest in the cycle after its write.
        fetch = Signal()
        m.d.comb += [
            fetch.eq((read != committed) & (~self.o.valid | self.o.ready)),
            read_port.addr.eq(read),
            read_port.en.eq(fetch),
            self.o.payload.eq(read_port.data),
        ]
        m.d.sync += read.eq(read + fetch)
        with m.If(fetch):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
