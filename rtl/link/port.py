"""One end of a link: transmitter, receiver and the credits between them."""

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from ..parameters import Component, check_config
from ..ports import WritePort, error_layout, flit_layout
from .frame import FrameSizes, FrameStream, post_layout
from .receiver import Receiver
from .transmitter import ANNOUNCE_CYCLES, ANNOUNCE_LIMIT, Transmitter

__all__ = ["LinkPort"]


class LinkPort(Component):
    """Frames out, writes and posts in.

    A frame is a remote write of up to ``frame_words`` words, then a remote post, or either alone; up to
    ``frame_slots`` of them are under way. Put the header on ``frames.header``, then its words on ``frames.words``;
    on the other side they come out of ``write_act`` or ``write_weight`` one by one, and then ``post`` for a cycle.

    Reset (of domain ``sync``, synchronous) forgets frames and credits. Both sides are to be reset before they are used
    again: a side that was used and meets one that was reset raises error LINK.

    Between ``tx`` here and ``rx`` there may be any latency, and the wire sets the pace with ``tx.ready``;
    what it must not do is reorder flits. Either end may leave reset first (``credits.py``).

    Parameters
    ----------
    config : NodeConfig
    announce_cycles : int
        A linked side says its credits again after so many cycles; by default 4096.

    Members
    -------
    node : In(8)
        This node.
    frames : In(FrameStream(config))
        A header (`request_layout`) has ``destination`` (a node), ``memory`` (0: ``write_act``, 1: ``write_weight``),
        ``address`` (of the first word), ``words`` (0 to ``frame_words``), ``post``, ``unit`` and ``counter``.
    tx : Out(stream of flits)
    rx : In(stream of flits, always ready)
        No flit may be refused: there is room, credits see to that.
    write_act, write_weight, post, crc_errors, error, halt
        As for Receiver.
    tx_flits, rx_flits : Out(1)
        A flit crosses the wire in this cycle.
    linked : Out(1)
        Both sides are awake and know it.
    """

    def __init__(self, config, *, announce_cycles=ANNOUNCE_CYCLES):
        check_config(config)
        FrameSizes(config)
        ANNOUNCE_LIMIT.check("announce_cycles", announce_cycles)
        self.config, self.announce_cycles = config, announce_cycles
        flit = flit_layout(config.link_bytes)
        super().__init__(
            {
                "node": In(8),
                "frames": In(FrameStream(config)),
                "tx": Out(stream.Signature(flit)),
                "rx": In(stream.Signature(flit, always_ready=True)),
                "write_act": Out(WritePort(config.word_bits)),
                "write_weight": Out(WritePort(config.word_bits)),
                "post": Out(post_layout()),
                "crc_errors": Out(16),
                "error": Out(error_layout()),
                "halt": In(1),
                "tx_flits": Out(1),
                "rx_flits": Out(1),
                "linked": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = transmitter = Transmitter(self.config, announce_cycles=self.announce_cycles)
        m.submodules.receiver = receiver = Receiver(self.config)
        connect(m, receiver.credits, transmitter.credits)
        connect(m, flipped(self.frames), transmitter.frames)
        connect(m, transmitter.tx, flipped(self.tx))
        connect(m, flipped(self.rx), receiver.rx)
        connect(m, receiver.write_act, flipped(self.write_act))
        connect(m, receiver.write_weight, flipped(self.write_weight))
        m.d.comb += [
            transmitter.node.eq(self.node),
            receiver.node.eq(self.node),
            receiver.halt.eq(self.halt),
            self.post.eq(receiver.post),
            self.crc_errors.eq(receiver.crc_errors),
            self.error.eq(receiver.error),
            self.tx_flits.eq(self.tx.valid & self.tx.ready),
            self.rx_flits.eq(self.rx.valid),
            self.linked.eq(receiver.credits.linked),
        ]
        return m
