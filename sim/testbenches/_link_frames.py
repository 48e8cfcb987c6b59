"""Helpers of the link's testbench: both ports with what they send, and random frames."""

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.link.frame import HEADER, REQUEST, FrameKind, decode_frame, encode_frame
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._links import NODE, Arrivals, Wire, error_of, losses
from superlip.sim.testbenches._streams import Source, start, tick, until

__all__ = [
    "ALONE", "OTHER", "Testbench", "all_credits_return", "events_of", "exchange", "random_frame", "random_frames",
]  # fmt: skip

OTHER = {"a": "b", "b": "a"}


def random_frame(r, config, side, *, words=None):
    """Header fields and words of a frame that ``side`` may send."""
    memory = r.randrange(2)
    if words is None:
        words = r.choice([0, 1, config.frame_words, r.randint(0, config.frame_words)])
    size = (config.act_words, config.weight_words)[memory]
    address = r.choice([size - words, 0, r.randint(0, size - words)]) if words else r.getrandbits(20)  # of no word
    fields = dict(
        destination=NODE[OTHER[side]],
        memory=memory,
        address=address,
        words=words,
        post=r.randrange(2),
        unit=r.randrange(6),
        counter=r.choice([6, 7]),
    )
    return fields, [r.getrandbits(config.word_bits) for _ in range(words)]


def events_of(frames):
    """What the frames leave at the other side."""
    events = []
    for fields, words in frames:
        events += [(fields["memory"], fields["address"] + i, word) for i, word in enumerate(words)]
        if fields["post"]:
            events.append((fields["unit"], fields["counter"]))
    return events


def swallow(flits):
    return []


ALONE = {"a": swallow, "b": swallow}
"""Damage: nothing arrives but what a test injects."""


class Testbench:
    """Both sides in reset (if ``held``: else the common one alone), with wires and arrivals running.

    ``damage`` is by the side that sends.
    """

    def __init__(self, dut, *, stall=0.0, write_stall=0.0, latency=5, damage=None, wired=True, held=True):
        self.dut, self.config = dut, case()["config"]
        self.rng = rng()
        self.tasks = []
        self.wires, self.arrivals, self.headers, self.words = {}, {}, {}, {}
        for side in "ab":
            getattr(dut, f"{side}_reset").value = int(held)
            getattr(dut, f"{side}_halt").value = 0
            getattr(dut, f"{side}_node").value = NODE[side]
            self.arrivals[side] = Arrivals(dut, side, self.config, rng=self.rng, stall=write_stall)
            self.headers[side] = Source(dut, f"{side}_frames__header", rng=self.rng)
            self.words[side] = Source(dut, f"{side}_frames__words", rng=self.rng)
            if wired:
                self.wires[side] = Wire(
                    dut,
                    side,
                    OTHER[side],
                    rng=self.rng,
                    latency=latency,
                    stall=stall,
                    damage=(damage or {}).get(side),
                )

    async def begin(self, *, clock=True):
        await (start(self.dut) if clock else tick(self.dut, 3))
        self.tasks = [cocotb.start_soon(x.run()) for x in (*self.wires.values(), *self.arrivals.values())]

    def stop(self):
        """Make room for another testbench in the same test."""
        for task in self.tasks:
            task.cancel()

    async def release(self, *sides):
        for side in sides:
            getattr(self.dut, f"{side}_reset").value = 0
        await RisingEdge(self.dut.clk)

    def send(self, side, frames, *, idle=0.0):
        """Start to send the frames."""
        self.headers[side].idle = idle
        self.words[side].idle = idle / 4
        words = [word for _, payload in frames for word in payload]
        headers = [REQUEST.pack(fields, "request") for fields, _ in frames]
        self.tasks += [
            cocotb.start_soon(self.headers[side].send(headers)),
            cocotb.start_soon(self.words[side].send(words)),
        ]

    async def arrive(self, side, count, *, cycles=100_000):
        """Wait for that many events."""
        events = self.arrivals[side].events
        for _ in range(cycles):
            if len(events) >= count:
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{len(events)} of {count} events arrived at {side}")

    def no_error(self):
        for side in "ab":
            assert error_of(self.dut, side) == (0, 0, 0), (side, error_of(self.dut, side))
            assert self.lost(side) == losses(self.config, self.wires[OTHER[side]].delivered), side

    def lost(self, side):
        return int(getattr(self.dut, f"{side}_crc_errors").value)

    def linked(self):
        return int(self.dut.a_linked.value) and int(self.dut.b_linked.value)

    def inject(self, side, payload=(), **header):
        """Put a frame on the wire to ``side``."""
        header.pop("words", None)
        self.wires[OTHER[side]].inject(encode_frame(self.config, payload, **header))

    def random_words(self, count):
        return [self.rng.getrandbits(self.config.word_bits) for _ in range(count)]

    def headers_of(self, side, kind):
        """Cycle of the last flit, and header, of all frames of a kind that left; of credits all but the count."""
        rest = {f.name: 0 for f in HEADER.fields} | {"kind": kind, "source": NODE[side]}
        found = []
        for cycle, flits in self.wires[side].frames:
            header, _ = decode_frame(self.config, flits)
            if header["kind"] == kind:
                if kind == FrameKind.CREDIT:
                    assert header == rest | {name: header[name] for name in ("credits", "heard")}
                found.append((cycle, header))
        return found


async def exchange(testbench, frames, *, idle=0.0):
    """Send frames of both sides and check all that arrives and all that was on the wire."""
    for side in "ab":
        testbench.send(side, frames[side], idle=idle)
    for side in "ab":
        expected = events_of(frames[OTHER[side]])
        await testbench.arrive(side, len(expected))
        await tick(testbench.dut, 50)
        assert testbench.arrivals[side].events == expected
    testbench.no_error()
    for side in "ab":
        decoded = [(h, w) for h, w in testbench.wires[side].decoded(testbench.config) if h["kind"] == FrameKind.DATA]
        assert [w for _, w in decoded] == [w for _, w in frames[side]]
        own = {f.name: 0 for f in HEADER.fields} | {"kind": FrameKind.DATA, "source": NODE[side], "heard": 1}
        for (header, _), (fields, _) in zip(decoded, frames[side], strict=True):
            assert header == own | fields | {"credits": header["credits"]}


async def all_credits_return(testbench, frames):
    """When all is quiet, each side has announced as many frames as it has slots, and doesn't repeat that at once."""
    config = testbench.config
    for side in "ab":
        taken, wire = len(frames[OTHER[side]]), testbench.wires[side]
        wanted = (taken + config.frame_slots) % 256

        def announced(wire=wire, wanted=wanted):
            return wire.frames and decode_frame(config, wire.frames[-1][1])[0]["credits"] == wanted

        await until(testbench.dut, announced, cycles=100)
    before = {side: len(testbench.headers_of(side, FrameKind.CREDIT)) for side in "ab"}
    await tick(testbench.dut, 200)
    for side in "ab":
        assert len(testbench.headers_of(side, FrameKind.CREDIT)) <= before[side] + 1


def random_frames(testbench, count):
    return {side: [random_frame(testbench.rng, testbench.config, side) for _ in range(count)] for side in "ab"}
