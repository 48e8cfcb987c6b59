"""Sends frames: header, payload, CRC; a DATA frame only with a credit."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from ..config import Limit
from ..parameters import Component, check_config
from ..ports import flit_layout
from .crc import Crc32
from .credits import COUNT_BITS, CreditState, CreditTaker
from .frame import HEADER, FrameKind, FrameSizes, FrameStream

__all__ = ["ANNOUNCE_CYCLES", "Transmitter"]

ANNOUNCE_CYCLES = 4096
ANNOUNCE_LIMIT = Limit(16, 1 << 32, power_of_two=False)
"""Cycles without a frame after which a linked transmitter repeats its credits."""


class Transmitter(Component):
    """Turns requests and their words into frames on the wire.

    One flit a cycle, frames back to back. Every header carries the credits that this node's receiver
    grants; where they have changed and no DATA frame can start, a CREDIT frame of its own carries them.
    Until the other side is linked, credits are repeated every ``announce_cycles / 16``, later every
    ``announce_cycles``.

    Reset drops the frame in work, where it is, and forgets the credits (see ``LinkPort``).

    Parameters
    ----------
    config : NodeConfig
    announce_cycles : int
        At least 16; by default 4096.

    Members
    -------
    node : In(8)
        This node.
    frames : In(FrameStream(config))
        A header is accepted when the frame starts.
    credits : In(CreditState)
        From the receiver of this node.
    tx : Out(stream of flits)
    """

    latency = 2
    """Cycles from an accepted header or word to its (first) flit on ``tx``."""

    def __init__(self, config, *, announce_cycles=ANNOUNCE_CYCLES):
        check_config(config)
        ANNOUNCE_LIMIT.check("announce_cycles", announce_cycles)
        self.sizes = FrameSizes(config)
        self.announce_cycles = announce_cycles
        super().__init__(
            {
                "node": In(8),
                "frames": In(FrameStream(config)),
                "credits": In(CreditState()),
                "tx": Out(stream.Signature(flit_layout(config.link_bytes))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.taker = taker = CreditTaker()
        m.d.comb += [taker.limit.eq(self.credits.limit), taker.linked.eq(self.credits.linked)]

        request = self.frames.header
        idle, send_data, send_credit, step = Signal(), Signal(), Signal(), Signal()
        announce = self._announce(m, started=send_data | send_credit)
        m.d.comb += [
            request.ready.eq(idle & step & taker.available),
            send_data.eq(request.ready & request.valid),
            send_credit.eq(idle & step & ~(request.valid & taker.available) & announce),
            taker.sent.eq(send_data),
        ]
        header = self._header(m, with_request=send_data)
        flit, valid = self._flits(m, header=header, start=send_data | send_credit, idle=idle, step=step)
        self._output(m, flit, valid, step=step)
        return m

    def _announce(self, m, *, started):
        """High while the other side should be told our credits: they changed, or it is time."""
        told = Signal(COUNT_BITS + 1)
        state = Cat(self.credits.grant, self.credits.heard)
        timer = Signal(range(self.announce_cycles))
        period = Mux(self.credits.linked, self.announce_cycles - 1, self.announce_cycles // 16 - 1)
        due = Signal()
        m.d.sync += [timer.eq(timer + 1), due.eq(timer >= period)]
        with m.If(due):
            m.d.sync += [timer.eq(timer), due.eq(1)]
        with m.If(started):
            m.d.sync += [told.eq(state), timer.eq(0), due.eq(0)]
        return (told != state) | due

    def _header(self, m, *, with_request):
        own = {
            "kind": Mux(with_request, FrameKind.DATA, FrameKind.CREDIT),
            "heard": self.credits.heard,
            "source": self.node,
            "credits": self.credits.grant,
        }
        request = self.frames.header.payload
        asked = {name: Mux(with_request, request[name], 0) for name in request.shape().members}
        # One assignment of all fields: as one for each field, the constant ones become Verilog that is never run.
        header = Signal(HEADER.layout)
        values = own | asked
        m.d.comb += header.eq(Cat(_sized(values.get(f.name, 0), f.width) for f in HEADER.fields))
        return header

    def _flits(self, m, *, header, start, idle, step):
        """The flit that enters the pipeline; the CRC flit (``last``) is still empty."""
        sizes, words = self.sizes, self.frames.words
        flit, valid = Signal(flit_layout(sizes.flit_bytes)), Signal()
        rest = Signal(sizes.flit_bits, reset_less=True)  # second flit of the header
        left = Signal.like(header.words, reset_less=True)
        part = Signal(range(max(2, sizes.word_flits)))
        part_last = part == sizes.word_flits - 1

        with m.FSM(name="frame"):
            with m.State("IDLE"):
                m.d.comb += [idle.eq(1), valid.eq(start), flit.first.eq(1), flit.data.eq(header)]
                m.d.sync += [left.eq(header.words), rest.eq(header.as_value()[sizes.flit_bits :])]
                with m.If(start):
                    if sizes.header_flits > 1:
                        m.next = "HEADER"
                    else:
                        m.next = "PAYLOAD"
                        with m.If(header.words == 0):
                            m.next = "CRC"
            if sizes.header_flits > 1:
                with m.State("HEADER"):
                    m.d.comb += [valid.eq(1), flit.data.eq(rest)]
                    with m.If(step):
                        m.next = "PAYLOAD"
                        with m.If(left == 0):
                            m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    valid.eq(words.valid),
                    flit.data.eq(words.payload.word_select(part, sizes.flit_bits)),
                    words.ready.eq(step & part_last),
                ]
                with m.If(step & words.valid):
                    m.d.sync += part.eq(Mux(part_last, 0, part + 1))
                    with m.If(part_last):
                        m.d.sync += left.eq(left - 1)
                        with m.If(left == 1):
                            m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [valid.eq(1), flit.last.eq(1)]
                with m.If(step):
                    m.next = "IDLE"
        return flit, valid

    def _output(self, m, flit, valid, *, step):
        """Two registers, as many as the CRC takes: it is ready when the CRC flit moves to the second."""
        m.submodules.crc = crc = Crc32(self.sizes.flit_bytes)
        assert crc.latency == self.latency
        stage, out = (Signal(data.StructLayout(flit.shape().members), reset_less=True) for _ in range(2))
        stage_valid, out_valid = Signal(), Signal()
        m.d.comb += [
            step.eq(~out_valid | self.tx.ready),
            crc.valid.eq(step & valid & ~flit.last),
            crc.first.eq(flit.first),
            crc.data.eq(flit.data),
            self.tx.valid.eq(out_valid),
            self.tx.payload.eq(out),
        ]
        with m.If(step):
            m.d.sync += [stage.eq(flit), stage_valid.eq(valid), out.eq(stage), out_valid.eq(stage_valid)]
            with m.If(stage.last):
                m.d.sync += out.data.eq(crc.crc)


def _sized(value, width):
    """``value`` in exactly that many bits."""
    value = Value.cast(value)
    return Cat(value, Const(0, width))[:width]
