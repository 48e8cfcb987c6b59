"""The end of VECTOR's pipeline: results wait here for the write port."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, stream
from amaranth.lib.wiring import In, Out

from .config import ADDRESS_BITS, Limit
from .parameters import LANES, Component

__all__ = ["PLACE", "ResultQueue"]

PLACE = data.StructLayout(
    {"dest": ADDRESS_BITS, "lane_first": 8, "lane_last": 8, "zero_above": 1, "tag": 16, "final": 1}
)
"""Where a result goes, and what it belongs to."""


class ResultQueue(Component):
    """FIFO of results. The place of each enters when its last read is issued, its word when the pipeline is through.

    So the places need not travel along the pipeline, and they are the credits: issue only while not ``full``,
    and the word has room. Latency from ``word`` to ``o`` is two cycles; one result a cycle.

    Reset empties it.

    Parameters
    ----------
    word_bits : int
    depth : int
        Results from ``place`` to ``o``; a power of two.

    Members
    -------
    place_valid, place : In(1), In(PLACE)
        Not while ``full``.
    word_valid, word : In(1), In(word_bits)
        In the order of the places.
    full : Out(1)
    empty : Out(1)
        No result between ``place`` and ``o``, both included.
    o : Out(stream of place and word)

    Raises
    ------
    ValueError
        If ``depth`` is not a power of two.
    """

    def __init__(self, word_bits, depth):
        Limit(8, 8 * LANES.high, power_of_two=False).check("word_bits", word_bits)
        Limit(2, 1 << 16).check("depth", depth)
        self.word_bits, self.depth = word_bits, depth
        super().__init__(
            {
                "place_valid": In(1),
                "place": In(PLACE),
                "word_valid": In(1),
                "word": In(word_bits),
                "full": Out(1),
                "empty": Out(1),
                "o": Out(stream.Signature(data.StructLayout({"place": PLACE, "word": word_bits}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.places = places = memory.Memory(shape=PLACE, depth=self.depth, init=[])
        m.submodules.words = words = memory.Memory(shape=self.word_bits, depth=self.depth, init=[])
        place_write, word_write = places.write_port(), words.write_port()
        place_read, word_read = places.read_port(), words.read_port()
        place_index, word_index, read_index = (
            Signal(range(self.depth), name=f"{n}_index") for n in ("place", "word", "read")
        )
        inside, waiting = Signal(range(self.depth + 1)), Signal(range(self.depth + 1))
        fetch, taken = Signal(), Signal()
        m.d.comb += [
            place_write.en.eq(self.place_valid), place_write.addr.eq(place_index), place_write.data.eq(self.place),
            word_write.en.eq(self.word_valid), word_write.addr.eq(word_index), word_write.data.eq(self.word),
            place_read.en.eq(fetch), place_read.addr.eq(read_index),
            word_read.en.eq(fetch), word_read.addr.eq(read_index),
            self.o.payload.place.eq(place_read.data), self.o.payload.word.eq(word_read.data),
            taken.eq(self.o.valid & self.o.ready),
            # Only words written in an earlier cycle are counted: the memories need not be transparent.
            fetch.eq(waiting.any() & (~self.o.valid | self.o.ready)),
            self.full.eq(inside == self.depth),
            self.empty.eq(inside == 0),
        ]  # fmt: skip
        m.d.sync += [
            place_index.eq(place_index + self.place_valid),
            word_index.eq(word_index + self.word_valid),
            read_index.eq(read_index + fetch),
            inside.eq(inside + self.place_valid - taken),
            waiting.eq(waiting + self.word_valid - fetch),
            self.o.valid.eq(fetch | (self.o.valid & ~self.o.ready)),
        ]
        return m
