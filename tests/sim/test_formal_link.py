"""Proofs: credits never let a frame arrive without a slot; a frame buffer neither loses, repeats nor reorders."""

import pytest
from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from superlip.rtl.link.buffer import FrameBuffer
from superlip.rtl.link.credits import COUNT_BITS, CreditGiver, CreditTaker
from superlip.sim.formal import ProofError, available, prove

pytestmark = pytest.mark.skipif(not available(), reason="needs the formal extra")


class Credits(wiring.Component):
    """Both ends of the credits, joined by the worst channel there is.

    Grants and frames take any time; grants may be lost, frames arrive in their number. The inputs choose.
    """

    send: In(1)
    arrive: In(1)
    free: In(1)
    linked: In(1)
    announced: In(COUNT_BITS)

    def __init__(self, slots, *, broken=False):
        self.slots, self.broken = slots, broken
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.giver = giver = CreditGiver(self.slots)
        m.submodules.taker = taker = CreditTaker()
        limit, flying = Signal(COUNT_BITS), Signal(COUNT_BITS)
        steps, possible = Signal(COUNT_BITS), Signal(COUNT_BITS)
        m.d.comb += [
            steps.eq(self.announced - limit),
            possible.eq(giver.grant - limit),
            taker.limit.eq(limit),
            taker.linked.eq(self.linked),
            taker.sent.eq(self.send & taker.available),
            giver.taken.eq(self.arrive & (flying != 0)),
            giver.freed.eq(self.free & (giver.used != 0)),
        ]
        # What arrives was announced at some time: not before what arrived last, not after now.
        m.d.sync += limit.eq(Mux(steps <= possible, self.announced, limit))
        if self.broken:  # an increment that comes twice
            m.d.sync += limit.eq(limit + (steps <= possible))
        m.d.sync += flying.eq(flying + taker.sent - giver.taken)

        outstanding, known, allowed = Signal(COUNT_BITS), Signal(COUNT_BITS), Signal(COUNT_BITS)
        m.d.comb += [
            outstanding.eq(taker.count - giver.grant + self.slots),  # frames sent and not freed
            known.eq(limit - taker.count),
            allowed.eq(giver.grant - taker.count),
        ]
        m.d.comb += Assert(~(giver.taken & giver.full))  # the claim
        m.d.comb += Assert(giver.used <= self.slots)
        # No deadlock: when all is quiet and the last grant has arrived, a frame may start.
        quiet = (flying == 0) & (giver.used == 0) & (limit == giver.grant) & self.linked
        m.d.comb += Assert(~quiet | taker.available)
        # What makes the claim inductive.
        m.d.comb += [
            Assert(flying <= self.slots),
            Assert(outstanding == flying + giver.used),
            Assert(outstanding <= self.slots),
            Assert(known <= allowed),
        ]
        return m


@pytest.mark.parametrize("slots", [1, 4, 128])
def test_no_frame_without_a_slot(slots):
    prove(Credits(slots), depth=2)


def test_the_proof_can_fail():
    """With increments instead of counts, a repeated announcement is one frame too many."""
    with pytest.raises(ProofError, match="FAIL"):
        prove(Credits(2, broken=True), mode="bmc", depth=8)


class Buffer(wiring.Component):
    """A frame buffer that is written, committed, rewound and read at will, within its depth.

    One committed word, the one with number ``watch``, is followed from end to end.
    """

    write: In(1)
    data: In(1)
    commit: In(1)
    rewind: In(1)
    ready: In(1)
    watch: In(3)

    def __init__(self, depth, *, overrun=0):
        self.depth, self.overrun = depth, overrun
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = FrameBuffer(1, depth=self.depth)
        written, committed, read = Signal(3), Signal(3), Signal(3)
        watched, chosen = Signal(1), Signal(3)
        started = Signal()
        end = Signal(3)
        taken = Signal()
        m.d.comb += [
            buffer.write.eq(self.write),
            buffer.data.eq(self.data),
            buffer.commit.eq(self.commit),
            buffer.rewind.eq(self.rewind),
            buffer.o.ready.eq(self.ready),
            end.eq(written + self.write),
            taken.eq(buffer.o.valid & self.ready),
            # The writer's part of the contract.
            Assume((end - read)[:3] <= self.depth + self.overrun),
            Assume(~(self.rewind & self.write)),
            Assume(~started | (self.watch == chosen)),
        ]
        m.d.sync += [started.eq(1), chosen.eq(self.watch), read.eq(read + taken), written.eq(end)]
        with m.If(self.commit):
            m.d.sync += committed.eq(end)
        with m.Elif(self.rewind):
            m.d.sync += written.eq(committed)
        with m.If(self.write & (written == self.watch)):
            m.d.sync += watched.eq(self.data)
        with m.If(buffer.o.valid):
            m.d.comb += Assert(read != committed)
            with m.If(read == self.watch):
                m.d.comb += Assert(buffer.o.payload == watched)
        # Nothing is held back: two cycles after a commit a word is there.
        waiting = Signal(2)
        m.d.sync += waiting.eq(Mux((read != committed) & ~buffer.o.valid, waiting + 1, 0))
        m.d.comb += Assert(waiting < 2)
        return m


def test_buffer_keeps_words_in_order():
    prove(Buffer(2), mode="bmc", depth=9)


def test_buffer_proof_can_fail():
    """A writer that takes one word more than there is room for overwrites one."""
    with pytest.raises(ProofError, match="FAIL"):
        prove(Buffer(2, overrun=1), mode="bmc", depth=9)
