"""Proofs: bursts cover each word of a run once and stay in their 4 KiB; every port gets each of them once."""

from amaranth.hdl import Assert, Assume, Cat, Mux, Signal
from amaranth.lib import data
from proofs import Fault, Proof, checks_of, steady

from superlip.rtl import axi
from superlip.rtl.config import BUS_ADDRESS_BITS, PAGE
from superlip.sim.formal import Spec


class BurstSplitterSpec(Spec):
    """Bursts of a run follow each other from its first word to its last, without gap or overlap."""

    def __init__(self, module, beat_bytes, burst_beats, count_bits):
        super().__init__(module.BurstSplitter(beat_bytes, burst_beats, count_bits=count_bits))

    def claim(self, m, dut):
        i, o, burst = dut.i, dut.o, dut.o.payload
        put, taken = i.valid & i.ready, o.valid & o.ready
        # Runs that were taken and whose last burst was not: at most two. ``start`` and ``count`` are what is to come.
        layout = i.payload.shape()
        runs, level = [Signal(layout, name=f"run{k}") for k in range(2)], Signal(2)
        whole = taken & (burst.beats == runs[0].count)
        m.d.comb += Assume(~i.valid | (i.payload.count != 0))
        m.d.sync += level.eq(level + put - whole)
        with m.If(whole):
            m.d.sync += runs[0].eq(runs[1])
        with m.Elif(taken):
            m.d.sync += [runs[0].start.eq(runs[0].start + burst.beats), runs[0].count.eq(runs[0].count - burst.beats)]
        for place, run in enumerate(runs):
            with m.If(put & (level - whole == place)):
                m.d.sync += run.eq(i.payload)
        in_page = burst.start[: (PAGE // dut.beat_bytes).bit_length() - 1]
        with m.If(o.valid):
            m.d.comb += [
                Assert(level != 0),
                Assert(burst.start == runs[0].start),
                Assert((burst.beats >= 1) & (burst.beats <= dut.burst_beats) & (burst.beats <= runs[0].count)),
                Assert(burst.last == (runs[0].last & (burst.beats == runs[0].count))),
                Assert(in_page + burst.beats <= PAGE // dut.beat_bytes),
            ]
        # No burst is held back, and none is short without need.
        waiting = Signal(2)
        m.d.sync += waiting.eq(Mux((level != 0) & ~o.valid, waiting + 1, 0))
        m.d.comb += Assert(waiting < 2)
        end = (in_page + burst.beats)[: (PAGE // dut.beat_bytes).bit_length()] == PAGE // dut.beat_bytes
        m.d.comb += Assert(~o.valid | (burst.beats == runs[0].count) | (burst.beats == dut.burst_beats) | end)

        # Inside: the register holds what is to come after the burst that is offered.
        run, active = self.inside("run", layout), self.inside("active")
        left = Signal(layout)
        m.d.comb += left.eq(Mux(o.valid & (burst.beats == runs[0].count), runs[1], runs[0]))
        with m.If(o.valid & (burst.beats != runs[0].count)):
            m.d.comb += [left.start.eq(runs[0].start + burst.beats), left.count.eq(runs[0].count - burst.beats)]
        m.d.comb += [
            Assert(~active | ((run == left) & (run.count != 0))),
            Assert(level == active + (o.valid & (~active | (burst.beats == runs[0].count)))),
            Assert(~o.valid | active | (burst.beats == runs[0].count)),
        ]


class StripedAddressSpec(Spec):
    """Each burst once on each port, at the port's place, in its 4 KiB if it is in one on port 0."""

    def __init__(self, module, ports, beat_bytes):
        self.beat_bytes = beat_bytes
        super().__init__(module.StripedAddress(ports, beat_bytes))

    def claim(self, m, dut):
        stripe = steady(m, dut.stripe)
        put, burst = dut.i.valid & dut.i.ready, Signal.like(dut.i.payload)
        begun = Signal()
        page_beats = PAGE // self.beat_bytes
        in_page = dut.i.payload.start[: page_beats.bit_length() - 1]
        m.d.sync += begun.eq(1)
        m.d.comb += [
            Assume(begun | ~dut.i.valid),  # the stripe was there a cycle before
            Assume((dut.i.payload.beats >= 1) & (dut.i.payload.beats <= 256)),
            Assume(in_page + dut.i.payload.beats <= page_beats),
        ]
        with m.If(put):
            m.d.sync += burst.eq(dut.i.payload)
        owes = Signal(dut.ports)  # ports that have not announced the last burst
        m.d.sync += owes.eq(Mux(put, -1, owes & ~Cat(o.valid & o.ready for o in dut.o)))
        for index, o in enumerate(dut.o):
            base = ((stripe[12:] << 12) * index)[:BUS_ADDRESS_BITS]
            m.d.comb += [
                Assert(o.valid == owes[index]),
                Assert(~put | ~owes[index] | o.ready),
                Assert(~begun | (self.inside(f"base{index}") == base)),
            ]
            with m.If(o.valid):
                m.d.comb += [
                    Assert(begun),
                    Assert(o.payload.addr == (base + burst.start * self.beat_bytes)[:BUS_ADDRESS_BITS]),
                    Assert(o.payload.len + 1 == burst.beats),
                    Assert(o.payload.addr[:12] + (o.payload.len + 1) * self.beat_bytes <= PAGE),
                ]
        m.d.comb += Assert(dut.i.ready | (owes & ~Cat(o.ready for o in dut.o)).any())


class StripedRegionsSpec(Spec):
    """No page of a region is beyond the bus on any port; no other is taken away."""

    def __init__(self, module, ports):
        super().__init__(module.StripedRegions(ports))

    def claim(self, m, dut):
        pages, reach = 1 << (BUS_ADDRESS_BITS - 12), self.inside("reach")
        begun, stripe, regions, reached = Signal(), Signal(37), Signal.like(dut.regions), Signal.like(reach)
        m.d.sync += [begun.eq(1), stripe.eq(dut.stripe[12:]), regions.eq(dut.regions), reached.eq(reach)]
        behind = stripe * (dut.ports - 1)  # what was written a cycle ago
        m.d.comb += Assert(~begun | Mux(behind > pages, reach == 0, reach + behind == pages))
        for region, o in zip(regions, dut.o, strict=True):
            end = Mux(region.end > reached, reached, region.end)
            m.d.comb += Assert(~begun | ((o.base == region.base) & (o.end == end)))


class ReadMuxSpec(Spec):
    """Each address that a manager hands over goes to the memory once, with its name; answers go where they belong."""

    def __init__(self, module):
        super().__init__(module.ReadMux(1))

    def claim(self, m, dut):
        dram = dut.dram
        fields = data.StructLayout({"addr": BUS_ADDRESS_BITS, "len": 8})
        offered, owner, owes = Signal(fields), Signal(), Signal()
        taken = dram.arvalid & dram.arready
        accepted = [port.arvalid & port.arready for port in (dut.dma, dut.fetch)]
        with m.If(taken):
            m.d.sync += owes.eq(0)
        for number, port in enumerate((dut.dma, dut.fetch)):
            with m.If(accepted[number]):
                m.d.sync += [offered.addr.eq(port.araddr), offered.len.eq(port.arlen), owner.eq(number), owes.eq(1)]
            m.d.comb += Assert(port.rvalid == (dram.rvalid & (dram.rid == number)))
            m.d.comb += Assert((port.rdata == dram.rdata) & (port.rresp == dram.rresp) & (port.rlast == dram.rlast))
        m.d.comb += [
            Assert(~(accepted[0] & accepted[1])),
            Assert(~(accepted[0] | accepted[1]) | ~owes | taken),
            Assert(dram.arvalid == owes),
            Assert(~owes | ((dram.araddr == offered.addr) & (dram.arlen == offered.len) & (dram.arid == owner))),
            Assert(dram.rready == Mux(dram.rid == 1, dut.fetch.rready, dut.dma.rready)),
        ]


def splitter(beat_bytes, burst_beats, **options):
    """The proof of a splitter of a size: for every run of up to 2**40 - 1 words from any word on."""
    return Proof(
        component=f"BurstSplitter({beat_bytes}, {burst_beats})",
        claim="bursts of a run cover each of its words once, in order, whatever its size and address; 1 to "
        "`burst_beats` beats, no 4 KiB boundary crossed, none short without need, `last` on the last only",
        module=axi,
        spec=lambda module: BurstSplitterSpec(module, beat_bytes, burst_beats, 40),
        depth=2,
        **options,
    )


PROOFS = [
    splitter(4, 256),
    splitter(
        8,
        64,
        faults=(
            Fault(name="a beat over 4 KiB", old="to_page.eq(page - run", new="to_page.eq(page + 1 - run"),
            Fault(
                name="a word twice", old="run.start.eq(run.start + beats)", new="run.start.eq(run.start + beats - 1)"
            ),
            Fault(name="last on every burst", old="run.last & final", new="run.last"),
        ),
    ),
    splitter(128, 3),
    Proof(
        component="StripedAddress",
        claim="each port announces each burst once, in order, at `p * stripe + start * beat_bytes`, with its length, "
        "within 4 KiB; a burst waits only for a port that has not announced the one before (4 ports of 8 bytes)",
        module=axi,
        spec=lambda module: StripedAddressSpec(module, 4, 8),
        depth=2,
        faults=(
            Fault(
                name="stripes of ports 2 and 3 exchanged",
                old="(self.stripe & -PAGE) * index",
                new="(self.stripe & -PAGE) * (index ^ (index >> 1))",
            ),
            Fault(
                name="port 0's answer is enough",
                old="Cat(~o.valid | o.ready for o in self.o).all()",
                new="~self.o[0].valid | self.o[0].ready",
            ),
            Fault(name="stripe not rounded", old="(self.stripe & -PAGE)", new="self.stripe"),
        ),
    ),
    Proof(
        component="StripedRegions",
        claim="a page is in a region if it is in the one of port 0 and on the bus on each port, two cycles after the "
        "registers were written at the latest (4 ports)",
        module=axi,
        spec=lambda module: StripedRegionsSpec(module, 4),
        depth=2,
        faults=(
            Fault(name="the last port forgotten", old="* (self.ports - 1)", new="* (self.ports - 2)"),
            Fault(
                name="a stripe beyond the bus wraps", old="Mux(behind > pages, 0, pages - behind)", new="pages - behind"
            ),
        ),
    ),
    Proof(
        component="ReadMux",
        claim="an address that was taken is shown to the memory once, unchanged, until it is taken, with its manager's "
        "ID; a beat goes to the manager that its ID names, and to no other",
        module=axi,
        spec=ReadMuxSpec,
        depth=2,
        faults=(
            Fault(
                name="an address replaced before it was taken",
                old="free = ~dram.arvalid | dram.arready",
                new="free = ~dram.arvalid | dram.arready | fetch.arvalid",
            ),
        ),
    ),
]

test_proof, test_fault_is_found = checks_of(PROOFS)
