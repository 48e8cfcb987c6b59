"""Helpers of the link testbenches: two ports, the wire between them, and what arrives in their memories."""

from collections import deque

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import RisingEdge

from superlip.rtl.config import NodeConfig
from superlip.rtl.link.frame import HEADER, FrameSizes, FrameStream, decode_frame
from superlip.rtl.link.port import LinkPort
from superlip.rtl.ports import WritePort, error_layout, flit_layout

__all__ = ["NODE", "Arrivals", "LinkPair", "Wire", "error_of", "losses"]

NODE = {"a": 3, "b": 200}
CONFIGS = {
    "tn8-link8": dict(config=NodeConfig(act_words=1 << 20, weight_words=1 << 14, frame_slots=8)),
    "tn64-link32": dict(
        config=NodeConfig(tm=64, tn=64, act_words=1024, weight_words=512, link_bytes=32, frame_slots=4)
    ),
}


class LinkPair(wiring.Component):
    """Two LinkPorts, ``a`` and ``b``, each with its own reset.

    Their wires are open at both ends, so that a testbench can carry (and damage) the flits.
    """

    def __init__(self, config, *, announce_cycles=1024):
        self.config, self.announce_cycles = config, announce_cycles
        flit = flit_layout(config.link_bytes)
        members = {}
        for side in "ab":
            members |= {
                f"{side}_reset": In(1),
                f"{side}_node": In(8),
                f"{side}_tx": Out(stream.Signature(flit)),
                f"{side}_rx": In(wiring.Signature({"payload": Out(flit), "valid": Out(1)})),
                f"{side}_write_act": Out(WritePort(config.word_bits)),
                f"{side}_write_weight": Out(WritePort(config.word_bits)),
                f"{side}_post": Out(7),
                f"{side}_error": Out(error_layout()),
                f"{side}_crc_errors": Out(16),
                f"{side}_linked": Out(1),
                f"{side}_halt": In(1),
                f"{side}_frames": In(FrameStream(config)),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        ports = {side: LinkPort(self.config, announce_cycles=self.announce_cycles) for side in "ab"}
        for side, port in ports.items():
            m.submodules[side] = ResetInserter(getattr(self, f"{side}_reset"))(port)
            rx = getattr(self, f"{side}_rx")
            m.d.comb += [
                port.node.eq(getattr(self, f"{side}_node")),
                port.rx.payload.eq(rx.payload),
                port.rx.valid.eq(rx.valid),
                port.halt.eq(getattr(self, f"{side}_halt")),
            ]
            for name in ("tx", "write_act", "write_weight"):
                connect(m, getattr(port, name), flipped(getattr(self, f"{side}_{name}")))
            for name in ("post", "error", "crc_errors", "linked"):
                m.d.comb += getattr(self, f"{side}_{name}").eq(getattr(port, name))
            connect(m, flipped(getattr(self, f"{side}_frames")), port.frames)
        return m


def error_of(dut, side):
    """(valid, code, syndrome) of a port's error."""
    word = int(getattr(dut, f"{side}_error").value)
    return word & 1, word >> 1 & 15, word >> 5


def losses(config, flits):
    """How often a receiver gives something up that gets these flits from its reset on: the sum of ``Deframer.lost``."""
    sizes = FrameSizes(config)
    count, frame, skips = 0, [], True
    for flit in flits:
        first, last = flit >> sizes.flit_bits & 1, flit >> sizes.flit_bits & 2
        if first:
            count += bool(frame and not last)
            frame = []
        elif not frame:
            count += not skips
            skips = not last
            continue
        frame.append(flit)
        words = HEADER.unpack(frame[0] & ((1 << sizes.flit_bits) - 1))["words"]
        whole = len(frame) == sizes.flits(words)
        if last or whole:
            count += not (last and whole and _is_intact(config, frame))
            frame, skips = [], not last
    return count


def _is_intact(config, flits):
    try:
        decode_frame(config, flits)
    except ValueError:
        return False
    return True


class Wire:
    """Carries flits from one side to the other: latency in cycles, and ``stall``, the chance of a cycle without ready.

    ``damage(flits)`` may change what goes on the wire: it gets each frame (a list of flits) when its last flit has
    left, and returns what arrives. Without it a flit arrives ``latency`` cycles after it left. ``delivered`` collects
    what has arrived. A flit that is offered and not taken must stay as it is, until a reset.
    """

    def __init__(self, dut, source, sink, *, rng, latency=5, stall=0.0, damage=None):
        self.dut, self.rng, self.latency, self.stall, self.damage = dut, rng, latency, stall, damage
        self.payload, self.valid, self.ready = (
            getattr(dut, f"{source}_tx__{name}") for name in ("payload", "valid", "ready")
        )
        self.out_payload = getattr(dut, f"{sink}_rx__payload")
        self.out_valid = getattr(dut, f"{sink}_rx__valid")
        self.ready.value = 0
        self.out_valid.value = 0
        self.reset = getattr(dut, f"{source}_reset")
        self.flits, self.frames, self.delivered, self.cycle, self.gaps = [], [], [], 0, 0
        self.pending = deque()
        self.last_bit = 1 << (len(self.payload) - 1)

    def inject(self, flits):
        """Put flits on the wire, behind those that are there."""
        self.pending += [(0, flit) for flit in flits]

    async def run(self):
        """Run for ever. ``frames`` collects (cycle of the last flit, flits), ``gaps`` counts pauses inside frames."""
        cut = 0
        ready, offered = 0, None
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            valid = self.valid.value == 1
            if offered is not None and self.reset.value == 0:
                assert valid and int(self.payload.value) == offered
            offered = int(self.payload.value) if valid and not ready else None
            if ready and valid:
                flit = int(self.payload.value)
                self.flits.append(flit)
                if not self.damage:
                    self.pending.append((self.cycle + self.latency, flit))
                if flit & self.last_bit:
                    frame, cut = self.flits[cut:], len(self.flits)
                    self.frames.append((self.cycle, frame))
                    if self.damage:
                        self.pending += [(self.cycle + self.latency, f) for f in self.damage(frame)]
            elif ready and cut < len(self.flits):
                self.gaps += 1
            if self.pending and self.pending[0][0] <= self.cycle:
                self.delivered.append(self.pending.popleft()[1])
                self.out_payload.value = self.delivered[-1]
                self.out_valid.value = 1
            else:
                self.out_valid.value = 0
            ready = int(self.rng.random() >= self.stall)
            self.ready.value = ready

    def decoded(self, config):
        """Header and words of every frame that left, checked against the model."""
        return [decode_frame(config, flits) for _, flits in self.frames]


class Arrivals:
    """What a side writes and posts, in order: ``(memory, address, word)`` and ``(unit, counter)``."""

    def __init__(self, dut, side, config, *, rng, stall=0.0):
        self.dut, self.rng, self.stall = dut, rng, stall
        self.ports = [
            [getattr(dut, f"{side}_write_{memory}__{name}") for name in ("valid", "ready", "addr", "data", "mask")]
            for memory in ("act", "weight")
        ]
        self.post = getattr(dut, f"{side}_post")
        self.events = []
        self.full_mask = (1 << config.tn) - 1
        for _, ready, *_ in self.ports:
            ready.value = 0

    async def run(self):
        """Run for ever."""
        readies = [0, 0]
        while True:
            await RisingEdge(self.dut.clk)
            if self.post.value[0] == 1:
                post = int(self.post.value)
                self.events.append((post >> 1 & 7, post >> 4))
            for memory, (valid, ready, address, word, mask) in enumerate(self.ports):
                if readies[memory] and valid.value == 1:
                    assert int(mask.value) == self.full_mask
                    self.events.append((memory, int(address.value), int(word.value)))
                readies[memory] = int(self.rng.random() >= self.stall)
                ready.value = readies[memory]
