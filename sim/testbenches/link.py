"""Two link ports back to back: everything arrives once and in order, or an error says that it doesn't."""

from itertools import pairwise

import cocotb
from cocotb.triggers import RisingEdge, Timer

from superlip.rtl.link.frame import FrameField, FrameKind, FrameSizes, decode_frame, encode_frame
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case
from superlip.sim.testbenches._faults import FAULTS, DamageFourth, flip_bit, garbage_before
from superlip.sim.testbenches._link_frames import (
    ALONE,
    OTHER,
    Testbench,
    all_credits_return,
    events_of,
    exchange,
    random_frame,
    random_frames,
)  # fmt: skip
from superlip.sim.testbenches._links import CONFIGS, NODE, LinkPair, error_of, losses
from superlip.sim.testbenches._streams import PERIOD_NS, tick, until

CASES = CONFIGS
ANNOUNCE = 1024


def build(config):
    return LinkPair(config, announce_cycles=ANNOUNCE)


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
async def counts_go_round(dut):
    """More frames than credits can count, short ones; now and then nothing is written, and all credits are used."""
    testbench = Testbench(dut)
    await testbench.begin()
    await testbench.release("a", "b")

    async def hold():
        while True:
            for stall in (1.0, 0.0):
                for side in "ab":
                    testbench.arrivals[side].stall = stall
                await tick(dut, testbench.rng.randint(40, 80))

    testbench.tasks.append(cocotb.start_soon(hold()))
    count = 256 + testbench.rng.randrange(64)
    frames = {
        side: [
            random_frame(testbench.rng, testbench.config, side, words=int(testbench.rng.random() < 0.3))
            for _ in range(count)
        ]
        for side in "ab"
    }
    await exchange(testbench, frames)
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
    announced = testbench.headers_of(first, FrameKind.CREDIT)
    assert len(announced) >= 4
    assert all(header["heard"] == 0 for _, header in announced)
    assert {right - left for (left, _), (right, _) in pairwise(announced)} == {ANNOUNCE // 16 + 1}
    late = OTHER[first]
    await testbench.release(late)
    testbench.send(late, frames[late])
    for side in "ab":
        expected = events_of(frames[OTHER[side]])
        await testbench.arrive(side, len(expected), cycles=5000)
        assert testbench.arrivals[side].events == expected
    testbench.no_error()


@cocotb.test()
async def announces_when_linked(dut):
    """Two sides with nothing to say repeat their credits, seldom."""
    testbench = Testbench(dut)
    await testbench.begin()
    await testbench.release("a", "b")
    await until(dut, testbench.linked, cycles=200)
    await tick(dut, 100)
    before = {side: len(testbench.wires[side].frames) for side in "ab"}
    await tick(dut, 2 * ANNOUNCE + 200)
    for side in "ab":
        told = testbench.headers_of(side, FrameKind.CREDIT)[before[side] - 1 :]
        assert {(header["credits"], header["heard"]) for _, header in told} == {(testbench.config.frame_slots, 1)}
        assert [right - left for (left, _), (right, _) in pairwise(told)] == [ANNOUNCE + 1] * 2
    testbench.no_error()


@cocotb.test()
@cocotb.parametrize(fault=FAULTS)
async def damage_is_seen(dut, fault):
    """A damaged frame raises error LINK and leaves nothing, nor does what comes after it; both ways at once."""
    for attempt in range(4):
        config = case()["config"]
        sizes = FrameSizes(config)
        # Slow writes: some of what came before the damage still waits when it is seen.
        damage = {side: DamageFourth(fault, sizes) for side in "ab"}
        testbench = Testbench(dut, write_stall=(0.1, 0.9)[attempt % 2], damage=damage)
        testbench.rng.seed(f"{testbench.rng.random()} {fault.__name__} {attempt}")
        for side in "ab":
            damage[side].rng.seed(f"{testbench.rng.random()} {side}")
        await testbench.begin(clock=attempt == 0)
        await testbench.release("a", "b")
        frames = {}
        for side in "ab":
            frames[side] = [random_frame(testbench.rng, config, side) for _ in range(4 * 12)]
            frames[side] = [(h, w) for h, w in frames[side] if w][:8]
            assert len(frames[side]) == 8
            testbench.send(side, frames[side])
        await until(dut, lambda: error_of(dut, "a")[0] and error_of(dut, "b")[0])
        await tick(dut)
        counts = {side: len(testbench.arrivals[side].events) for side in "ab"}
        await tick(dut, 200)
        for side in "ab":
            events = testbench.arrivals[side].events
            assert len(events) == counts[side]
            assert error_of(dut, side) == (1, UnitError.LINK, 1)
            assert events == events_of(frames[OTHER[side]][:3])[: len(events)]
            assert testbench.lost(side) == losses(config, testbench.wires[OTHER[side]].delivered) >= 1
        testbench.stop()


@cocotb.test()
async def damage_before_start_is_harmless(dut):
    """Until a side has had its first frame nothing of value can be lost: no error, and all arrives later."""
    config = case()["config"]

    def damage(flits):
        return flip_bit(testbench.rng, flits, FrameSizes(config)) if testbench.noisy else flits

    testbench = Testbench(dut, damage={"a": damage, "b": damage}, held=False)
    testbench.noisy = True
    await testbench.begin()
    for side in "ab":
        testbench.wires[side].inject([testbench.rng.getrandbits(8) for _ in range(5)])
        testbench.wires[side].inject([testbench.rng.getrandbits(len(dut.a_tx__payload)) for _ in range(60)])
    await tick(dut, 500)
    testbench.no_error()
    for side in "ab":
        assert testbench.lost(side) > 2
    assert int(dut.a_linked.value) == int(dut.b_linked.value) == 0
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
async def losses_are_counted(dut):
    """As many as there are, and an error says how many; in the slow case up to the largest count, and no further."""
    testbench = Testbench(dut, wired=False)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    bits = 11 if case() == next(iter(CASES.values())) else 16
    rx = [(getattr(dut, f"{side}_rx__payload"), getattr(dut, f"{side}_rx__valid")) for side in "ab"]

    async def drive(flits):
        for flit in flits:
            for payload, valid in rx:
                payload.value, valid.value = flit, 1
            await RisingEdge(dut.clk)

    async def lose(count):
        """As many beginnings of frames, one a cycle; the first after a reset cuts nothing."""
        await drive([1 << sizes.flit_bits])
        await Timer(PERIOD_NS * (count - 1) - 1, unit="ns")
        await RisingEdge(dut.clk)

    async def counted(count):
        for _, valid in rx:
            valid.value = 0
        await tick(dut, 3)
        assert [testbench.lost(side) for side in "ab"] == [count] * 2

    first = testbench.rng.randrange(8, (1 << bits) - 8)
    await testbench.begin()
    for before in (first, first ^ (1 << bits) - 1):
        dut.a_reset.value = dut.b_reset.value = 1
        await counted(0)
        await testbench.release("a", "b")
        await lose(before)
        await counted(before - 1)
        assert error_of(dut, "a")[0] == error_of(dut, "b")[0] == 0
        await drive(encode_frame(config, kind=FrameKind.CREDIT, credits=config.frame_slots))  # cuts one more
        await counted(before)
        await drive([0])  # outside a frame
        await counted(before + 1)
        assert error_of(dut, "a") == error_of(dut, "b") == (1, UnitError.LINK, before + 1)
    if bits == 16:
        await lose((1 << bits) + 100)
        await counted((1 << bits) - 1)
    assert error_of(dut, "a") == error_of(dut, "b") == (1, UnitError.LINK, before + 1)


@cocotb.test()
@cocotb.parametrize(giver=["a", "b"])
async def lost_credits_are_repeated(dut, giver):
    """Once linked, lose every CREDIT frame for a while: the counts are said again, nothing stops for good."""
    config, taker = case()["config"], OTHER[giver]

    def damage(flits):
        return [] if testbench.lossy and decode_frame(config, flits)[0]["kind"] == FrameKind.CREDIT else flits

    testbench = Testbench(dut, damage={giver: damage})
    testbench.lossy = False
    await testbench.begin()
    await testbench.release("a", "b")
    await until(dut, testbench.linked)
    testbench.lossy = True
    frames = [random_frame(testbench.rng, config, taker) for _ in range(config.frame_slots + 4)]
    testbench.send(taker, frames)
    expected = events_of(frames)
    await tick(dut, 900)
    assert testbench.arrivals[giver].events == events_of(frames[: config.frame_slots])
    testbench.lossy = False
    await testbench.arrive(giver, len(expected), cycles=5000)
    assert testbench.arrivals[giver].events == expected
    testbench.no_error()


@cocotb.test()
async def lost_frames_leave_no_words(dut):
    """Words of damaged frames don't end up in the frames behind them."""
    testbench = Testbench(dut, damage=ALONE)
    config, sizes = testbench.config, FrameSizes(testbench.config)
    await testbench.begin()
    await testbench.release("a", "b")
    expected = {"a": [], "b": []}
    damages = [fault for fault in FAULTS if fault is not garbage_before]  # behind garbage the frame is intact
    for side in "ab":
        header = dict(kind=FrameKind.DATA, heard=1, destination=NODE[side], memory=0, address=8)
        for fault in damages:
            words = testbench.random_words(config.frame_words)
            testbench.wires[OTHER[side]].inject(fault(testbench.rng, encode_frame(config, words, **header), sizes))
        for count in (config.frame_words, 3):
            words = testbench.random_words(count)
            testbench.inject(side, words, **header)
            expected[side] += [(0, 8 + i, word) for i, word in enumerate(words)]
    for side in "ab":
        await testbench.arrive(side, len(expected[side]))
    await tick(dut, 100)
    for side in "ab":
        assert testbench.arrivals[side].events == expected[side]
        assert testbench.lost(side) >= len(damages) - 1
    testbench.no_error()


@cocotb.test()
async def data_waits_for_the_handshake(dut):
    """Credits alone are not enough: DATA leaves when the other side is known to have heard something."""
    testbench = Testbench(dut, damage=ALONE, held=False)
    await testbench.begin()
    frames = random_frames(testbench, 4)
    for side in "ab":
        testbench.send(side, frames[side])
        testbench.inject(side, kind=FrameKind.CREDIT, credits=1)
    await tick(dut, 300)
    testbench.no_error()
    for side in "ab":
        assert not testbench.headers_of(side, FrameKind.DATA)
        assert {header["heard"] for _, header in testbench.headers_of(side, FrameKind.CREDIT)} == {0, 1}
    assert int(dut.a_linked.value) == int(dut.b_linked.value) == 0
    for credits in (1, 3):
        for side in "ab":
            testbench.inject(side, kind=FrameKind.CREDIT, heard=1, credits=credits)
        await tick(dut, 200)
        for side in "ab":
            assert len(testbench.headers_of(side, FrameKind.DATA)) == credits
    assert testbench.linked()


WRONG = [
    "kind", "destination", "address", "memory", "far", "wrapped", "unit", "counter", "words", "many_words",
]  # fmt: skip


def wrong_frames(r, config, side):
    """Header fields of an intact frame that ``side`` must not execute, and field and value of its error, by name."""
    unit, counter = r.randrange(6), r.choice([6, 7])
    no_unit, no_counter = r.choice([6, 7]), r.randrange(6)
    kind = r.choice([0, *range(3, 16)])
    destination = r.choice([NODE[side] ^ 1 << r.randrange(8), NODE[OTHER[side]]])
    act, weight, far = config.act_words - 1, config.weight_words - 1, r.randint(config.weight_words, (1 << 20) - 1)
    return {
        "kind": (dict(kind=kind), FrameField.KIND, kind),
        "destination": (dict(destination=destination), FrameField.DESTINATION, destination),
        "address": (dict(address=act, memory=0), FrameField.ADDRESS, act),
        "memory": (dict(address=weight, memory=1), FrameField.ADDRESS, weight | 1 << 20),
        "far": (dict(address=far, memory=1), FrameField.ADDRESS, far | 1 << 20),
        "wrapped": (dict(address=(1 << 20) - 1, memory=0), FrameField.ADDRESS, (1 << 20) - 1),
        "unit": (dict(post=1, unit=no_unit, counter=counter), FrameField.POST, no_unit | counter << 3),
        "counter": (dict(post=1, unit=unit, counter=no_counter), FrameField.POST, unit | no_counter << 3),
        "words": ({}, FrameField.WORDS, config.frame_words + 1),
        "many_words": ({}, FrameField.WORDS, r.randint(config.frame_words + 1, 255)),
    }


@cocotb.test()
@cocotb.parametrize(wrong=WRONG)
async def wrong_frames_write_nothing(dut, wrong):
    """An intact frame that the node must not execute raises FRAME with field and value, for ever."""
    testbench = Testbench(dut, damage=ALONE, write_stall=0.8)
    config, r = testbench.config, testbench.rng
    await testbench.begin()
    await testbench.release("a", "b")
    expected, errors = {}, {}
    for side in "ab":
        fields, field, value = wrong_frames(r, config, side)[wrong]
        words = testbench.random_words(value if field == FrameField.WORDS else 2)
        errors[side] = (1, UnitError.FRAME, field << 24 | value)
        # The slots before it are full: what is too long must not overwrite what still waits there.
        good = [random_frame(r, config, OTHER[side], words=config.frame_words) for _ in range(config.frame_slots - 1)]
        other = random_frame(r, config, OTHER[side], words=2)[0] | {"post": 0, "unit": 0, "counter": 6}
        again = dict(kind=9 if wrong != "kind" else FrameKind.DATA, destination=NODE[side] ^ 4)
        base = dict(kind=FrameKind.DATA, heard=1)
        expected[side] = events_of(good)
        for header, payload in good:
            testbench.inject(side, payload, **base | header)
        testbench.inject(side, words, **base | other | fields)
        testbench.inject(side, words[:2], **base | other)
        testbench.inject(side, **base | again)
        testbench.inject(side, words[:1], **base | other)
    await until(dut, lambda: error_of(dut, "a")[0] and error_of(dut, "b")[0])
    await tick(dut, 100)
    for side in "ab":
        assert error_of(dut, side) == errors[side]
        assert testbench.lost(side) == 0
        events = testbench.arrivals[side].events
        assert events == expected[side][: len(events)]


@cocotb.test()
@cocotb.parametrize(bit=range(8))
async def of_any_number(dut, bit):
    """A node takes frames for its own number, whatever it is, and none for one that differs in a bit."""
    testbench = Testbench(dut, damage=ALONE)
    number = {side: testbench.rng.getrandbits(8) for side in "ab"}
    await testbench.begin()
    for side in "ab":
        getattr(dut, f"{side}_node").value = number[side]
    await testbench.release("a", "b")
    for side in "ab":
        base = dict(kind=FrameKind.DATA, heard=1, post=1, counter=6)
        testbench.inject(side, [], **base | dict(destination=number[side]))
        testbench.inject(side, [], **base | dict(destination=number[side] ^ 1 << bit))
    await until(dut, lambda: error_of(dut, "a")[0] and error_of(dut, "b")[0])
    for side in "ab":
        value = number[side] ^ 1 << bit
        assert error_of(dut, side) == (1, UnitError.FRAME, FrameField.DESTINATION << 24 | value)
        assert testbench.arrivals[side].events == [(0, 6)]


@cocotb.test()
async def frame_without_credit(dut):
    """A sender that ignores its credits is found out."""
    testbench = Testbench(dut, write_stall=1.0, damage=ALONE)
    config = testbench.config
    await testbench.begin()
    await testbench.release("a", "b")
    # The one without a credit comes right behind the others, without a word.
    for side in "ab":
        for words in [[1, 2]] * config.frame_slots + [[]]:
            testbench.inject(side, words, kind=FrameKind.DATA, heard=1, destination=NODE[side])
    await tick(dut, 200)
    for side in "ab":
        assert error_of(dut, side) == (1, UnitError.CREDIT, config.frame_slots)
        assert testbench.arrivals[side].events == []


@cocotb.test()
async def slots_freed_too_late(dut):
    """A frame had no credit when it began, whatever is written while it comes: it is not, and what waits is whole."""
    for attempt in range(4):
        testbench = Testbench(dut, write_stall=1.0, damage=ALONE)
        config, frames = testbench.config, {}
        testbench.rng.seed(f"{testbench.rng.random()} {attempt}")
        await testbench.begin(clock=attempt == 0)
        await testbench.release("a", "b")
        base = dict(kind=FrameKind.DATA, heard=1)
        for side in "ab":
            count = config.frame_slots + 1
            frames[side] = [random_frame(testbench.rng, config, OTHER[side], words=2) for _ in range(count - 1)]
            frames[side].append(random_frame(testbench.rng, config, OTHER[side], words=config.frame_words))
            for fields, words in frames[side]:
                testbench.inject(side, words, **base | fields | {"post": 1})
                fields["post"] = 1
        await until(dut, lambda wires=testbench.wires: len(wires["a"].pending) < 20)
        for side in "ab":
            testbench.arrivals[side].stall = testbench.rng.random()
        await until(dut, lambda: error_of(dut, "a")[0] and error_of(dut, "b")[0])
        await tick(dut, 20)
        for side in "ab":
            events = testbench.arrivals[side].events
            assert events == events_of(frames[side][:-1])[: len(events)]
            valid, code, used = error_of(dut, side)
            freed = sum(len(event) == 2 for event in events)
            assert (valid, code) == (1, UnitError.CREDIT)
            assert config.frame_slots - freed <= used <= config.frame_slots - freed + 1
        testbench.stop()


@cocotb.test()
@cocotb.parametrize(side=["a", "b"])
async def restart_is_seen(dut, side):
    """One side is reset while linked: the other says so."""
    testbench = Testbench(dut)
    await testbench.begin()
    await testbench.release("a", "b")
    await until(dut, testbench.linked, cycles=500)
    await tick(dut, 50)
    getattr(dut, f"{side}_reset").value = 1
    await tick(dut, 20)
    testbench.no_error()
    await testbench.release(side)
    await until(dut, lambda: error_of(dut, OTHER[side])[0], cycles=500)
    assert error_of(dut, OTHER[side]) == (1, UnitError.LINK, 1 << 31)
    assert error_of(dut, side)[0] == 0


@cocotb.test()
async def credits_hold_the_sender(dut):
    """A receiver that can't write holds the sender, without an error; halted, it writes nothing more."""
    testbench = Testbench(dut, write_stall=1.0)
    config = testbench.config
    await testbench.begin()
    await testbench.release("a", "b")
    frames = {"a": [], "b": []}
    for side in "ab":
        while len(frames[side]) < 2 * config.frame_slots:
            frames[side] += [frame for frame in [random_frame(testbench.rng, config, side)] if frame[1]]
        testbench.send(side, frames[side])
    longest = FrameSizes(config).flits(config.frame_words)
    await tick(dut, longest * 2 * config.frame_slots + 100)
    for side in "ab":
        assert len(testbench.headers_of(side, FrameKind.DATA)) == config.frame_slots
        assert testbench.arrivals[side].events == []
        testbench.arrivals[side].stall = 0.5
    for side in "ab":
        await testbench.arrive(side, len(events_of(frames[OTHER[side]])) // 2)
        getattr(dut, f"{side}_halt").value = 1
        await tick(dut, 2)
        count = len(testbench.arrivals[side].events)
        await tick(dut, 200)
        assert testbench.arrivals[side].events == events_of(frames[OTHER[side]])[:count]
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
        assert 0.85 <= rate < 1
        assert testbench.wires[side].gaps == 0
    testbench.no_error()
