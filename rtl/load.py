"""LOAD: DRAM to the activation or weight buffer, as strided copies, and constant fills."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect
from amaranth.utils import ceil_log2, exact_log2

from .axi import StripedAddress
from .config import BUS_ADDRESS_BITS
from .copy_address import CopyInstructions, CopyRows, CopyWords, DramBursts, local_copy_layout
from .isa import Opcode
from .memory import BlockFifo
from .parameters import Component, check_config
from .ports import AXI4Read, UnitError, UnitInterface, WritePort, error_is, regions_layout

__all__ = ["Load", "stage_words"]

_INCR = 1


def stage_words(config):
    """Words of data between the AXI ports and the buffers: all that the bursts in flight may bring, but no more
    than two long bursts (or one 36 Kb block RAM, 512 deep) need to hide the latency."""
    burst = 1 << ceil_log2(config.axi_burst_beats)
    return max(2, burst * min(config.axi_outstanding, max(2, 512 // burst)))


class Load(Component):
    """Executes LOAD instructions: bursts on all AXI ports, words to a buffer.

    Addresses run ahead of data, over instruction boundaries: up to ``axi_outstanding`` bursts are in flight on
    each port, and each has its place reserved in the port's FIFO, so ``rready`` is always high. In steady state
    one word a cycle is received and written. The first word of an idle unit is written
    ``latency`` cycles plus the memory's latency after its instruction was taken.

    Errors stop the unit with nothing written from the failing word on; instructions before it are complete.
    Whatever was still asked for is received and dropped:

    * ``OPERAND``: a count is zero.
    * ``ADDRESS``: a destination outside its memory; the address.
    * ``AXI_READ``: a beat with a response other than OKAY; port << 8 | response.
    * ``REGION``: words beyond the end of their region. Of what is contiguous in DRAM with such a word nothing is read.

    ``halt`` freezes the unit after the write it has on its port.

    Reset drops instructions and words under way and clears the error; the AXI ports must have been quiet.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    unit : Out(UnitInterface(Opcode.LOAD))
        ``done`` comes one cycle after the last write was accepted.
    dram : Out(AXI4Read(config.axi_bytes)).array(config.axi_ports)
        Port p carries bytes [p * axi_bytes, (p + 1) * axi_bytes) of each word, at p * stripe + w * axi_bytes.
    write_act, write_weight : Out(WritePort(config.word_bits))
    stripe : In(49)
        Bytes from port to port in DRAM, a multiple of 4096; constant while the unit is busy.
    regions : In(regions_layout())
    beat : Out(1)
        A word from DRAM was received complete and goes to its buffer.
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.LOAD)),
                "dram": Out(AXI4Read(config.axi_bytes)).array(config.axi_ports),
                "write_act": Out(WritePort(config.word_bits)),
                "write_weight": Out(WritePort(config.word_bits)),
                "stripe": In(BUS_ADDRESS_BITS),
                "regions": In(regions_layout()),
                "beat": Out(1),
            }
        )

    @property
    def latency(self):
        """Cycles from an instruction of one row to its first write, less those from ``arvalid`` to ``rvalid``."""
        return 8

    def elaborate(self, platform):
        m = Module()
        config, unit = self.config, self.unit
        depth = config.copies_under_way
        m.submodules.take = take = CopyInstructions(Opcode.LOAD, depth=depth)
        m.submodules.bursts = bursts = DramBursts(config)
        m.submodules.rows = rows = CopyRows(local_copy_layout(Opcode.LOAD))
        m.submodules.words = words = CopyWords(Opcode.LOAD)
        connect(m, wiring.flipped(unit.instr), take.instr)
        connect(m, take.dram, bursts.i)
        m.d.comb += bursts.regions.eq(self.regions)
        connect(m, take.local, rows.i)
        connect(m, rows.o, words.i)

        stop, received = Signal(), Signal()
        m.d.comb += [
            stop.eq(unit.error.valid | unit.halt),
            take.stop.eq(stop),
            take.done.eq(unit.done),
            unit.busy.eq(take.busy),
            self.beat.eq(received),
        ]
        missing = self._build_addresses(m, bursts, received, stop)
        fifos = self._build_data(m, received)
        step = self._build_write(m, words.o, fifos, received, stop, missing, bursts.page)
        m.d.comb += unit.stalled.eq(unit.busy & ~step)
        with m.If(take.operand & ~stop):
            m.d.sync += error_is(self.unit.error, UnitError.OPERAND, 0)
        return m

    def _build_addresses(self, m, bursts, received, stop):
        """Bursts to AR: with a place for each beat, and no more than axi_outstanding on any port.

        Returns: a burst outside its region is next, and no beat is under way or waits.
        """
        config = self.config
        m.submodules.address = address = StripedAddress(config.axi_ports, config.axi_bytes)
        depth = stage_words(config)
        room = Signal(range(depth + 1), init=depth)
        issue, allowed = Signal(), []
        for index, dram in enumerate(self.dram):
            in_flight = Signal(range(config.axi_outstanding + 1), name=f"in_flight{index}")
            m.d.sync += in_flight.eq(in_flight + issue - (dram.rvalid & dram.rlast))
            allowed.append(in_flight != config.axi_outstanding)
            port = address.o[index]
            m.d.comb += [
                dram.arvalid.eq(port.valid),
                port.ready.eq(dram.arready),
                dram.araddr.eq(port.payload.addr),
                dram.arlen.eq(port.payload.len),
                dram.arsize.eq(exact_log2(config.axi_bytes)),
                dram.arburst.eq(_INCR),
            ]
        beats = bursts.o.payload.beats
        m.d.comb += [
            address.stripe.eq(self.stripe),
            address.i.payload.eq(bursts.o.payload),
            address.i.valid.eq(bursts.o.valid & ~bursts.outside & (beats <= room) & Cat(allowed).all() & ~stop),
            issue.eq(address.i.valid & address.i.ready),
            bursts.o.ready.eq(issue),
        ]
        m.d.sync += room.eq(room + received - Mux(issue, beats, 0))
        return bursts.o.valid & bursts.outside & (room == depth)

    def _build_data(self, m, received):
        """R to a FIFO on each port; all are read together."""
        beat = data.StructLayout({"data": 8 * self.config.axi_bytes, "resp": 2})
        fifos = []
        for index, dram in enumerate(self.dram):
            m.submodules[f"fifo{index}"] = fifo = BlockFifo(beat, stage_words(self.config))
            m.d.comb += [
                dram.rready.eq(1),  # its place was reserved
                fifo.i.valid.eq(dram.rvalid),
                fifo.i.payload.data.eq(dram.rdata),
                fifo.i.payload.resp.eq(dram.rresp),
                fifo.o.ready.eq(received),
            ]
            fifos.append(fifo.o)
        return fifos

    def _build_write(self, m, words, fifos, received, stop, missing, page):
        """Each address with its word to the write port, by way of one register; returns: a word moved.

        ``missing``: the next word from DRAM will not come, as it is outside its region.
        """
        config, word = self.config, words.payload
        out = Signal(data.StructLayout({"addr": 20, "memory": 1, "last": 1}), reset_less=True)
        out_data = Signal(config.word_bits, reset_less=True)
        out_valid, accepted, step = Signal(), Signal(), Signal()

        outside = word.addr >= Mux(word.memory, config.weight_words, config.act_words)
        complete = Cat(fifo.valid for fifo in fifos).all()
        bad_port = Cat(fifo.payload.resp != 0 for fifo in fifos)
        usable = ~outside & (word.fill | (complete & ~bad_port.any()))
        m.d.comb += [
            accepted.eq(out_valid & Mux(out.memory, self.write_weight.ready, self.write_act.ready)),
            step.eq(words.valid & usable & (~out_valid | accepted) & ~stop),
            received.eq(step & ~word.fill),
            words.ready.eq(step),
        ]
        with m.If(accepted):
            m.d.sync += out_valid.eq(0)
        with m.If(step):
            from_dram = Cat(fifo.payload.data for fifo in fifos)
            m.d.sync += [
                out_valid.eq(1),
                out.addr.eq(word.addr),
                out.memory.eq(word.memory),
                out.last.eq(word.last),
                out_data.eq(Mux(word.fill, word.fill_value.replicate(config.tn), from_dram)),
            ]
        for number, port in enumerate((self.write_act, self.write_weight)):
            m.d.comb += [
                port.valid.eq(out_valid & (out.memory == number)),
                port.addr.eq(out.addr),
                port.data.eq(out_data),
                port.mask.eq(-1),
            ]
        m.d.sync += self.unit.done.eq(accepted & out.last)

        # Only when the word before it is written, so that an error never overtakes a done.
        with m.If(words.valid & ~out_valid & ~stop):
            with m.If(outside):
                m.d.sync += error_is(self.unit.error, UnitError.ADDRESS, word.addr)
            with m.Elif(~word.fill & complete & bad_port.any()):
                m.d.sync += error_is(self.unit.error, UnitError.AXI_READ, _first_response(fifos))
            with m.Elif(~word.fill & missing):
                m.d.sync += error_is(self.unit.error, UnitError.REGION, page)
        return step


def _first_response(fifos):
    """port << 8 | response, of the first port whose response is not OKAY."""
    syndrome = 0
    for index, fifo in reversed(list(enumerate(fifos))):
        resp = fifo.payload.resp
        syndrome = Mux(resp != 0, index << 8 | resp, syndrome)
    return syndrome
