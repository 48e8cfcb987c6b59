"""Receives frames: stores them, checks them, then writes their words and posts."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import ADDRESS_BITS
from ..isa import Memory
from ..parameters import Component, check_config
from ..ports import UnitError, WritePort, error_is, error_layout, flit_layout
from .buffer import FrameBuffer
from .credits import CreditGiver, CreditState
from .deframer import Deframer
from .frame import FrameField, FrameKind, FrameSizes, post_is_wrong, post_layout, write_layout

__all__ = ["FrameWriter", "Receiver"]


class Receiver(Component):
    """Remote writes and posts from the wire to this node's buffers and counters.

    A frame is stored whole; only when its CRC and its header are right are its words written, in order,
    up to one a cycle, and then its post made. What is not intact leaves no trace but a count, and, once
    frames that matter can be lost (``heard``), error LINK.

    Reset drops frames that have not been written, and frees their slots (see ``LinkPort``).

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    node : In(8)
        This node.
    rx : In(stream of flits, always ready)
    write_act, write_weight : Out(WritePort)
    post : Out(post_layout())
        In a cycle after the last word of its frame has been written.
    credits : Out(CreditState)
        For the transmitter of this node.
    crc_errors : Out(16)
        Frames lost so far (wrong CRC, cut, without end, flits outside frames).
    error : Out(error_layout())
        FRAME: an intact frame that this node must not execute; the syndrome holds FrameField in bits 24
        to 31 and the value. CREDIT: a frame without a credit; the slots in use. LINK: frames lost so far;
        bit 31: the other side was reset. Nothing is written from the next cycle on.
    halt : In(1)
        Write nothing more.
    """

    def __init__(self, config):
        check_config(config)
        FrameSizes(config)
        self.config = config
        super().__init__(
            {
                "node": In(8),
                "rx": In(stream.Signature(flit_layout(config.link_bytes), always_ready=True)),
                "write_act": Out(WritePort(config.word_bits)),
                "write_weight": Out(WritePort(config.word_bits)),
                "post": Out(post_layout()),
                "credits": Out(CreditState()),
                "crc_errors": Out(16),
                "error": Out(error_layout()),
                "halt": In(1),
            }
        )

    @property
    def latency(self):
        """Cycles from the CRC flit of a frame to its first write, where nothing is before it."""
        return Deframer.latency + 3

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.deframer = deframer = Deframer(config)
        m.submodules.giver = giver = CreditGiver(config.frame_slots)
        depth = max(2, config.frame_slots * config.frame_words)
        m.submodules.buffer = buffer = FrameBuffer(config.word_bits, depth=depth)
        m.submodules.writer = writer = FrameWriter(config)
        connect(m, flipped(self.rx), deframer.rx)
        connect(m, buffer.o, writer.words)
        connect(m, flipped(self.write_act), writer.write_act)
        connect(m, flipped(self.write_weight), writer.write_weight)
        m.d.comb += [writer.stop.eq(self.halt | self.error.valid), self.post.eq(writer.post)]

        header, intact = deframer.header, deframer.intact
        is_data = header.kind == FrameKind.DATA
        wrong, syndrome = self._check(m, header)
        overrun = self._overrun(m, giver.full, deframer.start)
        fits = header.words <= config.frame_words
        accept = Signal()
        m.d.comb += [
            accept.eq(intact & is_data & ~wrong & ~overrun & ~self.error.valid),
            buffer.write.eq(deframer.word.valid & is_data & fits & ~overrun),
            buffer.data.eq(deframer.word.data),
            buffer.rewind.eq(deframer.start),
            buffer.commit.eq(accept),
            giver.taken.eq(accept),
            giver.freed.eq(writer.freed),
            writer.frame.valid.eq(accept),
        ]
        m.d.comb += [writer.frame.payload[name].eq(header[name]) for name in write_layout().members]

        lost = Signal.like(self.crc_errors)
        m.d.comb += [lost.eq(self.crc_errors + deframer.lost)]
        with m.If(lost >= self.crc_errors):  # stays at its largest value
            m.d.sync += self.crc_errors.eq(lost)
        restarted = self._link(m, giver.grant, header, intact)
        with m.If(~self.error.valid):
            with m.If((deframer.lost != 0) & self.credits.heard):
                m.d.sync += error_is(self.error, UnitError.LINK, lost)
            with m.Elif(restarted):
                m.d.sync += error_is(self.error, UnitError.LINK, lost | 1 << 31)
            with m.Elif(intact & wrong):
                m.d.sync += error_is(self.error, UnitError.FRAME, syndrome)
            with m.Elif(intact & is_data & overrun):
                m.d.sync += error_is(self.error, UnitError.CREDIT, giver.used)
        return m

    def _check(self, m, header):
        """(wrong, syndrome) of the header that arrived at least two cycles ago."""
        sizes = Array([self.config.act_words, self.config.weight_words])
        is_data = header.kind == FrameKind.DATA
        end = header.address + header.words
        checks = [
            (FrameField.KIND, ~is_data & (header.kind != FrameKind.CREDIT), header.kind),
            (FrameField.DESTINATION, is_data & (header.destination != self.node), header.destination),
            (FrameField.WORDS, is_data & (header.words > self.config.frame_words), header.words),
            (
                FrameField.ADDRESS,
                is_data & (header.words != 0) & (end > sizes[header.memory]),
                Cat(header.address, header.memory),
            ),
            (
                FrameField.POST,
                is_data & header.post & post_is_wrong(header.unit, header.counter),
                Cat(header.unit, header.counter),
            ),
        ]
        wrong, syndrome = Signal(), Signal(32, reset_less=True)
        m.d.sync += wrong.eq(Cat(condition for _, condition, _ in checks).any())
        for field, condition, value in reversed(checks):
            with m.If(condition):
                m.d.sync += syndrome.eq(value | field.value << 24)
        return wrong, syndrome

    def _overrun(self, m, full, start):
        """Whether every slot was in use when the frame began; what is stored must not depend on later luck.

        Looked at one cycle after the beginning: a frame right before this one has then been counted.
        """
        fresh, latched = Signal(), Signal()
        m.d.sync += fresh.eq(start)
        with m.If(fresh):
            m.d.sync += latched.eq(full)
        return Mux(fresh, full, latched)

    def _link(self, m, grant, header, intact):
        """Keep what the other side announces; returns whether it was reset behind our back."""
        heard, limit, linked = Signal(), Signal.like(self.credits.limit), Signal()
        with m.If(intact):
            m.d.sync += [heard.eq(1), limit.eq(header.credits), linked.eq(linked | header.heard)]
        m.d.comb += [
            self.credits.grant.eq(grant),
            self.credits.heard.eq(heard),
            self.credits.limit.eq(limit),
            self.credits.linked.eq(linked),
        ]
        return intact & linked & ~header.heard


class FrameWriter(Component):
    """Writes accepted frames, one word a cycle and two cycles more a frame.

    Reset drops the frame in work.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    frame : In(stream of write_layout)
        Accepted frames, at most ``frame_slots`` at a time: always taken.
    words : In(stream of words)
    stop : In(1)
        Write and post nothing, for ever.
    write_act, write_weight : Out(WritePort)
    post : Out(post_layout())
    freed : Out(1)
        The frame's slot is free again.
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        super().__init__(
            {
                "frame": In(stream.Signature(write_layout(), always_ready=True)),
                "words": In(stream.Signature(config.word_bits)),
                "stop": In(1),
                "write_act": Out(WritePort(config.word_bits)),
                "write_weight": Out(WritePort(config.word_bits)),
                "post": Out(post_layout()),
                "freed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        layout = write_layout()
        # A queue of one would have addresses of no bits, which Verilog can't express.
        depth = max(2, self.config.frame_slots)
        m.submodules.queue = queue = SyncFIFO(width=layout.size, depth=depth)
        frame = data.View(layout, queue.r_data)
        m.d.comb += [
            queue.w_en.eq(self.frame.valid),
            queue.w_data.eq(self.frame.payload),
            queue.r_en.eq(self.freed),
        ]

        address = Signal(ADDRESS_BITS, reset_less=True)
        left = Signal.like(frame.words, reset_less=True)
        write, taken = Signal(), Signal()
        for memory, port in ((Memory.ACT, self.write_act), (Memory.WEIGHT, self.write_weight)):
            m.d.comb += [
                port.valid.eq(write & (frame.memory == memory)),
                port.addr.eq(address),
                port.data.eq(self.words.payload),
                port.mask.eq(~0),
            ]
        ready = Mux(frame.memory == Memory.ACT, self.write_act.ready, self.write_weight.ready)
        m.d.comb += [taken.eq(write & ready), self.words.ready.eq(taken)]

        with m.FSM(name="frame_writer"):
            with m.State("IDLE"):
                m.d.sync += [address.eq(frame.address), left.eq(frame.words)]
                with m.If(queue.r_rdy):
                    m.next = "WRITE"
                    with m.If(frame.words == 0):
                        m.next = "POST"
            with m.State("WRITE"):
                m.d.comb += write.eq(self.words.valid & ~self.stop)
                with m.If(taken):
                    m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "POST"
            with m.State("POST"), m.If(~self.stop):
                m.d.comb += [self.post.valid.eq(frame.post), self.freed.eq(1)]
                m.next = "IDLE"
        m.d.comb += [self.post.unit.eq(frame.unit), self.post.counter.eq(frame.counter)]
        return m
