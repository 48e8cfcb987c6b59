"""Two link ports back to back: everything arrives once and in order, or an error says that it doesn't."""

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.link.frame import REQUEST, FrameField, FrameKind, FrameSizes, decode_frame, encode_frame
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._links import CONFIGS, NODE, Arrivals, LinkPair, Wire, error_of
from superlip.sim.testbenches._streams import Source, start, tick, until

CASES = CONFIGS
OTHER = {"a": "b", "b": "a"}


def build(config):
    return LinkPair(config)


def random_frame(r, config, side):
    """Header fields and words of a frame that ``side`` may send."""
    memory = r.randrange(2)
    words = r.choice([0, 1, config.frame_words, r.randint(0, config.frame_words)])
    size = (config.act_words, config.weight_words)[memory]
    fields = dict(
        destination=NODE[OTHER[side]],
        memory=memory,
        address=r.choice([size - words, 0, r.randint(0, size - words)]),
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


class Testbench:
    """Both sides in reset, with wires and arrivals running."""

    def __init__(self, dut, *, stall=0.0, write_stall=0.0, latency=5, damage=None, wired=True):
        self.dut, self.config = dut, case()["config"]
        self.rng = rng()
        self.tasks = []
        self.wires, self.arrivals, self.headers, self.words = {}, {}, {}, {}
        for side in "ab":
            getattr(dut, f"{side}_reset").value = 1
            getattr(dut, f"{side}_halt").value = 0
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
                    damage=damage if side == "a" else None,
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
            assert error_of(self.dut, side)[0] == 0, (side, error_of(self.dut, side))


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
        for (header, _), (fields, _) in zip(decoded, frames[side], strict=True):
            assert header == header | fields | {"source": NODE[side], "heard": 1}


async def all_credits_return(testbench, frames):
    """When all is quiet, each side's announcement allows as many frames as it has slots."""
    config = testbench.config
    for side in "ab":
        taken, wire = len(frames[OTHER[side]]), testbench.wires[side]
        wanted = (taken + config.frame_slots) % 256

        def announced(wire=wire, wanted=wanted):
            return wire.frames and decode_frame(config, wire.frames[-1][1])[0]["credits"] == wanted

        await until(testbench.dut, announced, cycles=3000)


def random_frames(testbench, count):
    return {side: [random_frame(testbench.rng, testbench.config, side) for _ in range(count)] for side in "ab"}


@cocotb.test()
async def delivers(dut):
    """Random frames both ways, throttled wire, refused writes."""
    testbench = Testbench(dut, stall=0.3, write_stall=0.3, latency=17)
    await testbench.begin()
    await testbench.release("a", "b")
    frames = random_frames(testbench, 40)
    await exchange(testbench, frames, idle=0.3)
    await all_credits_return(testbench, frames)


@cocotb.test()
@cocotb.parametrize(first=["a", "b"])
async def any_side_first(dut, first):
    """Frames wait for a side that leaves reset late, at any point of the other's announcements."""
    testbench = Testbench(dut, latency=9)
    await testbench.begin()
    await testbench.release(first)
    frames = random_frames(testbench, 6)
    testbench.send(first, frames[first])
    await tick(dut, testbench.rng.randint(300, 700))
    assert not testbench.arrivals[OTHER[first]].events
    late = OTHER[first]
    await testbench.release(late)
    testbench.send(late, frames[late])
    for side in "ab":
        expected = events_of(frames[OTHER[side]])
        await testbench.arrive(side, len(expected), cycles=5000)
        assert testbench.arrivals[side].events == expected
    testbench.no_error()


def flip_bit(r, flits, sizes):
    index = r.randrange(len(flits))
    # Above its CRC the last flit is padding.
    bits = 32 if index == len(flits) - 1 else sizes.flit_bits
    return [flit ^ (1 << r.randrange(bits)) if i == index else flit for i, flit in enumerate(flits)]


def flip_first(r, flits, sizes):
    index = r.randrange(len(flits))
    return [flit ^ (1 << sizes.flit_bits) if i == index else flit for i, flit in enumerate(flits)]


def flip_last(r, flits, sizes):
    index = r.randrange(len(flits))
    return [flit ^ (2 << sizes.flit_bits) if i == index else flit for i, flit in enumerate(flits)]


def cut_end(r, flits, sizes):
    return flits[: r.randrange(1, len(flits))]


def cut_start(r, flits, sizes):
    return flits[r.randrange(1, len(flits)) :]


def drop_flit(r, flits, sizes):
    index = r.randrange(1, len(flits) - 1)
    return flits[:index] + flits[index + 1 :]


def repeat_flit(r, flits, sizes):
    index = r.randrange(1, len(flits) - 1)
    return flits[: index + 1] + flits[index:]


def garbage_before(r, flits, sizes):
    return [r.getrandbits(sizes.flit_bits), *flits]


class DamageFourth:
    """Applies a fault to the fourth DATA frame with payload."""

    def __init__(self, fault, sizes):
        self.fault, self.sizes, self.count, self.rng = fault, sizes, 0, rng()

    def __call__(self, flits):
        self.count += len(flits) > self.sizes.flits(0)
        if self.count != 4:
            return flits
        self.count += 1
        return self.fault(self.rng, flits, self.sizes)


FAULTS = [flip_bit, flip_first, flip_last, cut_end, cut_start, drop_flit, repeat_flit, garbage_before]


@cocotb.test()
@cocotb.parametrize(fault=FAULTS)
async def damage_is_seen(dut, fault):
    """A damaged frame raises error LINK and leaves nothing, nor does what comes after it."""
    for attempt in range(4):
        config = case()["config"]
        sizes = FrameSizes(config)
        # Slow writes: some of what came before the damage still waits when it is seen.
        testbench = Testbench(dut, write_stall=(0.1, 0.9)[attempt % 2], damage=DamageFourth(fault, sizes))
        seed = f"{testbench.rng.random()} {fault.__name__} {attempt}"
        testbench.rng.seed(seed)
        testbench.wires["a"].damage.rng.seed(seed)
        await testbench.begin(clock=attempt == 0)
        await testbench.release("a", "b")
        frames = [random_frame(testbench.rng, config, "a") for _ in range(4 * 12)]
        frames = [(h, w) for h, w in frames if w][:8]
        assert len(frames) == 8
        testbench.send("a", frames)
        await until(dut, lambda: error_of(dut, "b")[0])
        await tick(dut)
        count = len(testbench.arrivals["b"].events)
        await tick(dut, 300)
        assert len(testbench.arrivals["b"].events) == count
        valid, code, syndrome = error_of(dut, "b")
        assert (valid, code, syndrome) == (1, UnitError.LINK, 1)
        assert int(dut.b_crc_errors.value) >= 1
        whole = events_of(frames[:3])
        assert testbench.arrivals["b"].events == whole[: len(testbench.arrivals["b"].events)]
        assert error_of(dut, "a")[0] == 0
        testbench.stop()


@cocotb.test()
async def damage_before_start_is_harmless(dut):
    """Until a side has had its first frame nothing of value can be lost: no error, and all arrives later."""
    config = case()["config"]
    testbench = Testbench(
        dut, damage=lambda flits: flip_bit(testbench.rng, flits, FrameSizes(config)) if testbench.noisy else flits
    )
    testbench.noisy = True
    await testbench.begin()
    await testbench.release("a", "b")
    testbench.wires["b"].inject([testbench.rng.getrandbits(8) for _ in range(5)])
    await tick(dut, 500)
    assert int(dut.b_crc_errors.value) > 2
    assert int(dut.b_linked.value) == 0
    testbench.noisy = False
    frames = random_frames(testbench, 4)
    for side in "ab":
        testbench.send(side, frames[side])
    for side in "ab":
        expected = events_of(frames[OTHER[side]])
        await testbench.arrive(side, len(expected), cycles=5000)
        assert testbench.arrivals[side].events == expected
    testbench.no_error()


@cocotb.test()
async def lost_credits_are_repeated(dut):
    """Once linked, lose every CREDIT frame for a while: the counts are said again, nothing stops for good."""
    config = case()["config"]
    testbench = Testbench(
        dut, damage=lambda flits: [] if testbench.lossy and decode_frame(config, flits)[0]["kind"] == 2 else flits
    )
    testbench.lossy = False
    await testbench.begin()
    await testbench.release("a", "b")
    await until(dut, lambda: int(dut.a_linked.value) and int(dut.b_linked.value))
    testbench.lossy = True  # credits that a gives to b are lost
    frames = [random_frame(testbench.rng, config, "b") for _ in range(config.frame_slots + 4)]
    testbench.send("b", frames)
    expected = events_of(frames)
    await tick(dut, 900)
    assert testbench.arrivals["a"].events == events_of(frames[: config.frame_slots])
    testbench.lossy = False
    await testbench.arrive("a", len(expected), cycles=5000)
    assert testbench.arrivals["a"].events == expected
    testbench.no_error()


@cocotb.test()
async def lost_frames_leave_no_words(dut):
    """Words of damaged frames don't end up in the frames behind them."""
    testbench = Testbench(dut)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    await testbench.begin()
    await testbench.release("b")
    header = dict(kind=FrameKind.DATA, heard=1, destination=NODE["b"], memory=0, address=8)
    expected = []
    damages = [fault for fault in FAULTS if fault is not garbage_before]  # behind garbage the frame is intact
    for fault in damages:
        words = [testbench.rng.getrandbits(config.word_bits) for _ in range(config.frame_words)]
        testbench.wires["a"].inject(fault(testbench.rng, encode_frame(config, words, **header), sizes))
    for count in (config.frame_words, 3):
        words = [testbench.rng.getrandbits(config.word_bits) for _ in range(count)]
        testbench.wires["a"].inject(encode_frame(config, words, **header))
        expected += [(0, 8 + i, word) for i, word in enumerate(words)]
    await until(dut, lambda: len(testbench.arrivals["b"].events) >= len(expected))
    await tick(dut, 100)
    assert testbench.arrivals["b"].events == expected
    assert int(dut.b_crc_errors.value) >= len(damages) - 1
    testbench.no_error()


@cocotb.test()
async def data_waits_for_the_handshake(dut):
    """Credits alone are not enough: DATA leaves when the other side is known to have heard something."""
    testbench = Testbench(dut)
    config = testbench.config
    await testbench.begin()
    await testbench.release("a")
    testbench.send("a", [random_frame(testbench.rng, config, "a")])
    credit = dict(kind=FrameKind.CREDIT, credits=1)
    testbench.wires["b"].inject(encode_frame(config, **credit))
    await tick(dut, 300)
    kinds = [(header["kind"], header["heard"]) for header, _ in testbench.wires["a"].decoded(config)]
    assert set(kinds) == {(FrameKind.CREDIT, 0), (FrameKind.CREDIT, 1)}
    testbench.wires["b"].inject(encode_frame(config, heard=1, **credit))
    await until(dut, lambda: testbench.wires["a"].decoded(config)[-1][0]["kind"] == FrameKind.DATA)


WRONG = {
    "kind": (dict(kind=7), FrameField.KIND, 7),
    "destination": (dict(destination=NODE["a"]), FrameField.DESTINATION, NODE["a"]),
    "address": (dict(address=1023, memory=0), FrameField.ADDRESS, 1023),
    "memory": (dict(address=511, memory=1), FrameField.ADDRESS, 511 | 1 << 20),
    "wrapped": (dict(address=(1 << 20) - 1), FrameField.ADDRESS, (1 << 20) - 1),
    "unit": (dict(post=1, unit=6, counter=7), FrameField.POST, 6 | 7 << 3),
    "counter": (dict(post=1, unit=2, counter=5), FrameField.POST, 2 | 5 << 3),
    "words": (dict(words=None), FrameField.WORDS, None),
}


@cocotb.test()
@cocotb.parametrize(wrong=list(WRONG))
async def wrong_frames_write_nothing(dut, wrong):
    """An intact frame that the node must not execute raises FRAME with field and value."""
    testbench = Testbench(dut)
    config = testbench.config
    fields, field, value = WRONG[wrong]
    words = [testbench.rng.getrandbits(config.word_bits) for _ in range(2)]
    if wrong == "words":
        words *= config.frame_words
        fields, value = {}, len(words)
    good = dict(kind=FrameKind.DATA, heard=1, destination=NODE["b"], address=5)
    await testbench.begin()
    await testbench.release("b")
    testbench.wires["a"].inject(encode_frame(config, [1], **good))
    testbench.wires["a"].inject(encode_frame(config, words, **good | fields))
    testbench.wires["a"].inject(encode_frame(config, [2], **good))
    await tick(dut, 300)
    assert error_of(dut, "b") == (1, UnitError.FRAME, field << 24 | value)
    assert testbench.arrivals["b"].events in ([], [(0, 5, 1)])


@cocotb.test()
async def frame_without_credit(dut):
    """A sender that ignores its credits is found out."""
    testbench = Testbench(dut, write_stall=1.0)
    config = testbench.config
    await testbench.begin()
    await testbench.release("b")
    # The one without a credit comes right behind the others, without a word.
    for words in [[1, 2]] * config.frame_slots + [[]]:
        flits = encode_frame(config, words, kind=FrameKind.DATA, heard=1, destination=NODE["b"])
        testbench.wires["a"].inject(flits)
    await tick(dut, 200)
    assert error_of(dut, "b") == (1, UnitError.CREDIT, config.frame_slots)
    assert testbench.arrivals["b"].events == []


@cocotb.test()
async def restart_is_seen(dut):
    """One side is reset while linked: the other says so."""
    testbench = Testbench(dut)
    await testbench.begin()
    await testbench.release("a", "b")
    await until(dut, lambda: int(dut.a_linked.value) and int(dut.b_linked.value))
    await tick(dut, 50)
    dut.a_reset.value = 1
    await tick(dut, 20)
    testbench.no_error()
    await testbench.release("a")
    await until(dut, lambda: error_of(dut, "b")[0])
    assert error_of(dut, "b") == (1, UnitError.LINK, 1 << 31)


@cocotb.test()
async def credits_hold_the_sender(dut):
    """A receiver that can't write holds the sender, without an error; halted, it writes nothing more."""
    testbench = Testbench(dut, write_stall=1.0)
    config = testbench.config
    await testbench.begin()
    await testbench.release("a", "b")
    frames = []
    while len(frames) < 2 * config.frame_slots:
        frames += [frame for frame in [random_frame(testbench.rng, config, "a")] if frame[1]]
    testbench.send("a", frames)
    longest = FrameSizes(config).flits(config.frame_words)
    await tick(dut, longest * 2 * config.frame_slots + 100)
    sent = [header for header, _ in testbench.wires["a"].decoded(config) if header["kind"] == FrameKind.DATA]
    assert len(sent) == config.frame_slots
    assert testbench.arrivals["b"].events == []
    testbench.arrivals["b"].stall = 0.5
    await testbench.arrive("b", len(events_of(frames)) // 2)
    dut.b_halt.value = 1
    await tick(dut, 2)
    count = len(testbench.arrivals["b"].events)
    await tick(dut, 200)
    assert len(testbench.arrivals["b"].events) == count
    assert testbench.arrivals["b"].events == events_of(frames)[:count]
    testbench.no_error()


@cocotb.test()
async def full_rate(dut):
    """Full frames one way: payload flits are at least 85 % of cycles, both ways at once too."""
    testbench = Testbench(dut, latency=4)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    await testbench.begin()
    await testbench.release("a", "b")
    words = [testbench.rng.getrandbits(config.word_bits) for _ in range(config.frame_words)]
    fields = dict(memory=0, address=0, words=config.frame_words, post=0)
    count = 3 * config.frame_slots
    for side in "ab":
        testbench.send(side, [(fields | {"destination": NODE[OTHER[side]]}, words)] * count)
    for side in "ab":
        await testbench.arrive(side, count * config.frame_words)
        ends = [cycle for cycle, flits in testbench.wires[side].frames if len(flits) > sizes.flits(0)]
        rate = (count - 1) * config.frame_words * sizes.word_flits / (ends[-1] - ends[0])
        dut._log.info("payload %.1f %% of cycles", 100 * rate)
        assert rate >= 0.85
    testbench.no_error()
