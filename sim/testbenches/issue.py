"""Issue against a model in Python: order, waits, posts, counters cycle by cycle; overflow of a counter."""

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import COUNTERS, FORMATS, HEADER, Opcode, Unit, encode
from superlip.rtl.issue import Issue
from superlip.rtl.ports import UnitError
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import Source, settle, start, tick

CASES = {
    "vector": {"unit": Unit.VECTOR, "depth": 16},
    "feed": {"unit": Unit.FEED, "depth": 2},
}


def build(unit, depth):
    return Issue(NodeConfig(queue_depth=depth), unit)


def random_field(field, random):
    low, high = field.range
    return random.choice((low, high, random.randint(low, high)))


def random_program(random, count):
    opcode = Opcode(int(case()["unit"]))
    program = []
    for _ in range(count):
        body = {f.name: random_field(f, random) for f in FORMATS[opcode].fields}
        waits = {s: random.choice((1, 2, 3, 63)) for s in range(COUNTERS) if random.random() < 0.15}
        program.append({"tag": random.getrandbits(16), "waits": waits, "post": random.getrandbits(8), "body": body})
    return opcode, program


def word_of(opcode, item):
    raw = encode(opcode, tag=item["tag"], waits=item["waits"], post=item["post"], **item["body"])
    return int.from_bytes(raw, "little")


def quiet(dut):
    dut.post.value = dut.done.value = dut.stalled.value = dut.halt.value = dut.instr__ready.value = 0


@cocotb.test()
async def matches_model(dut):
    """2000 random instructions' worth of cycles; posts arrive in bursts, some in the cycle of a take."""
    random = rng()
    opcode, program = random_program(random, 300)
    width = HEADER.width + FORMATS[opcode].width
    quiet(dut)
    source = Source(dut, "i", rng=random, idle=0.3)
    await start(dut)
    sending = cocotb.start_soon(source.send([word_of(opcode, item) for item in program]))

    counters, taken, flying, done_count = [0] * COUNTERS, 0, [], 0
    for cycle in range(60_000):
        if done_count == len(program):
            break
        post = random.getrandbits(8) & random.getrandbits(8)
        if cycle // 128 % 2:  # few: then instructions wait for one source alone
            post &= random.getrandbits(8) & random.getrandbits(8)
        post &= sum(1 << s for s in range(COUNTERS) if counters[s] < 200)
        done = bool(flying) and random.random() < 0.4
        dut.post.value, dut.done.value = post, done
        dut.instr__ready.value = int(random.random() < 0.7)
        stalled, halt = random.getrandbits(1), int(random.random() < 0.1)
        dut.stalled.value, dut.halt.value = stalled, halt
        await settle()
        assert [int(getattr(dut, f"counters__{s}").value) for s in range(COUNTERS)] == counters
        assert int(dut.posts.value) == (program[flying[0]]["post"] if done else 0)
        lacking = {}
        if taken < len(program):
            lacking = {s for s, n in program[taken]["waits"].items() if counters[s] < n}
        if dut.instr__valid.value == 1:
            assert not halt
            assert not lacking, f"instruction {taken} offered, lacking {lacking}"
            expected = word_of(opcode, program[taken]) & ((1 << width) - 1)
            assert int(dut.instr__payload.value) == expected
        status = int(dut.status.value)
        # What is lacking is said from when the instruction has come to the head of the queue.
        said = {s for s in range(COUNTERS) if status >> (3 + s) & 1}
        assert said in (set(), lacking)
        assert status & 7 == (1 | stalled << 1 if flying else bool(said) << 2)
        if flying:
            assert status >> 11 == program[flying[0]]["tag"]
            assert dut.idle.value == 0
        elif said:
            assert status >> 11 == program[taken]["tag"]
            assert dut.idle.value == 0
        if done:
            flying.pop(0)
            done_count += 1
        if dut.instr__valid.value == 1 and dut.instr__ready.value == 1:
            assert dut.taken.value == 1
            for s, n in program[taken]["waits"].items():
                counters[s] -= n
            flying.append(taken)
            taken += 1
        for s in range(COUNTERS):
            counters[s] += post >> s & 1
        await RisingEdge(dut.clk)
    assert done_count == len(program)
    await sending
    quiet(dut)
    await settle()
    assert dut.idle.value == 1
    assert dut.error.value == 0


@cocotb.test()
async def last_post_of_a_wait(dut):
    """One instruction alone, for each source and numbers of posts: offered with the last of them, not before."""
    random = rng()
    quiet(dut)
    source = Source(dut, "i", rng=random)
    await start(dut)
    opcode, _ = random_program(random, 0)
    numbers = [(s, n) for s in range(COUNTERS) for n in (1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63)]
    for s, n in random.sample(numbers, len(numbers)):
        await source.send([int.from_bytes(encode(opcode, tag=n, waits={s: n}, post=1), "little")])
        await tick(dut, 2)
        for _ in range(n):
            await settle()
            assert dut.instr__valid.value == 0
            assert int(dut.status.value) == 1 << 2 | 1 << (3 + s) | n << 11, (s, n)
            assert dut.idle.value == 0
            await RisingEdge(dut.clk)
            dut.post.value = 1 << s
            await RisingEdge(dut.clk)
            dut.post.value = 0
        dut.instr__ready.value = 1
        await settle()
        assert dut.taken.value == 1
        await RisingEdge(dut.clk)
        dut.instr__ready.value, dut.done.value = 0, 1
        await settle()
        assert (int(dut.posts.value), int(dut.counters__0.value), dut.idle.value) == (1, 0, 0)
        await RisingEdge(dut.clk)
        dut.done.value = 0
        await settle()
        assert dut.idle.value == 1 and dut.status.value == 0
        await RisingEdge(dut.clk)


@cocotb.test()
async def one_a_cycle(dut):
    """Without waits a ready unit gets an instruction in every cycle, as long as it finishes them."""
    random = rng()
    opcode, _ = random_program(random, 0)
    quiet(dut)
    source = Source(dut, "i", rng=random)
    await start(dut)
    dut.instr__ready.value = 1
    cocotb.start_soon(source.send([int.from_bytes(encode(opcode, tag=i), "little") for i in range(100)]))
    await RisingEdge(dut.taken)
    for cycle in range(100):
        dut.done.value = int(cycle > 0)
        await settle()
        assert dut.taken.value == 1, f"no instruction in cycle {cycle}"
        await RisingEdge(dut.clk)


@cocotb.test()
async def in_flight_limit(dut):
    """A unit that never finishes is given eight instructions, not more."""
    quiet(dut)
    source = Source(dut, "i", rng=rng())
    await start(dut)
    dut.instr__ready.value = 1
    opcode = Opcode(int(case()["unit"]))
    cocotb.start_soon(source.send([int.from_bytes(encode(opcode, tag=i), "little") for i in range(9)]))
    count = 0
    for _ in range(60):
        await RisingEdge(dut.clk)
        count += int(dut.taken.value)
    assert count == 8
    dut.done.value = 1
    await RisingEdge(dut.clk)
    dut.done.value = 0
    await tick(dut, 2)
    assert int(dut.status.value) >> 11 == 1


@cocotb.test()
async def full_queue(dut):
    """A unit that takes nothing leaves ``queue_depth`` instructions in the queue, one in front of it; none is lost."""
    random = rng()
    quiet(dut)
    source = Source(dut, "i", rng=random)
    await start(dut)
    opcode, depth = Opcode(int(case()["unit"])), case()["depth"]
    count = 3 * depth
    cocotb.start_soon(source.send([int.from_bytes(encode(opcode, tag=i), "little") for i in range(count)]))
    accepted = 0
    for _ in range(count + 10):
        await RisingEdge(dut.clk)
        accepted += int(dut.i__ready.value and dut.i__valid.value)
    assert accepted == depth + 1
    dut.instr__ready.value = 1
    for number in range(count):
        dut.done.value = int(number > 0)
        await settle()
        assert dut.taken.value == 1
        assert int(dut.instr__payload.value) >> 4 & 0xFFFF == number
        await RisingEdge(dut.clk)


@cocotb.test()
async def overflow(dut):
    """The 1024th post without a take raises COUNTER, of the lowest source, and the unit gets no more instructions."""
    quiet(dut)
    source = Source(dut, "i", rng=rng())
    await start(dut)
    unit = int(case()["unit"])
    for lanes in (*(1 << s for s in range(COUNTERS)), *(0xFF << s & 0xFF for s in range(COUNTERS))):
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        full = [1023 * (lanes >> s & 1) for s in range(COUNTERS)]
        dut.post.value = lanes
        await tick(dut, 1023)
        dut.post.value = 0
        await settle()
        assert dut.error.value == 0
        assert [int(getattr(dut, f"counters__{s}").value) for s in range(COUNTERS)] == full
        await RisingEdge(dut.clk)
        dut.post.value = lanes
        await RisingEdge(dut.clk)
        dut.post.value = 0
        await settle()
        error, lowest = int(dut.error.value), (lanes & -lanes).bit_length() - 1
        assert (error & 1, error >> 1 & 15, error >> 5) == (1, UnitError.COUNTER, unit << 8 | lowest)
        assert [int(getattr(dut, f"counters__{s}").value) for s in range(COUNTERS)] == full
        await RisingEdge(dut.clk)
    dut.instr__ready.value = 1
    cocotb.start_soon(source.send([int.from_bytes(encode(Opcode(unit)), "little")]))
    for _ in range(20):
        await RisingEdge(dut.clk)
        assert dut.instr__valid.value == 0
