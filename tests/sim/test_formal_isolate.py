"""Proofs: a manager may do what it likes and be cut off at any time; memory never notices, and nothing is written."""

from amaranth.hdl import Array, Assert, Assume, Mux, Signal
from proofs import Fault, Proof, checks_of, stable

from superlip.rtl import isolate
from superlip.sim.formal import Spec


class IsolateReadSpec(Spec):
    """The manager does whatever it likes; memory, which keeps to the protocol, never notices."""

    def __init__(self, module):
        super().__init__(module.IsolateRead(4))

    def claim(self, m, dut):
        bursts = Signal(8)
        m.d.sync += bursts.eq(bursts + (dut.o.arvalid & dut.o.arready) - (dut.o.rvalid & dut.o.rready & dut.o.rlast))
        m.d.comb += [
            Assume(~(dut.o.rvalid & (bursts == 0))),
            Assert(bursts + dut.o.arvalid == dut.bursts),
            Assert(~dut.idle | ((bursts == 0) & ~dut.o.arvalid)),
            Assert(~dut.isolate | (~dut.i.rvalid & ~dut.i.arready & dut.o.rready)),
        ]
        stable(m, dut.o, "ar", ("addr", "len"))
        _stays_idle(m, dut)


class IsolateWriteSpec(Spec):
    """As for reads; and a burst that was announced gets its beats, WLAST on the last one, when isolated too."""

    def __init__(self, module):
        super().__init__(module.IsolateWrite(1, outstanding=2))

    def claim(self, m, dut):
        o = dut.o
        # The bursts whose last beat was not sent: the lengths of the two oldest, and how many there are.
        lengths, count, beat = Array(Signal(8, name=f"length{k}") for k in range(3)), Signal(2), Signal(8)
        sent = o.wvalid & o.wready
        entered = dut.i.awvalid & dut.i.awready
        finished = sent & o.wlast
        m.d.sync += count.eq(count + entered - finished)
        with m.If(finished):
            m.d.sync += [lengths[0].eq(lengths[1]), beat.eq(0)]
        with m.Elif(sent):
            m.d.sync += beat.eq(beat + 1)
        with m.If(entered):
            m.d.sync += lengths[count - finished].eq(dut.i.awlen)
        answered = Signal(2)  # bursts whose last beat was sent, not answered
        m.d.sync += answered.eq(answered + finished - (o.bvalid & o.bready))
        m.d.comb += [
            Assume(~(o.bvalid & (answered == 0))),
            Assert(count + answered <= 2),
            Assert(~dut.idle | ((count == 0) & (answered == 0))),
            Assert(~dut.isolate | (~dut.i.bvalid & ~dut.i.awready & ~dut.i.wready & o.bready)),
        ]
        with m.If(o.wvalid):
            m.d.comb += [Assert(count != 0), Assert(o.wlast == (beat == lengths[0]))]
        stable(m, o, "aw", ("addr", "len"))
        stable(m, o, "w", ("data", "strb", "last"))
        _stays_idle(m, dut)

        # Inside: the queue holds the lengths of the bursts whose last beat is not in the register.
        queued, place, last = self.inside("lengths.level"), self.inside("lengths.consume"), o.wvalid & o.wlast
        m.d.comb += [
            Assert(self.inside("bursts") == count + answered),
            Assert(queued + last == count),
            Assert(self.inside("lengths.produce") == place ^ queued[0]),
            Assert(self.inside("beat") == Mux(last, 0, beat + o.wvalid)),
            Assert((queued != 0) | last | (beat + o.wvalid == 0)),
            Assert((queued == 0) | last | (beat + o.wvalid <= lengths[0])),
        ]
        for k in range(2):
            m.d.comb += Assert((queued <= k) | (self.rows("lengths.storage")[place ^ k] == lengths[k + last]))


class StrobesSpec(Spec):
    """Each beat of the manager's is sent as it was; what is sent beside writes nothing."""

    def __init__(self, module):
        super().__init__(module.IsolateWrite(2, outstanding=2))

    def claim(self, m, dut):
        i, o = dut.i, dut.o
        beat = (i.wdata, i.wstrb)
        waited, isolated, taken, data, strobe = (Signal.like(v) for v in (o.wvalid, dut.isolate, i.wvalid, *beat))
        m.d.sync += [
            waited.eq(o.wvalid & ~o.wready),
            isolated.eq(dut.isolate),
            taken.eq(i.wvalid & i.wready),
            data.eq(i.wdata),
            strobe.eq(i.wstrb),
        ]
        fresh = o.wvalid & ~waited
        m.d.comb += [
            Assert(~taken | (fresh & ~isolated & (o.wdata == data) & (o.wstrb == strobe))),
            Assert(~(fresh & ~taken) | (isolated & (o.wstrb == 0))),
        ]
        stable(m, o, "w", ("data", "strb"))


def _stays_idle(m, dut):
    """Once nothing is under way on isolated channels, nothing will be."""
    quiet = Signal(name="quiet")
    m.d.sync += quiet.eq(dut.isolate & dut.idle)
    m.d.comb += Assert(~quiet | dut.idle)


PROOFS = [
    Proof(
        component="IsolateRead",
        claim="whatever the manager does: AR stays until it is taken, `idle` only with nothing under way, and then for "
        "as long as `isolate`; while isolated nothing is taken and each beat is accepted",
        module=isolate,
        spec=IsolateReadSpec,
        depth=3,
        faults=(
            Fault(name="idle between beats", old="(o.rvalid & o.rready & o.rlast)", new="(o.rvalid & o.rready)"),
            Fault(
                name="waits for the manager", old="o.rready.eq(i.rready | self.isolate)", new="o.rready.eq(i.rready)"
            ),
        ),
    ),
    Proof(
        component="IsolateWrite",
        claim="as IsolateRead for AW, W and B; each burst of 1 to 256 beats gets as many, WLAST on the last, isolated "
        "or not (2 bursts under way)",
        module=isolate,
        spec=IsolateWriteSpec,
        depth=3,
        faults=(
            Fault(name="a burst too many", old="bursts != self.outstanding", new="bursts <= self.outstanding", depth=7),
            Fault(name="beat not counted", old="(beat + 1) & ~last.replicate(8)", new="beat & ~last.replicate(8)"),
        ),
    ),
    Proof(
        component="IsolateWrite, strobes",
        claim="each beat taken from the manager is sent once, data and strobes unchanged, and every other beat has no "
        "strobe (2 bytes)",
        module=isolate,
        spec=StrobesSpec,
        depth=2,
        faults=(
            Fault(
                name="isolated beats keep their strobes",
                old="strobe = i.wstrb & ~self.isolate.replicate(len(i.wstrb))",
                new="strobe = i.wstrb",
            ),
        ),
    ),
]

test_proof, test_fault_is_found = checks_of(PROOFS)
