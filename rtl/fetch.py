"""Reads the program from DRAM and hands each instruction to its unit's queue."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .axi import ADDRESS_SPACE_BITS
from .config import PAGE
from .isa import INSTRUCTION_BYTES, Opcode, Unit
from .parameters import Component, check_config
from .ports import AXI4Read, UnitError, error_is, error_layout, region_layout

__all__ = ["ARID", "Fetch"]

ARID = 1
"""Read ID of fetches on port 0; LOAD uses 0."""

AHEAD_BYTES = 512
"""Room for what is read ahead: eight instructions."""

PAGE_BITS = exact_log2(PAGE)

BURST_BYTES = 256
"""Longest burst: half of what is read ahead, so that one burst is on its way while another is executed."""


class Fetch(Component):
    """Reads instructions in order from a byte address on AXI port 0 on and puts each in the queue of its unit.

    A full queue holds back everything behind it. That can't lock up the node: a program is written in an
    order in which it could be executed one instruction after the other, so an instruction only waits for
    posts of instructions before it. Take the first instruction that is not complete: all its posts are there
    and so is its unit, thus it proceeds, whatever is stuck behind it. (Posts of other nodes obey the same
    order across programs.)

    END ends the program: nothing behind it is executed. Up to ``AHEAD_BYTES`` behind it are read and dropped,
    whatever the response to them was, but nothing behind the end of the region of programs. ``busy`` falls when the
    last beat that was asked for has arrived.

    Addresses are asked for only where there is room: the R channel never waits for a queue.

    Throughput: one beat a cycle, one instruction a cycle at most.

    Reset drops the program and the bursts under way: the AXI port must have been quiet.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    start : In(1)
        Begin at ``address``; ignored while busy.
    address : In(50)
        Bus address; the bits below an instruction (or a beat, if that is more) are taken as zero. Steady from the
        cycle before ``start`` on.
    limit : In(38)
        First page behind the region of programs.
    dram : Out(AXI4Read)
        With ARID 1.
    queues : Out(stream of 512 bits).array(6)
        One for each Unit.
    halt : In(1)
        Ask for nothing more and drop what arrives.
    busy : Out(1)
        From the start until everything that was asked for has arrived.
    error : Out(error_layout())
        OPCODE: an instruction of no unit. AXI_READ: RRESP is not OKAY (syndrome: port 0 << 8 | response). REGION: the
        program goes on behind its region.
        Final until reset.
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        beat = config.axi_bytes
        self.ahead_beats = AHEAD_BYTES // beat
        # A power of two, so that bursts which end at its multiples never cross 4 KiB.
        self.burst_beats = 1 << (min(config.axi_burst_beats, BURST_BYTES // beat).bit_length() - 1)
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_SPACE_BITS),
                "limit": In(region_layout()["end"].shape),
                "dram": Out(AXI4Read(beat, id_bits=1)),
                "queues": Out(stream.Signature(8 * INSTRUCTION_BYTES)).array(len(Unit)),
                "halt": In(1),
                "busy": Out(1),
                "error": Out(error_layout()),
            }
        )
        # A beat keeps its response: one from behind END may be bad, and nobody should mind.
        self.beat = data.StructLayout({"data": 8 * beat, "resp": 2})
        self.ahead = SyncFIFO(width=self.beat.size, depth=self.ahead_beats)
        self.outstanding = Signal(range(self.ahead_beats + 1))  # beats that are to come
        self.room = Signal(range(self.ahead_beats + 1))  # places neither filled nor promised to a beat
        self.fetching = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.ahead = ahead = self.ahead
        fetching = self.fetching
        stop = Signal()
        begin = self.start & ~self.busy & ~self.halt & ~self.error.valid
        inside = self._ask(m, begin)
        with m.If(begin):
            m.d.sync += fetching.eq(1)
        with m.Elif(stop | self.halt):
            m.d.sync += fetching.eq(0)

        m.d.comb += [
            self.dram.rready.eq(1),
            ahead.w_data.eq(Cat(self.dram.rdata, self.dram.rresp)),
            ahead.w_en.eq(self.dram.rvalid & fetching),
            self.busy.eq(fetching | self.outstanding.any() | ahead.r_rdy),
        ]
        self._dispatch(m, stop, inside)
        return m

    def _ask(self, m, begin):
        """Raise AR where there is room for a burst; returns two signals: the next burst is inside the region; its page.

        An address has a cycle to be compared in: while the burst before it is on AR, or before a start.
        """
        dram, beat_bits = self.dram, exact_log2(self.config.axi_bytes)
        align_bits = max(beat_bits, exact_log2(INSTRUCTION_BYTES))
        address = Signal(ADDRESS_SPACE_BITS - beat_bits, reset_less=True)  # of a beat
        page = address[PAGE_BITS - beat_bits :]
        inside, first_inside = Signal(), Signal(reset_less=True)  # a start may come with the end of a reset
        m.d.sync += [
            first_inside.eq(self.address[PAGE_BITS:] < self.limit),
            inside.eq(Mux(begin, first_inside, page < self.limit)),
        ]
        ahead, outstanding, room = self.ahead, self.outstanding, self.room
        length = Signal(range(self.burst_beats + 1))
        ask = Signal()
        m.d.comb += [
            dram.arid.eq(ARID),
            dram.arsize.eq(beat_bits),
            dram.arburst.eq(1),
            length.eq(self.burst_beats - (address & (self.burst_beats - 1))),
            ask.eq(self.fetching & ~dram.arvalid & inside & (room >= length)),
        ]
        with m.If(ask):
            m.d.sync += [
                dram.arvalid.eq(1),
                dram.araddr.eq(address << beat_bits),
                dram.arlen.eq(length - 1),
                address.eq(address + length),
            ]
        with m.Elif(dram.arready):
            m.d.sync += dram.arvalid.eq(0)
        asked = Mux(ask, length, 0)
        m.d.sync += [
            outstanding.eq(outstanding + asked - (dram.rvalid & dram.rready)),
            room.eq(room - asked + (ahead.r_rdy & ahead.r_en)),
        ]
        with m.If(begin):
            first = self.address[align_bits:] << (align_bits - beat_bits)
            m.d.sync += [address.eq(first), room.eq(self.ahead_beats)]
        return inside, page

    def _dispatch(self, m, stop, next_burst):
        """Gather beats in ``word`` (a beat may also hold several instructions) and offer the lowest."""
        ahead, fetching, head = self.ahead, self.fetching, data.View(self.beat, self.ahead.r_data)
        beat, instruction = 8 * self.config.axi_bytes, 8 * INSTRUCTION_BYTES
        beats, instructions = max(1, instruction // beat), max(1, beat // instruction)
        word = Signal(max(beat, instruction), reset_less=True)
        response = Signal(2)
        gathered = Signal(range(max(2, beats)))  # of no width it would not be Verilog
        left = Signal(range(instructions + 1))  # instructions in the word
        present = fetching & left.any() & ~self.halt & ~self.error.valid
        opcode = word[:4]
        sent = Signal()

        m.d.comb += ahead.r_en.eq(~fetching | ~left.any() | (sent & (left == 1)))
        with m.If(~fetching):
            m.d.sync += [gathered.eq(0), left.eq(0), response.eq(0)]
        with m.Elif(ahead.r_rdy & ahead.r_en):
            m.d.sync += [
                word.eq(Cat(word, head.data)[beat:]),
                response.eq(response | head.resp),
                gathered.eq(Mux(gathered == beats - 1, 0, gathered + 1)),
                left.eq(Mux(gathered == beats - 1, instructions, 0)),
            ]
        with m.Elif(sent):
            m.d.sync += [word.eq(word >> instruction), left.eq(left - 1)]

        for queue in self.queues:
            m.d.comb += queue.payload.eq(word)
        inside, page = next_burst
        empty = ~(self.outstanding.any() | ahead.r_rdy | left.any())
        with m.If(fetching & ~inside & ~self.dram.arvalid & empty & ~self.halt & ~self.error.valid):
            m.d.sync += error_is(self.error, UnitError.REGION, page)
        with m.Elif(present & response.any()):
            m.d.sync += error_is(self.error, UnitError.AXI_READ, response)
        with m.Elif(present), m.Switch(opcode):
            for unit, queue in zip(Unit, self.queues, strict=True):
                with m.Case(int(unit)):
                    m.d.comb += [queue.valid.eq(1), sent.eq(queue.ready)]
            with m.Case(int(Opcode.END)):
                m.d.comb += stop.eq(1)
            with m.Default():
                m.d.sync += error_is(self.error, UnitError.OPCODE, opcode)
        with m.If(self.error.valid):
            m.d.comb += stop.eq(1)
