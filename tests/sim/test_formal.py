"""Proofs: counters lose nothing, queues never overflow, AXI stays legal whatever a manager does."""

import pytest
from amaranth.hdl import Assert, Assume, Cover, Mux, Signal
from amaranth.lib.wiring import In

from superlip.rtl.config import NodeConfig
from superlip.rtl.counters import Counters
from superlip.rtl.fetch import Fetch
from superlip.rtl.isa import COUNTERS, Unit
from superlip.rtl.isolate import IsolateRead, IsolateWrite
from superlip.rtl.issue import Issue
from superlip.sim.formal import ProofError, Spec, available, prove

pytestmark = pytest.mark.skipif(not available(), reason="pip install '.[formal]'")


class CountersSpec(Spec):
    """A counter is what was posted less what was taken, until a post is refused, and that is always said.

    ``phantom``: the ledger has a post more than there was in each cycle, to see that the proof can fail.
    """

    def __init__(self, *, phantom=0):
        self.phantom = phantom
        super().__init__(Counters())

    def claim(self, m, dut):
        m.d.comb += Assume(~(dut.take & (dut.lacking != 0)))
        for s in range(COUNTERS):
            # Much wider than a counter: a wrong counter can't agree with it by wrapping in the same way.
            ledger, after, refused = Signal(24), Signal(25), Signal()
            m.d.comb += after.eq(ledger + dut.post[s] + self.phantom - Mux(dut.take, dut.wait[s], 0))
            m.d.sync += ledger.eq(after)
            with m.If(dut.overflow[s]):
                m.d.sync += refused.eq(1)
            with m.If(~refused):
                m.d.comb += [
                    Assert(dut.values[s] == ledger),
                    Assert(~after[-1]),  # never negative
                    Assert(dut.overflow[s] == (after > 1023)),
                    Assert(dut.lacking[s] == (ledger < dut.wait[s])),
                ]


class IssueSpec(Spec):
    """Waits are met, posts are those of the instruction that is done, and an error stops everything.

    Any instruction may be picked; when those in flight before it are done, the next ``done`` must show its mask.
    """

    def __init__(self):
        super().__init__(Issue(NodeConfig(queue_depth=2), Unit.FEED, in_flight=4), pick=In(1))

    def claim(self, m, dut):
        flying, header = Signal(range(dut.in_flight + 1)), dut.instr.payload.header
        m.d.sync += flying.eq(flying + dut.taken - dut.done)
        m.d.comb += [
            Assume(~(dut.done & (flying == 0))),
            Assert(flying <= dut.in_flight),
            Assert(dut.status.busy == (flying != 0)),
            Assert(dut.done | (dut.posts == 0)),
        ]
        with m.If(dut.taken):
            m.d.comb += Assert(~dut.halt & ~dut.error.valid)
            m.d.comb += [Assert(dut.counters[s] >= header[f"wait_{s}"]) for s in range(COUNTERS)]

        picked, ahead, mask = Signal(), Signal.like(flying), Signal(COUNTERS)
        with m.If(~picked), m.If(self.pick & dut.taken):
            m.d.sync += [picked.eq(1), ahead.eq(flying - dut.done), mask.eq(header.post)]
        with m.Elif(dut.done):
            m.d.sync += [ahead.eq(ahead - 1), picked.eq(ahead != 0)]
            with m.If(ahead == 0):
                m.d.comb += [Assert(dut.posts == mask), Cover((mask == 0xA5) & (flying == 3))]


class FetchSpec(Spec):
    """Whatever memory answers and when: no burst crosses 4 KiB, AR stays as it was until it is taken, ``busy`` lasts
    until the last beat, and there is room for each: what is not free is filled or on its way."""

    def claim(self, m, dut):
        dram, beat_bytes = dut.dram, dut.config.axi_bytes
        owed = _owed(m, dram)
        m.d.comb += [
            Assert(dram.rready),
            Assert(dut.outstanding == owed + Mux(dram.arvalid, dram.arlen + 1, 0)),
            Assert(~dut.fetching | (dut.room + dut.ahead.level + dut.outstanding == dut.ahead_beats)),
            Assert(~dut.ahead.w_en | dut.ahead.w_rdy),
            Assert(dut.ahead.level <= dut.ahead_beats),
            Assert(dut.outstanding <= dut.ahead_beats),
            Assert(dut.busy | ((owed == 0) & ~dram.arvalid)),
        ]
        with m.If(dram.arvalid):
            last = Signal(41)
            m.d.comb += [
                last.eq(dram.araddr + dram.arlen * beat_bytes),
                Assert(dram.araddr[12:] == last[12:]),
                Assert(dram.araddr % beat_bytes == 0),
            ]
        _stable(m, dram, "ar", ("addr", "len"))


class IsolateReadSpec(Spec):
    """The manager does whatever it likes; memory, which keeps to the protocol, never notices."""

    def __init__(self):
        super().__init__(IsolateRead(4))

    def claim(self, m, dut):
        bursts = Signal(8)
        m.d.sync += bursts.eq(bursts + (dut.o.arvalid & dut.o.arready) - (dut.o.rvalid & dut.o.rready & dut.o.rlast))
        m.d.comb += [
            Assume(~(dut.o.rvalid & (bursts == 0))),
            Assert(bursts + dut.o.arvalid == dut.bursts),
            Assert(~dut.idle | ((bursts == 0) & ~dut.o.arvalid)),
            Assert(~dut.isolate | (~dut.i.rvalid & ~dut.i.arready & dut.o.rready)),
        ]
        _stable(m, dut.o, "ar", ("addr", "len"))


class IsolateWriteSpec(Spec):
    """As for reads; and a burst that was announced gets its beats, WLAST on the last one, when isolated too."""

    def __init__(self):
        super().__init__(IsolateWrite(1, outstanding=2))

    def claim(self, m, dut):
        o = dut.o
        # The bursts whose last beat was not sent: the lengths of the two oldest, and how many there are.
        lengths, count, beat = [Signal(8) for _ in range(2)], Signal(2), Signal(8)
        sent = o.wvalid & o.wready
        entered = dut.i.awvalid & dut.i.awready
        finished = sent & o.wlast
        m.d.sync += count.eq(count + entered - finished)
        with m.If(finished):
            m.d.sync += [lengths[0].eq(lengths[1]), beat.eq(0)]
        with m.Elif(sent):
            m.d.sync += beat.eq(beat + 1)
        with m.If(entered):
            left = Signal(2)
            m.d.comb += left.eq(count - finished)
            for place, length in enumerate(lengths):
                with m.If(left == place):
                    m.d.sync += length.eq(dut.i.awlen)
        answered = Signal(2)  # bursts whose last beat was sent, not answered
        m.d.sync += answered.eq(answered + finished - (o.bvalid & o.bready))
        m.d.comb += [
            Assume(~(o.bvalid & (answered == 0))),
            Assume(dut.i.awlen < 2),  # so that bursts end within the proof
            Assert(count + answered <= 2),
            Assert(~dut.idle | ((count == 0) & (answered == 0))),
        ]
        m.d.comb += Cover(dut.isolate & finished & (count == 2) & (beat == 1) & (lengths[1] == 1))
        with m.If(o.wvalid):
            m.d.comb += [Assert(count != 0), Assert(o.wlast == (beat == lengths[0]))]
        _stable(m, o, "aw", ("addr", "len"))
        _stable(m, o, "w", ("data", "strb", "last"))


def _owed(m, dram):
    """Beats of accepted read bursts that have not come; memory sends no others."""
    owed = Signal(16)
    asked = dram.arvalid & dram.arready
    m.d.sync += owed.eq(owed + Mux(asked, dram.arlen + 1, 0) - (dram.rvalid & dram.rready))
    m.d.comb += Assume(~(dram.rvalid & (owed == 0)))
    return owed


def _stable(m, side, channel, names):
    """What is offered and not taken is offered unchanged in the next cycle."""
    waited = Signal(name=f"{channel}_waited")
    valid, ready = getattr(side, f"{channel}valid"), getattr(side, f"{channel}ready")
    m.d.sync += waited.eq(valid & ~ready)
    m.d.comb += Assert(~waited | valid)
    for name in names:
        now = getattr(side, channel + name)
        before = Signal.like(now, name=f"{channel}{name}_before")
        m.d.sync += before.eq(now)
        m.d.comb += Assert(~waited | (now == before))


def test_counters_lose_nothing():
    prove(CountersSpec(), depth=2)


def test_a_wrong_ledger_is_found():
    with pytest.raises(ProofError):
        prove(CountersSpec(phantom=1), depth=2)


def test_issue():
    prove(IssueSpec(), depth=10, mode="bmc")


def test_issue_proof_is_not_empty():
    prove(IssueSpec(), depth=10, mode="cover")


@pytest.mark.parametrize("sizes", [{}, {"axi_burst_beats": 3}], ids=str)
def test_fetch(sizes):
    prove(FetchSpec(Fetch(NodeConfig(**sizes))), depth=3)


def test_isolated_reads():
    prove(IsolateReadSpec(), depth=3)


def test_isolated_writes():
    prove(IsolateWriteSpec(), depth=9, mode="bmc")


def test_isolated_writes_proof_is_not_empty():
    prove(IsolateWriteSpec(), depth=9, mode="cover")
