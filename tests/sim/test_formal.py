"""Proofs: counters lose nothing, instructions wait and post as they say, fetches have room."""

from amaranth.hdl import Assert, Assume, Mux, Signal
from amaranth.lib.wiring import In
from proofs import Fault, Proof, checks_of, stable

from superlip.rtl import counters, fetch, issue
from superlip.rtl.config import BUS_ADDRESS_BITS, NodeConfig
from superlip.rtl.isa import COUNTERS, Unit
from superlip.sim.formal import Spec


class CountersSpec(Spec):
    """A counter is what was posted less what was taken, until a post is refused, and that is always said."""

    def claim(self, m, dut):
        m.d.comb += Assume(~(dut.take & (dut.lacking != 0)))
        for s in range(COUNTERS):
            # Much wider than a counter: a wrong counter can't agree with it by wrapping in the same way.
            ledger, after, refused = Signal(24), Signal(25), Signal()
            m.d.comb += after.eq(ledger + dut.post[s] - Mux(dut.take, dut.wait[s], 0))
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

    Any instruction may be picked, when it comes or when it is taken; it is followed until it is taken, or done.
    """

    def __init__(self, module):
        issue = module.Issue(NodeConfig(queue_depth=2), Unit.FEED, in_flight=4)
        super().__init__(issue, pick_coming=In(1), pick_taken=In(1))

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
        self._order(m, dut)
        self._posts(m, dut, flying)

    def _order(self, m, dut):
        """What was picked when it came is taken when those before it were, as it was."""
        followed, ahead, word = Signal(), Signal(2), Signal(dut.layout.size)
        held = Signal(2)  # in the queue or at its head
        came = dut.i.valid & dut.i.ready
        m.d.sync += held.eq(held + came - dut.taken)
        with m.If(~followed), m.If(self.pick_coming & came):
            m.d.sync += [followed.eq(1), ahead.eq(held - dut.taken), word.eq(dut.i.payload)]
        with m.Elif(dut.taken):
            m.d.sync += [ahead.eq(ahead - 1), followed.eq(ahead != 0)]
            m.d.comb += Assert((ahead != 0) | (dut.instr.payload.as_value() == word))
        level, head = self.inside("queue.level"), self.inside("head_valid")
        place = self.inside("queue.consume")
        rows = self.rows("queue.storage")
        m.d.comb += [
            Assert(held == level + head),
            Assert(self.inside("queue.produce") == place ^ level[0]),
            Assert(~followed | (ahead < held)),
            Assert(~(followed & head & (ahead == 0)) | (dut.instr.payload.as_value() == word)),
            Assert(~followed | (head & (ahead == 0)) | (rows[place ^ (ahead - head)[0]] == word)),
        ]

    def _posts(self, m, dut, flying):
        """What was picked when it was taken: the ``done`` that is its own shows its mask."""
        picked, ahead, mask = Signal(), Signal.like(flying), Signal(COUNTERS)
        with m.If(~picked), m.If(self.pick_taken & dut.taken):
            m.d.sync += [picked.eq(1), ahead.eq(flying - dut.done), mask.eq(dut.instr.payload.header.post)]
        with m.Elif(dut.done):
            m.d.sync += [ahead.eq(ahead - 1), picked.eq(ahead != 0)]
            with m.If(ahead == 0):
                m.d.comb += Assert(dut.posts == mask)
        place = self.inside("in_flight.consume")
        row = self.rows("in_flight.storage")[(place + ahead)[:2]]
        m.d.comb += [
            Assert(self.inside("in_flight.level") == flying),
            Assert(self.inside("in_flight.produce") == (place + flying)[:2]),
            Assert(~picked | ((ahead < flying) & (row[:COUNTERS] == mask))),
        ]


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
            last = Signal(BUS_ADDRESS_BITS + 1)
            m.d.comb += [
                last.eq(dram.araddr + dram.arlen * beat_bytes),
                Assert(dram.araddr[12:] == last[12:]),
                Assert(dram.araddr % beat_bytes == 0),
            ]
        stable(m, dram, "ar", ("addr", "len"))


def _owed(m, dram):
    """Beats of accepted read bursts that have not come; memory sends no others."""
    owed = Signal(16)
    asked = dram.arvalid & dram.arready
    m.d.sync += owed.eq(owed + Mux(asked, dram.arlen + 1, 0) - (dram.rvalid & dram.rready))
    m.d.comb += Assume(~(dram.rvalid & (owed == 0)))
    return owed


FETCH_FAULTS = (
    Fault(
        name="a burst over 4 KiB",
        old="length.eq(self.burst_beats - (address & (self.burst_beats - 1)))",
        new="length.eq(self.burst_beats)",
    ),
    Fault(name="room for one beat less", old="(room >= length)", new="(room + 1 >= length)", depth=0),
    Fault(
        name="busy ends early",
        old="fetching | self.outstanding.any() | ahead.r_rdy",
        new="fetching | ahead.r_rdy",
        depth=9,
    ),
)

PROOFS = [
    Proof(
        component="Counters",
        claim="a counter is what was posted less what was taken, until a post is refused, and that is always said",
        module=counters,
        spec=lambda module: CountersSpec(module.Counters()),
        depth=2,
        faults=(
            Fault(
                name="a post lost when taken",
                old="after.eq(count - taken + self.post[s])",
                new="after.eq(count - taken + (self.post[s] & ~self.take))",
            ),
            Fault(name="wraps in silence", old="self.overflow[s].eq(after[-1])", new="self.overflow[s].eq(0)", depth=0),
        ),
    ),
    Proof(
        component="Issue",
        claim="each instruction is taken once, in order, as it came, only with its waits met, and none after an error; "
        "posts are those of the instruction that is done (2 queued, 4 in flight)",
        module=issue,
        spec=IssueSpec,
        depth=3,
        faults=(
            Fault(name="waits ignored", old="~counters.lacking.any() & in", new="in"),
            Fault(
                name="the posts of the next",
                old="in_flight.w_data.eq(Cat(head",
                new="in_flight.w_data.eq(Cat(queue.r_data, head",
            ),
            Fault(name="head overwritten", old="queue.r_en.eq(~head_valid | self.taken)", new="queue.r_en.eq(1)"),
        ),
    ),
    *(
        Proof(
            component=f"Fetch({', '.join(f'{name}={value}' for name, value in sizes.items())})",
            claim="whatever memory answers and when: no burst crosses 4 KiB, AR stays until it is taken, a beat always "
            "has room, `busy` lasts until the last one",
            module=fetch,
            spec=lambda module, sizes=sizes: FetchSpec(module.Fetch(NodeConfig(**sizes))),
            depth=3,
            faults=faults,
        )
        for sizes, faults in (({}, FETCH_FAULTS), ({"axi_burst_beats": 3}, ()))
    ),
]

test_proof, test_fault_is_found = checks_of(PROOFS)
