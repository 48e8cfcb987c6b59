"""Isolation of AXI4 ports: managers that vanish in mid-burst, and a memory that must not notice, nor be written to."""

from collections import deque

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import RisingEdge

from superlip.rtl.config import BUS_ADDRESS_BITS
from superlip.rtl.isolate import BURSTS_BITS, IsolateRead, IsolateWrite
from superlip.rtl.ports import AXI4Read, AXI4Write
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import start

CASES = {
    "narrow": {"data_bytes": 4, "outstanding": 3},
    "one_burst": {"data_bytes": 8, "outstanding": 1},
}

CHANNELS = {"ar": ("id", "addr", "len", "size", "burst"), "aw": ("id", "addr", "len", "size", "burst"),
            "w": ("data", "strb", "last"), "r": ("id", "data", "resp", "last"), "b": ("id", "resp")}  # fmt: skip


class Guards(wiring.Component):
    """One IsolateRead and one IsolateWrite."""

    def __init__(self, data_bytes, outstanding):
        self.data_bytes, self.outstanding = data_bytes, outstanding
        read, write = AXI4Read(data_bytes), AXI4Write(data_bytes)
        super().__init__(
            {
                "read_i": In(read), "read_o": Out(read), "write_i": In(write), "write_o": Out(write),
                "isolate": In(1), "read_idle": Out(1), "write_idle": Out(1),
            }
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.read = read = IsolateRead(self.data_bytes)
        m.submodules.write = write = IsolateWrite(self.data_bytes, outstanding=self.outstanding)
        for name, guard in (("read", read), ("write", write)):
            connect(m, flipped(getattr(self, f"{name}_i")), guard.i)
            connect(m, guard.o, flipped(getattr(self, f"{name}_o")))
            m.d.comb += [guard.isolate.eq(self.isolate), getattr(self, f"{name}_idle").eq(guard.idle)]
        return m


def build(**sizes):
    return Guards(**sizes)


class Channel:
    """Signals of one AXI channel: ``held`` is what is offered now."""

    def __init__(self, dut, side, letter):
        self.valid, self.ready = (getattr(dut, f"{side}__{letter}{name}") for name in ("valid", "ready"))
        self.fields = [getattr(dut, f"{side}__{letter}{name}") for name in CHANNELS[letter]]
        self.held = None

    def offer(self, values, random):
        """Show values, or, with None, nothing: then the fields are noise."""
        self.held = values
        self.valid.value = values is not None
        for place, signal in enumerate(self.fields):
            signal.value = random.getrandbits(len(signal)) if values is None else values[place]

    def read(self):
        """What is offered, or None."""
        return tuple(int(signal.value) for signal in self.fields) if self.valid.value else None

    @property
    def moves(self):
        return bool(self.valid.value and self.ready.value)


class Side:
    """Both managers' and the memory's end of one direction, a step a cycle. ``alive``: the manager is there."""

    def __init__(self, dut, random, *, stall):
        self.dut, self.random, self.stall = dut, random, stall
        self.alive, self.waits = True, False
        self.asked, self.addresses = deque(), deque()  # bursts: taken from the manager, seen by memory
        self.shown = {}

    def luck(self):
        return self.random.random() >= self.stall

    def may(self, channel):
        """Memory may wait for valid before it is ready."""
        return not self.waits or channel.valid.value == 1

    def stable(self, name, channel):
        """What memory was offered and did not take stays as it is."""
        now, before = channel.read(), self.shown.get(name)
        assert before is None or now == before, f"{name} changed from {before} to {now}"
        self.shown[name] = None if channel.moves else now
        return now if channel.moves else None

    def burst(self):
        bits = self.random.getrandbits
        beats = bits(8) if self.random.random() < 0.04 else self.random.choice([0, 1, 2, 5])
        return bits(1), bits(BUS_ADDRESS_BITS), beats, bits(3), bits(2)

    def takes(self, isolated, under_way, limit):
        """An address can be taken in the cycle in which memory takes the one before it."""
        if not isolated and self.out.moves and under_way < limit:
            assert self.ask.ready.value, "a cycle lost"


class Reads(Side):
    def __init__(self, dut, random, *, stall):
        super().__init__(dut, random, stall=stall)
        self.ask, self.take = Channel(dut, "read_i", "ar"), Channel(dut, "read_i", "r")
        self.out, self.give = Channel(dut, "read_o", "ar"), Channel(dut, "read_o", "r")
        self.dropped = 0

    def sample(self):
        """At an edge: what moved."""
        isolated = bool(self.dut.isolate.value)
        self.takes(isolated, len(self.asked) + len(self.addresses), (1 << BURSTS_BITS) - 1)
        if self.ask.moves:
            assert not isolated
            self.asked.append(self.ask.held)
            self.ask.held = None
        if burst := self.stable("AR", self.out):
            assert burst == self.asked.popleft()
            self.addresses.append(burst[2])
        if isolated:
            assert self.give.ready.value and not self.take.valid.value
        else:
            assert self.take.read() == self.give.held
            assert self.give.ready.value == self.take.ready.value
        if self.give.moves:
            self.dropped += isolated
            last = self.give.held[-1]
            if last:
                self.addresses.popleft()
            else:
                self.addresses[0] -= 1
            self.give.held = None
        under_way = len(self.asked) + len(self.addresses)
        return under_way

    def drive(self):
        if not self.alive:
            self.ask.offer(None, self.random)
            self.take.ready.value = 0
        else:
            self.ask.offer(self.ask.held or (self.burst() if self.luck() else None), self.random)
            self.take.ready.value = self.luck()
        self.out.ready.value = self.luck() and self.may(self.out)
        beat = self.give.held
        if beat is None and self.addresses and self.luck():
            bits = self.random.getrandbits
            beat = bits(1), bits(len(self.give.fields[1])), bits(2), int(self.addresses[0] == 0)
        self.give.offer(beat, self.random)


class Writes(Side):
    def __init__(self, dut, random, *, stall):
        super().__init__(dut, random, stall=stall)
        self.ask, self.put = Channel(dut, "write_i", "aw"), Channel(dut, "write_i", "w")
        self.out, self.data = Channel(dut, "write_o", "aw"), Channel(dut, "write_o", "w")
        self.answer, self.back = Channel(dut, "write_o", "b"), Channel(dut, "write_i", "b")
        self.beats = deque()  # taken from the manager
        self.wanted = deque()  # beats that are still to come, of each burst taken
        self.mine = deque()  # the same, for the manager, that sends data behind its address
        self.complete = self.filled = self.most = 0
        self.unanswered = 0

    def sample(self):
        isolated = bool(self.dut.isolate.value)
        self.takes(isolated, self.unanswered, case()["outstanding"])
        if self.data.moves:
            data, strobe, last = self.data.read()
            assert self.wanted, "a beat of no burst"
            assert last == (self.wanted[0] == 0)
            if self.beats:
                assert (data, strobe) == self.beats.popleft()
            else:
                assert self.cut and strobe == 0, "written without a manager"
                self.filled += 1
            if last:
                self.wanted.popleft()
                self.complete += 1
            else:
                self.wanted[0] -= 1
        self.stable("W", self.data)
        if self.ask.moves:
            assert not isolated
            burst = self.ask.held
            self.asked.append(burst)
            self.wanted.append(burst[2])
            self.mine.append(burst[2])
            self.unanswered += 1
            self.ask.held = None
        if burst := self.stable("AW", self.out):
            assert burst == self.asked.popleft()
        if self.put.moves:
            assert not isolated
            self.beats.append(self.put.held[:2])
            self.put.held = None
            self.mine[0] -= 1
            if self.mine[0] < 0:
                self.mine.popleft()
        if isolated:
            assert self.answer.ready.value and not self.back.valid.value
        else:
            assert self.back.read() == self.answer.held
            assert self.answer.ready.value == self.back.ready.value
        if self.answer.moves:
            self.answer.held = None
            self.complete -= 1
            self.unanswered -= 1
        self.most = max(self.most, self.unanswered)
        return self.unanswered

    cut = False

    def drive(self):
        if not self.alive:
            self.ask.offer(None, self.random)
            self.put.offer(None, self.random)
            self.back.ready.value = 0
        else:
            self.ask.offer(self.ask.held or (self.burst() if self.luck() else None), self.random)
            bits = self.random.getrandbits
            beat = self.put.held
            if beat is None and self.mine and self.luck():
                beat = bits(len(self.put.fields[0])), bits(len(self.put.fields[1])), int(self.mine[0] == 0)
            self.put.offer(beat, self.random)
            self.back.ready.value = self.luck()
        for channel in (self.out, self.data):
            channel.ready.value = self.luck() and self.may(channel)
        answer = self.answer.held
        if answer is None and self.complete and self.luck():
            answer = self.random.getrandbits(1), self.random.getrandbits(2)
        self.answer.offer(answer, self.random)


async def cycle(dut, sides):
    """One cycle of all; bursts under way, for each side."""
    for side in sides:
        side.drive()
    await RisingEdge(dut.clk)
    counts = [side.sample() for side in sides]
    idle = [int(dut.read_idle.value), int(dut.write_idle.value)]
    return counts, idle


@cocotb.test()
async def managers_vanish(dut):
    """Cut off in mid-burst, thirty times: bursts end as the protocol wants, with nothing written that nobody sent."""
    random = rng()
    dut.isolate.value = 0
    sides = [Reads(dut, random, stall=0.3), Writes(dut, random, stall=0.3)]
    for side in sides:
        side.alive = False
        side.drive()
    await start(dut)
    for turn in range(30):
        for side in sides:
            side.alive, side.stall, side.waits = True, (0.0, 0.3, 0.6)[turn % 3], turn % 2 == 1
        before = [0, 0]
        for _ in range(random.randrange(10, 120)):
            under_way, idle = await cycle(dut, sides)
            # ``idle`` is of the cycle behind this edge's: what moved in it is not in it yet.
            assert all(bool(now) != bool(count) for now, count in zip(idle, before, strict=True))
            before = under_way
        dut.isolate.value = 1
        sides[1].cut = True
        for side in sides:
            side.alive = False
            side.ask.held = None
        sides[1].put.held = None
        sides[1].mine.clear()
        for _ in range(4000):
            under_way, idle = await cycle(dut, sides)
            if all(idle):
                break
        assert all(idle) and not any(under_way), "never idle"
        assert not sides[1].beats and not sides[1].wanted
        dut.isolate.value = 0
        sides[1].cut = False
    assert sides[0].dropped > 10 and sides[1].filled > 10
    assert sides[1].most == case()["outstanding"]
