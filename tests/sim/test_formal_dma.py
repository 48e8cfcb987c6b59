"""Proofs: what LOAD and STORE ask for always has room, and bursts get their beats."""

from itertools import pairwise

from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from proofs import Fault, Proof, checks_of, stable

from superlip.rtl import load, store
from superlip.rtl.axi import ADDRESS_SPACE_BITS, burst_layout
from superlip.rtl.config import NodeConfig
from superlip.rtl.copy_address import dram_copy_layout, local_copy_layout, local_run_layout
from superlip.rtl.isa import Opcode
from superlip.rtl.ports import READ_LATENCY, regions_layout
from superlip.sim.formal import Spec

CONFIG = NodeConfig(axi_ports=2, axi_outstanding=2, axi_burst_beats=4)
SHORT = 8  # words that a row has less than, where sums of them are proved


class Free(wiring.Component):
    """In place of what makes bursts or rows of copies: who claims something drives ``o``, with anything at any time."""

    def __init__(self, i, o, **more):
        super().__init__({"i": In(stream.Signature(i)), "o": Out(stream.Signature(o)), **more})

    def elaborate(self, platform):
        return Module()


def free_bursts():
    """For DramBursts."""
    bursts = burst_layout(ADDRESS_SPACE_BITS - exact_log2(CONFIG.axi_bytes))
    return Free(dram_copy_layout(), bursts, regions=In(regions_layout()), outside=Out(1), page=Out(32))


class LoadSpec(Spec):
    """Every beat that was asked for has its place: what is free, filled or on its way are all there are, on each port.

    Bursts come from a splitter, which is proved by itself: of 1 to ``axi_burst_beats`` beats; else they are any.
    """

    def __init__(self, module):
        bursts = free_bursts()
        module.DramBursts = lambda config: bursts
        self.bursts, self.free = bursts.o, bursts
        shape = self.bursts.payload.shape()
        super().__init__(module.Load(CONFIG), burst=In(shape), burst_valid=In(1), outside=In(1))

    def claim(self, m, dut):
        depth = load.stage_words(CONFIG)
        room = self.inside("room")
        m.d.comb += [
            self.bursts.payload.eq(self.burst),
            self.bursts.valid.eq(self.burst_valid),
            self.free.outside.eq(self.outside),
            Assume((self.burst.beats >= 1) & (self.burst.beats <= CONFIG.axi_burst_beats)),
            Assert(room <= depth),
        ]
        for p, dram in enumerate(dut.dram):
            asked, came = dram.arvalid & dram.arready, dram.rvalid & dram.rready
            owed, bursts = Signal(8, name=f"owed{p}"), Signal(8, name=f"bursts{p}")
            m.d.sync += [
                owed.eq(owed + Mux(asked, dram.arlen + 1, 0) - came),
                bursts.eq(bursts + asked - (came & dram.rlast)),
            ]
            stored = Signal(range(2 * depth), name=f"stored{p}")
            out = self.inside(f"fifo{p}.o__valid")
            on_its_way = owed + Mux(dram.arvalid, dram.arlen + 1, 0)
            m.d.comb += [
                Assume(~(dram.rvalid & (owed == 0))),
                Assume(~(dram.rvalid & dram.rlast & (bursts == 0))),
                stored.eq(self.inside(f"fifo{p}.written") - self.inside(f"fifo{p}.fetched")),
                Assert(room + on_its_way + stored + out == depth),
                Assert(stored <= depth),
                Assert(dram.rready),
                Assert(~dram.rvalid | (stored < depth)),
                Assert(self.inside(f"in_flight{p}") == bursts + dram.arvalid),
                Assert(bursts + dram.arvalid <= CONFIG.axi_outstanding),
                Assert(~dram.arvalid | (dram.arlen < CONFIG.axi_burst_beats)),
            ]
            stable(m, dram, "ar", ("addr", "len"))


class WriteDataSpec(Spec):
    """Bursts get their beats, WLAST on the last one; a beat that was reserved has its place."""

    def __init__(self, module):
        super().__init__(module.WriteData(1, 4, 2))

    def claim(self, m, dut):
        w, sends = dut.w, dut.w.valid & dut.w.ready
        pending, beat = (
            Signal(4),
            Signal(8),
        )  # beats reserved that have not come; beats of the oldest burst that are sent
        lengths, count = Array(Signal(8, name=f"length{k}") for k in range(3)), Signal(2)
        ends = sends & w.payload.last
        with m.If(ends):
            m.d.sync += [here.eq(there) for here, there in pairwise(lengths)]
        with m.If(dut.burst):
            m.d.sync += lengths[count - ends].eq(dut.length)
        m.d.sync += [
            pending.eq(pending + dut.reserve - dut.valid),
            beat.eq(Mux(ends, 0, beat + sends)),
            count.eq(count + dut.burst - ends),
        ]
        stored, out = Signal(3), self.inside("fifo.o__valid")
        still, offered, before = Signal(2), Signal(), Signal.like(w.payload.as_value())
        m.d.sync += [
            still.eq(Mux((count != 0) & out & ~w.valid, still + 1, 0)),
            offered.eq(w.valid & ~w.ready),
            before.eq(w.payload),
        ]
        m.d.comb += [
            Assume(dut.space | ~dut.reserve),
            Assume((pending != 0) | ~dut.valid),
            Assume((count != 2) | ~dut.burst),
            stored.eq(self.inside("fifo.written") - self.inside("fifo.fetched")),
            Assert(stored <= dut.depth),
            Assert(~dut.valid | (stored < dut.depth)),
            Assert(pending + stored + out == self.inside("reserved")),
            Assert(dut.space == (pending + stored + out < dut.depth)),
            Assert(~w.valid | ((count != 0) & out)),
            Assert(~w.valid | (w.payload.last == (beat == lengths[0]))),
            Assert(~offered | (w.valid & (w.payload.as_value() == before))),
            Assert(still < 2),
        ]
        # Inside: the register counts down the oldest burst, the queue holds the others.
        active, queued, place = self.inside("active"), self.inside("lengths.level"), self.inside("lengths.consume")
        m.d.comb += [
            Assert(queued + active == count),
            Assert(count <= 2),
            Assert(self.inside("lengths.produce") == place ^ queued[0]),
            Assert(Mux(active, self.inside("left") + beat == lengths[0], beat == 0)),
        ]
        for k in range(2):
            m.d.comb += Assert((queued <= k) | (self.rows("lengths.storage")[place ^ k] == lengths[k + active]))


class StoreSpec(Spec):
    """What is read has a place in each port's FIFO; a burst is under way until every port has answered it.

    Bursts and rows of copies are any, but none is empty. The buffers answer as BankedMemory, memory only what was sent.
    """

    def __init__(self, module):
        bursts = free_bursts()
        rows = Free(local_copy_layout(Opcode.STORE), local_run_layout(Opcode.STORE))
        module.DramBursts, module.CopyRows = lambda config: bursts, lambda layout: rows
        self.bursts, self.rows_, self.free = bursts.o, rows.o, bursts
        super().__init__(
            module.Store(CONFIG),
            burst=In(self.bursts.payload.shape()),
            burst_valid=In(1),
            outside=In(1),
            row=In(self.rows_.payload.shape()),
            row_valid=In(1),
        )

    def drive(self, m):
        """Join what is free to the component."""
        m.d.comb += [
            self.bursts.payload.eq(self.burst),
            self.bursts.valid.eq(self.burst_valid),
            self.free.outside.eq(self.outside),
            self.rows_.payload.eq(self.row),
            self.rows_.valid.eq(self.row_valid),
            Assume((self.burst.beats >= 1) & (self.burst.beats <= CONFIG.axi_burst_beats)),
            Assume(self.row.count != 0),
        ]

    def claim(self, m, dut):
        self.drive(m)
        asked = []  # reads accepted 1 and 2 cycles ago
        for port in (dut.read_act, dut.read_weight):
            accepted = port.valid & port.ready
            for _ in range(READ_LATENCY):
                accepted, before = Signal(), accepted
                m.d.sync += accepted.eq(before)
                asked.append(accepted)
            m.d.comb += Assume(port.data_valid == accepted)
        m.d.comb += [
            Assert(~(asked[0] & asked[READ_LATENCY])),  # of one buffer at a time
            Assert(~(asked[READ_LATENCY - 1] & asked[-1])),
            Assert(self.inside("in_flight") <= CONFIG.axi_outstanding),
        ]
        for p in range(CONFIG.axi_ports):
            self.port(m, dut.dram[p], p, asked)

    def port(self, m, dram, p, asked):
        """Of one port: places in its FIFO, and bursts announced, sent and answered."""
        depth, data, sent = load.stage_words(CONFIG), f"data{p}", dram.wvalid & dram.wready & dram.wlast
        unanswered = Signal(2, name=f"unanswered{p}")  # bursts whose last beat was sent
        m.d.sync += unanswered.eq(unanswered + sent - dram.bvalid)
        stored, out = Signal(range(2 * depth), name=f"stored{p}"), self.inside(f"{data}.fifo.o__valid")
        announced = self.inside(f"{data}.lengths.level") + self.inside(f"{data}.active")
        held = sum(asked) + stored + out
        m.d.comb += [
            Assume((unanswered != 0) | ~dram.bvalid),
            stored.eq(self.inside(f"{data}.fifo.written") - self.inside(f"{data}.fifo.fetched")),
            Assert(self.inside(f"{data}.reserved") == held),
            Assert(held <= depth),
            Assert(~asked[READ_LATENCY - 1] & ~asked[-1] | (stored < depth)),
            Assert(dram.bready),
            Assert(self.inside(f"{data}.lengths.level") <= 2),
            Assert(self.inside("in_flight") == announced + unanswered + self.inside(f"answered{p}")),
        ]
        stable(m, dram, "aw", ("addr", "len"))
        stable(m, dram, "w", ("data", "strb", "last"))


class CheckedSpec(StoreSpec):
    """What is announced and not sent is in the FIFO or of a row inside its memory: a burst is always completed.

    Two balances, one behind the other, as sums are hard to prove: of the queue of rows, and of what comes after it.
    For the same reason rows are short.
    """

    def claim(self, m, dut):
        super().claim(m, dut)
        queued, to_read, owed = Signal(6), Signal(4), Signal(6)
        pushed, popped = Signal(4), Signal(4)
        run, valid = self.inside("words.run", local_run_layout(Opcode.STORE)), self.inside("words.o__valid")
        m.d.sync += queued.eq(queued + pushed - popped)
        m.d.comb += [
            to_read.eq(Mux(valid, run.count, 0)),
            owed.eq(self._owed(m)),
            Assume(self.row.count < SHORT),
            Assert(~valid | ((run.count != 0) & (run.count < SHORT))),
            Assert(~self.inside("data0.active") | (self.inside("data0.left") < CONFIG.axi_burst_beats)),
            Assert(self.inside("checked") + owed == self.inside("data0.reserved") + to_read + queued),
            Assert(self.inside("checked") < 8 * SHORT),
        ]
        self._queue(m, queued, pushed, popped)

    def _queue(self, m, total, pushed, popped):
        """``total``: words of the rows in the queue."""
        layout = local_run_layout(Opcode.STORE)
        level, place = self.inside("queue.level"), self.inside("queue.consume")
        end, counts = self.inside("queue.produce"), []
        for k, word in enumerate(self.rows("queue.storage")):
            row, held = Signal(layout, name=f"row{k}"), Signal(name=f"held{k}")
            counts.append(Signal(4, name=f"count{k}"))
            m.d.comb += [
                row.eq(word),
                held.eq((k - place)[:2] < level),
                counts[k].eq(Mux(held, row.count, 0)),
                Assert(~held | ((row.count != 0) & (row.count < SHORT))),
            ]
        m.d.comb += [
            pushed.eq(Mux(self.row_valid & self.rows_.ready, self.row.count, 0)),
            popped.eq(Mux(self.inside("words.i__ready"), Array(counts)[place], 0)),
            Assert(level <= store._ROWS_AHEAD),
            Assert(end == (place + level)[:2]),
            Assert(total == sum(counts)),
        ]

    def _owed(self, m):
        """Beats of port 0 that are announced and not sent."""
        level, place = self.inside("data0.lengths.level"), self.inside("data0.lengths.consume")
        lengths = self.rows("data0.lengths.storage")
        m.d.comb += Assert(self.inside("data0.lengths.produce") == place ^ level[0])
        m.d.comb += [Assert((level <= k) | (lengths[place ^ k] < CONFIG.axi_burst_beats)) for k in range(2)]
        waiting = sum(Mux((level == 2) | ((level == 1) & (place == k)), lengths[k] + 1, 0) for k in range(2))
        return Mux(self.inside("data0.active"), self.inside("data0.left") + 1, 0) + waiting


PROOFS = [
    Proof(
        component="Load, room",
        claim="on each port the FIFO has a place for each beat that was asked for: places free, filled and promised "
        "are all there are, so `rready` is always high; at most `axi_outstanding` bursts under way (2 ports, 2 bursts "
        "of up to 4 beats)",
        module=load,
        spec=LoadSpec,
        depth=2,
        faults=(
            Fault(name="room one beat short a burst", old="Mux(issue, beats, 0)", new="Mux(issue, beats - 1, 0)"),
            Fault(name="asks without room", old="& (beats <= room) & Cat", new="& Cat", depth=8),
            Fault(name="in flight on port 0 alone", old="Cat(allowed).all()", new="allowed[0]", depth=8),
        ),
    ),
    Proof(
        component="WriteData",
        claim="each announced burst of 1 to 256 beats gets as many, WLAST on the last, no others, and W stays until it "
        "is taken; a beat that was reserved has its place; no beat waits that has come and is announced (4 beats, 2 "
        "bursts)",
        module=store,
        spec=WriteDataSpec,
        depth=3,
        faults=(
            Fault(
                name="a place too many", old="self.space.eq(reserved != self.depth)", new="self.space.eq(1)", depth=8
            ),
            Fault(
                name="place free before it is",
                old="reserved + self.reserve - beat",
                new="reserved + self.reserve - self.w.ready",
            ),
            Fault(
                name="starts unannounced",
                old="self.w.valid.eq(active & fifo.o.valid)",
                new="self.w.valid.eq(fifo.o.valid)",
                depth=7,
            ),
        ),
    ),
    Proof(
        component="Store, room",
        claim="on each port what is read has its place in the FIFO; a burst is under way until every port has answered "
        "it, at most `axi_outstanding` are (2 ports, 2 bursts of up to 4 beats)",
        module=store,
        spec=StoreSpec,
        depth=2,
        faults=(
            Fault(
                name="done on port 0's answer alone",
                old="retire.eq(Cat(answered).all())",
                new="retire.eq(answered[0])",
                depth=0,
            ),
            Fault(
                name="reads for port 0 alone",
                old="space.eq(Cat(port.space for port in ports).all())",
                new="space.eq(ports[0].space)",
                depth=0,
            ),
        ),
    ),
    Proof(
        component="Store, checked words",
        claim="each beat of an announced burst has been read, or is a word of a row that is inside its memory, so a "
        "burst is always completed (port 0 of 2, rows of up to 7 words)",
        module=store,
        spec=CheckedSpec,
        depth=1,
        slow=True,
        faults=(
            Fault(name="announces unchecked words", old="enough.eq(beats <= checked)", new="enough.eq(1)", depth=3),
        ),
    ),
]

test_proof, test_fault_is_found = checks_of(PROOFS)
