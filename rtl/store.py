"""STORE: activation or weight buffer to DRAM, as strided copies."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect
from amaranth.utils import exact_log2

from .axi import StripedAddress
from .config import BUS_ADDRESS_BITS, LIMITS, Limit
from .copy_address import (
    CopyInstructions,
    CopyRows,
    CopyWords,
    DramBursts,
    local_copy_layout,
    local_run_layout,
)
from .isa import Opcode
from .load import stage_words
from .memory import BlockFifo
from .parameters import BEAT_BYTES, Component, check_config
from .ports import READ_LATENCY, AXI4Write, ReadPort, UnitError, UnitInterface, error_is, regions_layout

__all__ = ["Store", "WriteData"]

_INCR = 1
_ROWS_AHEAD = 4


class WriteData(Component):
    """The W channel of one port: a FIFO of beats, cut into announced bursts.

    Bursts follow each other without a gap. A burst starts when it has been announced and waits only for its data.

    Latency: two cycles from an announcement, and from a beat, to ``w``. Reset drops its beats and bursts.

    Parameters
    ----------
    beat_bytes : int
    depth : int
        Beats of the FIFO; a power of two.
    outstanding : int
        Bursts announced and not complete, at most.

    Members
    -------
    reserve : In(1)
        A beat has been asked for. Not with ``space`` low.
    space : Out(1)
        There is a place for one more.
    valid, data : In
        A beat that was reserved.
    burst, length : In
        Announce a burst of ``length + 1`` beats.
    w : Out(stream of data and last)
    """

    def __init__(self, beat_bytes, depth, outstanding):
        BEAT_BYTES.check("beat_bytes", beat_bytes)
        Limit(2, 1 << 16).check("depth", depth)
        LIMITS["axi_outstanding"].check("outstanding", outstanding)
        self.depth, self.outstanding = depth, outstanding
        super().__init__(
            {
                "reserve": In(1),
                "space": Out(1),
                "valid": In(1),
                "data": In(8 * beat_bytes),
                "burst": In(1),
                "length": In(8),
                "w": Out(stream.Signature(data.StructLayout({"data": 8 * beat_bytes, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = BlockFifo(self.data.shape(), self.depth)
        m.submodules.lengths = lengths = SyncFIFO(width=8, depth=max(2, self.outstanding))
        reserved = Signal(range(self.depth + 1))
        active = Signal()
        left = Signal(8, reset_less=True)
        beat = self.w.valid & self.w.ready
        m.d.comb += [
            self.space.eq(reserved != self.depth),
            fifo.i.valid.eq(self.valid),
            fifo.i.payload.eq(self.data),
            lengths.w_en.eq(self.burst),
            lengths.w_data.eq(self.length),
            self.w.valid.eq(active & fifo.o.valid),
            self.w.payload.data.eq(fifo.o.payload),
            self.w.payload.last.eq(left == 0),
            fifo.o.ready.eq(active & self.w.ready),
            lengths.r_en.eq(~active | (beat & self.w.payload.last)),
        ]
        m.d.sync += reserved.eq(reserved + self.reserve - beat)
        with m.If(lengths.r_en):
            m.d.sync += [active.eq(lengths.r_rdy), left.eq(lengths.r_data)]
        with m.Elif(beat):
            m.d.sync += left.eq(left - 1)
        return m


class Store(Component):
    """Executes STORE instructions: words from a buffer to bursts on all AXI ports.

    Rows are checked against the size of their memory before they are read, and a burst is announced when
    every word of it is known to be good: an announced burst is always completed, whatever fails meanwhile.
    Up to ``axi_outstanding`` bursts are in flight, over instruction boundaries; in steady state one word a cycle.

    Errors stop the unit; bursts already announced are completed, no other is announced:

    * ``OPERAND``: a count is zero. ``ADDRESS``: a source outside its memory; the address. Instructions before
      it are complete. Of the row with the bad address nothing is written.
    * ``REGION``: words beyond the end of their region. Of what is contiguous in DRAM with such a word nothing is
      written; instructions before it are complete.
    * ``AXI_WRITE``: a burst was answered other than OKAY; port << 8 | response.

    ``halt`` also stops announcements.

    Reset drops instructions and words under way and clears the error; the AXI ports must have been quiet.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    unit : Out(UnitInterface(Opcode.STORE))
        ``done`` comes when all ports have answered every burst of the instruction.
    dram : Out(AXI4Write(config.axi_bytes)).array(config.axi_ports)
        Striped as in Load. A burst's data may come before its address is accepted, never before it is valid.
    read_act, read_weight : Out(ReadPort(config.word_bits))
    stripe : In(49)
        Bytes from port to port in DRAM, a multiple of 4096; constant while the unit is busy.
    regions : In(regions_layout())
    beat : Out(1)
        A word went to DRAM (port 0's part of it).
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.STORE)),
                "dram": Out(AXI4Write(config.axi_bytes)).array(config.axi_ports),
                "read_act": Out(ReadPort(config.word_bits)),
                "read_weight": Out(ReadPort(config.word_bits)),
                "stripe": In(BUS_ADDRESS_BITS),
                "regions": In(regions_layout()),
                "beat": Out(1),
            }
        )

    @property
    def latency(self):
        """Cycles from an instruction of one row to its first ``wvalid``."""
        return 6 + READ_LATENCY

    def elaborate(self, platform):
        m = Module()
        config, unit = self.config, self.unit
        depth = config.copies_under_way
        m.submodules.take = take = CopyInstructions(Opcode.STORE, depth=depth)
        m.submodules.bursts = bursts = DramBursts(config)
        m.submodules.rows = rows = CopyRows(local_copy_layout(Opcode.STORE))
        connect(m, wiring.flipped(unit.instr), take.instr)
        connect(m, take.dram, bursts.i)
        m.d.comb += bursts.regions.eq(self.regions)
        connect(m, take.local, rows.i)

        stop = Signal()
        m.d.comb += [
            stop.eq(unit.error.valid | unit.halt),
            take.stop.eq(stop),
            take.done.eq(unit.done),
            unit.busy.eq(take.busy),
        ]
        ports = []
        for index, dram in enumerate(self.dram):
            m.submodules[f"data{index}"] = port = WriteData(
                config.axi_bytes, stage_words(config), config.axi_outstanding
            )
            m.d.comb += [
                dram.wvalid.eq(port.w.valid),
                dram.wdata.eq(port.w.payload.data),
                dram.wlast.eq(port.w.payload.last),
                dram.wstrb.eq(-1),
                port.w.ready.eq(dram.wready),
            ]
            ports.append(port)
        checked, outside = self._build_check(m, rows.o)
        read = self._build_read(m, checked, ports)
        waiting, missing = self._build_addresses(m, bursts, rows.o, ports, stop)

        moved = Cat(dram.wvalid & dram.wready for dram in self.dram)
        m.d.comb += [self.beat.eq(moved[0]), unit.stalled.eq(unit.busy & ~read & ~moved.any())]
        with m.If(~stop & take.operand):
            m.d.sync += error_is(self.unit.error, UnitError.OPERAND, 0)
        # The burst that waits has the bad word in it, and everything before it has been answered.
        with m.If(~stop & outside & waiting):
            size = self._size(rows.o.payload)
            start = rows.o.payload.start
            m.d.sync += error_is(self.unit.error, UnitError.ADDRESS, Mux(start < size, size, start))
        with m.If(~stop & missing):
            m.d.sync += error_is(self.unit.error, UnitError.REGION, bursts.page)
        return m

    def _size(self, row):
        return Mux(row.memory, self.config.weight_words, self.config.act_words)

    def _build_check(self, m, rows):
        """Rows inside their memory to a short queue; a row outside stays where it is, for good."""
        layout = local_run_layout(Opcode.STORE)
        m.submodules.queue = queue = SyncFIFO(width=layout.size, depth=_ROWS_AHEAD)
        m.submodules.words = words = CopyWords(Opcode.STORE)
        outside = Signal()
        m.d.comb += [
            outside.eq(rows.valid & (rows.payload.start + rows.payload.count > self._size(rows.payload))),
            rows.ready.eq(queue.w_rdy & ~outside),
            queue.w_en.eq(rows.valid & ~outside),
            queue.w_data.eq(rows.payload),
            words.i.payload.eq(data.View(layout, queue.r_data)),
            words.i.valid.eq(queue.r_rdy),
            queue.r_en.eq(words.i.ready),
        ]
        return words.o, outside

    def _build_read(self, m, words, ports):
        """Words to the FIFOs of all ports, as long as they have room; returns: a read was accepted."""
        sources = (self.read_act, self.read_weight)
        space, accepted = Signal(), Signal()
        m.d.comb += [
            space.eq(Cat(port.space for port in ports).all()),
            accepted.eq(Cat(source.valid & source.ready for source in sources).any()),
            words.ready.eq(accepted),
        ]
        for number, source in enumerate(sources):
            m.d.comb += [
                source.valid.eq(words.valid & space & (words.payload.memory == number)),
                source.addr.eq(words.payload.addr),
            ]
        word = Mux(self.read_weight.data_valid, self.read_weight.data, self.read_act.data)
        for index, port in enumerate(ports):
            m.d.comb += [
                port.reserve.eq(accepted),
                port.valid.eq(self.read_act.data_valid | self.read_weight.data_valid),
                port.data.eq(word.word_select(index, 8 * self.config.axi_bytes)),
            ]
        return accepted

    def _build_addresses(self, m, bursts, rows, ports, stop):
        """Bursts to AW and the answers from B.

        Returns two signals. Nothing is in flight, but a burst waits: for checked rows; for nothing, as it is outside
        its region.
        """
        config = self.config
        m.submodules.address = address = StripedAddress(config.axi_ports, config.axi_bytes)
        in_flight = Signal(range(config.axi_outstanding + 1))
        # Words of checked rows that are in no burst yet: those in the queue, one row more, and the FIFOs.
        checked = Signal(range((_ROWS_AHEAD + 2) << 16))
        beats, enough = bursts.o.payload.beats, Signal()
        announce, allowed = Signal(), Signal()
        m.d.comb += [
            enough.eq(beats <= checked),
            allowed.eq(bursts.o.valid & enough & ~bursts.outside),
            address.stripe.eq(self.stripe),
            address.i.payload.eq(bursts.o.payload),
            address.i.valid.eq(allowed & (in_flight != config.axi_outstanding) & ~stop),
            announce.eq(address.i.valid & address.i.ready),
            bursts.o.ready.eq(announce),
        ]
        for dram, o, port in zip(self.dram, address.o, ports, strict=True):
            m.d.comb += [
                dram.awvalid.eq(o.valid),
                o.ready.eq(dram.awready),
                dram.awaddr.eq(o.payload.addr),
                dram.awlen.eq(o.payload.len),
                dram.awsize.eq(exact_log2(config.axi_bytes)),
                dram.awburst.eq(_INCR),
                port.burst.eq(announce),
                port.length.eq(beats - 1),
            ]
        retire = self._build_responses(m, announce, bursts.o.payload.last)
        m.d.sync += [
            in_flight.eq(in_flight + announce - retire),
            checked.eq(checked + Mux(rows.valid & rows.ready, rows.payload.count, 0) - Mux(announce, beats, 0)),
        ]
        still = bursts.o.valid & ~in_flight.any()
        return still & ~enough, still & enough & bursts.outside

    def _build_responses(self, m, announce, last):
        """A burst retires, in order, when every port has answered it; the last one of a copy is its ``done``."""
        limit = self.config.axi_outstanding
        places = max(2, limit)  # a ring; one place would have an index of no bits
        lasts = Signal(places)
        head, tail = Signal(range(places)), Signal(range(places))
        answered, failed, syndrome = [], Signal(), 0
        retire = Signal()
        for index, dram in enumerate(self.dram):
            count = Signal(range(limit + 1), name=f"answered{index}")
            m.d.comb += dram.bready.eq(1)
            m.d.sync += count.eq(count + dram.bvalid - retire)
            answered.append(count != 0)
        bad = [dram.bvalid & (dram.bresp != 0) for dram in self.dram]
        for index, dram in reversed(list(enumerate(self.dram))):
            syndrome = Mux(bad[index], index << 8 | dram.bresp, syndrome)
        m.d.comb += [retire.eq(Cat(answered).all()), failed.eq(Cat(bad).any())]
        with m.If(announce):
            m.d.sync += [lasts.bit_select(head, 1).eq(last), head.eq(head + 1)]
        m.d.sync += [
            tail.eq(tail + retire),
            self.unit.done.eq(retire & lasts.bit_select(tail, 1) & ~failed & ~self.unit.error.valid),
        ]
        with m.If(failed & ~self.unit.error.valid):
            m.d.sync += error_is(self.unit.error, UnitError.AXI_WRITE, syndrome)
        return retire
