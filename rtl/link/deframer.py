"""Finds frames in a stream of flits, and whether they are intact."""

import enum

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from ..parameters import Component, check_config
from ..ports import flit_layout
from .crc import Crc32
from .frame import HEADER, FrameSizes, received_layout

__all__ = ["Deframer"]


class Phase(enum.Enum):
    """What the next flit should be."""

    SKIP = 0  # anything: the rest of a frame that is given up (or began before we left reset)
    FIRST = 1
    HEADER = 2
    PAYLOAD = 3
    LAST = 4


class Deframer(Component):
    """Takes a flit every cycle, gives words as they come and a verdict at the end of the frame.

    Reset drops the frame in work; what is left of it on the wire does not count as lost.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    rx : In(stream of flits, always ready)
    start : Out(1)
        A frame begins: words of an earlier frame that has not been ``intact`` up to and including this
        cycle are void.
    word : Out(valid and data)
        The next word of payload.
    header : Out(received_layout())
        From one cycle after its last flit up to the verdict.
    intact : Out(1)
        For one cycle, ``latency`` after the CRC flit: the frame of ``header`` was whole and its CRC right.
    lost : Out(2)
        How much was given up in this cycle: frames with a wrong CRC, cut frames, frames without an end,
        runs of flits outside a frame. After reset, flits before the first beginning of a frame don't
        count.
    """

    latency = 1
    """Cycles from a CRC flit to its verdict."""

    def __init__(self, config):
        check_config(config)
        self.sizes = FrameSizes(config)
        super().__init__(
            {
                "rx": In(stream.Signature(flit_layout(config.link_bytes), always_ready=True)),
                "start": Out(1),
                "word": Out(data.StructLayout({"valid": 1, "data": config.word_bits})),
                "header": Out(received_layout()),
                "intact": Out(1),
                "lost": Out(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flit, valid = self.rx.payload, self.rx.valid
        phase = Signal(Phase, init=Phase.SKIP)
        ended, broken = (
            Signal(),
            Signal(),
        )  # this flit is a CRC flit where one should be; is not what it should be
        left = Signal(8 + self.sizes.word_flits.bit_length(), reset_less=True)
        begun = Signal(HEADER.layout)  # header fields in the first flit: kind to counter at least
        payload_or_last = Mux(begun.words == 0, Phase.LAST, Phase.PAYLOAD)
        m.d.comb += begun.eq(flit.data)

        with m.If(valid & flit.first):
            m.d.comb += self.start.eq(1)
            m.d.comb += broken.eq(flit.last | ((phase != Phase.FIRST) & (phase != Phase.SKIP)))
            m.d.sync += [left.eq(begun.words * self.sizes.word_flits), phase.eq(payload_or_last)]
            if self.sizes.header_flits > 1:
                m.d.sync += phase.eq(Phase.HEADER)
            with m.If(flit.last):
                m.d.sync += phase.eq(Phase.FIRST)
        with m.Elif(valid):
            with m.Switch(phase):
                with m.Case(Phase.HEADER):
                    m.d.sync += phase.eq(Mux(left == 0, Phase.LAST, Phase.PAYLOAD))
                    m.d.comb += broken.eq(flit.last)
                with m.Case(Phase.PAYLOAD):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.sync += phase.eq(Phase.LAST)
                    m.d.comb += broken.eq(flit.last)
                with m.Case(Phase.LAST):
                    m.d.comb += [ended.eq(flit.last), broken.eq(~flit.last)]
                with m.Case(Phase.FIRST):
                    m.d.comb += broken.eq(1)
            with m.If(flit.last):
                m.d.sync += phase.eq(Phase.FIRST)
            with m.Elif(broken):
                m.d.sync += phase.eq(Phase.SKIP)

        self._take_header(m, phase)
        self._take_words(m, phase, left)
        self._judge(m, ended, broken)
        return m

    def _take_header(self, m, phase):
        flit, bits = self.rx.payload, self.sizes.flit_bits
        fields = {f.name: Signal(f.width, name=f"header_{f.name}", reset_less=True) for f in HEADER.fields}
        header = Cat(fields.values())
        with m.If(self.rx.valid & flit.first):
            m.d.sync += header[:bits].eq(flit.data)
        if self.sizes.header_flits > 1:
            with m.Elif(self.rx.valid & (phase == Phase.HEADER)):
                m.d.sync += header[bits:].eq(flit.data)
        m.d.comb += [self.header[name].eq(fields[name]) for name in self.header.shape().members]

    def _take_words(self, m, phase, left):
        """Flits of a word collect in ``parts``; the last one goes out with them."""
        flit, bits, count = self.rx.payload, self.sizes.flit_bits, self.sizes.word_flits
        taken = self.rx.valid & ~flit.first & ~flit.last & (phase == Phase.PAYLOAD)
        if count == 1:
            m.d.comb += [self.word.valid.eq(taken), self.word.data.eq(flit.data)]
            return
        parts = Signal(bits * (count - 1), reset_less=True)
        whole = Cat(parts, flit.data)
        with m.If(taken):
            m.d.sync += parts.eq(whole[bits:])
        # ``left`` counts flits of whole words down to 1, so the last of a word is 1 modulo ``count``.
        m.d.comb += [self.word.valid.eq(taken & (left % count == 1)), self.word.data.eq(whole)]

    def _judge(self, m, ended, broken):
        """Compare one cycle after the CRC flit: by then the CRC includes the flit before it."""
        m.submodules.crc = crc = Crc32(self.sizes.flit_bytes)
        flit = self.rx.payload
        m.d.comb += [crc.valid.eq(self.rx.valid), crc.first.eq(flit.first), crc.data.eq(flit.data)]
        judge = Signal()
        claimed = Signal(32, reset_less=True)
        m.d.sync += [judge.eq(ended), claimed.eq(flit.data)]
        right = Signal()
        m.d.comb += [
            right.eq(crc.crc == claimed),
            self.intact.eq(judge & right),
            self.lost.eq(broken + (judge & ~right)),
        ]
