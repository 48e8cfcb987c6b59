"""The simulator's DRAM and link models: what they promise, and that C++ and Python are the same cycle for cycle."""

import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import superlip.sim
from superlip.boards import TARGETS, Link
from superlip.sim.models import Address, Dram, DramTiming, LinkThrottle, Wire, link_rate, timing
from superlip.tools.toolchain import MissingToolError, find_toolchain

ONE = 1 << 16
SIZE = 1 << 16


@pytest.fixture(scope="session")
def native(tmp_path_factory):
    """The C++ models behind a program that reads what the node drives and prints what they drive."""
    try:
        compiler = find_toolchain().cxx
    except MissingToolError as error:
        pytest.skip(str(error))
    program = tmp_path_factory.mktemp("native") / "models"
    include = Path(next(iter(superlip.sim.__path__))) / "native"
    source = Path(__file__).with_name("native_models.cpp")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{include}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(program)], check=True)

    def run(*arguments, lines):
        text = "\n".join(lines) + "\n"
        return subprocess.run(
            [str(program), *map(str, arguments)], input=text, capture_output=True, text=True, check=False
        )

    return run


def fresh_memory():
    return bytearray((i * 7 + (i >> 8)) & 255 for i in range(SIZE))


@dataclass
class Manager:
    """A node's port: keeps the queued bursts going, with pauses; records beats as (cycle, id, data, resp, last)."""

    port: object
    bytes: int
    rng: random.Random
    idle: float = 0.0
    reads: list = field(default_factory=list)  # (id, address, beats)
    writes: list = field(default_factory=list)  # (id, address, list of (seed, strobe))
    beats: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    addresses: list = field(default_factory=list)
    data: list = field(default_factory=list)
    seed: int = 0

    def drive(self):
        """What this port drives in the coming cycle: new things at random, held ones always."""
        port, busy = self.port, self.rng.random() >= self.idle
        if not port.ar.valid and self.reads and busy:
            identity, address, beats = self.reads.pop(0)
            port.ar = Address(True, identity, address, beats - 1)
        if not port.aw.valid and self.writes and self.rng.random() >= self.idle:
            identity, address, beats = self.writes.pop(0)
            port.aw = Address(True, identity, address, len(beats) - 1)
            self.data += [(*beat, i == len(beats) - 1) for i, beat in enumerate(beats)]
        if not port.wvalid and self.data and self.rng.random() >= self.idle:
            self.seed, port.wstrb, port.wlast = self.data.pop(0)
            port.wdata = bytes((self.seed + i) & 255 for i in range(self.bytes))
            port.wvalid = True
        port.rready = self.rng.random() >= self.idle
        port.bready = self.rng.random() >= self.idle

    def line(self):
        """The same as a line for the C++ program."""
        p = self.port
        size = self.bytes.bit_length() - 1
        return (
            f"{p.ar.valid:d} {p.ar.id} {p.ar.address} {p.ar.len} {size} {p.rready:d} {p.aw.valid:d} {p.aw.id} "
            f"{p.aw.address} {p.aw.len} {p.wvalid:d} {self.seed} {p.wstrb:x} {p.wlast:d} {p.bready:d}"
        )

    def transfer(self, t):
        """Note what is transferred in cycle t; returns what falls after it."""
        p = self.port
        if p.rvalid and p.rready:
            self.beats.append((t, p.rid, p.rdata, p.rresp, p.rlast))
        if p.bvalid and p.bready:
            self.answers.append((t, p.bid, p.bresp))
        if p.ar.valid and p.arready:
            self.addresses.append(t)
        return p.ar.valid and p.arready, p.aw.valid and p.awready, p.wvalid and p.wready

    def release(self, taken):
        ar, aw, w = taken
        if ar:
            self.port.ar = Address()
        if aw:
            self.port.aw = Address()
        if w:
            self.port.wvalid = False


def show(port):
    """What the port drives, as the C++ program prints it."""
    flags = (port.arready, port.awready, port.wready, port.rvalid, port.bvalid)
    text = "".join(str(int(f)) for f in flags) + " "
    if port.rvalid:
        text += f"{port.rid} {port.rresp} {port.rlast:d} {port.rdata.hex()}"
    if port.bvalid:
        text += f" {port.bid} {port.bresp}"
    return text


def simulate(model, managers, cycles):
    """Step the model; returns the stimulus and what the ports drove after each cycle, as lines."""
    stimulus, seen = [], []
    for t in range(cycles):
        for manager in managers:
            manager.drive()
        stimulus += [manager.line() for manager in managers]
        taken = [manager.transfer(t) for manager in managers]
        model.step(t)
        for manager, what in zip(managers, taken, strict=True):
            manager.release(what)
        seen += [show(manager.port) for manager in managers]
    return stimulus, seen


def build(dram_timing, *, ports=1, axi_bytes=8, idle=0.0, seed=1):
    model = Dram(fresh_memory(), dram_timing, ports=ports, axi_bytes=axi_bytes)
    rng = random.Random(seed)
    return model, [Manager(port, axi_bytes, rng, idle) for port in model.ports]


def random_bursts(rng, axi_bytes, *, writes):
    """Bursts inside 4 KiB; some beyond the memory."""
    beats = rng.randint(1, 32)
    room = 4096 // axi_bytes - beats
    address = 4096 * rng.randrange(SIZE // 4096 + 1) + axi_bytes * rng.randint(0, room)
    if writes:
        return (
            rng.randrange(2),
            address,
            [(rng.randrange(256), rng.getrandbits(min(axi_bytes, 32))) for _ in range(beats)],
        )
    return rng.randrange(2), address, beats


@pytest.mark.parametrize("idle", [0.0, 0.4])
@pytest.mark.parametrize(
    ("ports", "axi_bytes", "rate", "overhead", "latency"),
    [(1, 8, 8 * ONE, 8 * ONE, 40), (4, 16, 64 * ONE, 32 * ONE, 60), (2, 4, 205_537, 1234, 0), (1, 16, 40 * ONE, 0, 7)],
)
def test_dram_is_the_same_in_cpp(native, ports, axi_bytes, rate, overhead, latency, idle):
    model, managers = build(DramTiming(rate, overhead, latency), ports=ports, axi_bytes=axi_bytes, idle=idle)
    rng = random.Random(ports)
    for manager in managers:
        manager.reads = [random_bursts(rng, axi_bytes, writes=False) for _ in range(30)]
        manager.writes = [random_bursts(rng, axi_bytes, writes=True) for _ in range(30)]
    stimulus, seen = simulate(model, managers, 4000)
    done = native("dram", rate, overhead, latency, ports, axi_bytes, SIZE, lines=stimulus)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert lines == seen
    total = 0
    for byte in model.contents:
        total = (total * 31 + byte) & (1 << 64) - 1
    assert int(last.split()[0]) == total
    assert sum(map(int, last.split()[1:3])) >= sum(len(m.beats) for m in managers) * axi_bytes > 0
    assert any(beat[3] for m in managers for beat in m.beats), "no burst outside the memory: a weak test"


@pytest.mark.parametrize("latency", [1, 2, 40])
def test_first_beat_comes_after_the_latency(latency):
    model, (manager,) = build(DramTiming(8 * ONE, 0, latency))
    manager.reads = [(0, 64, 4)]
    simulate(model, [manager], 100)
    assert [beat[0] - manager.addresses[0] for beat in manager.beats] == [latency + i for i in range(4)]
    expected = fresh_memory()[64:96]
    assert b"".join(beat[2] for beat in manager.beats) == expected
    assert [beat[4] for beat in manager.beats] == [False, False, False, True]


@pytest.mark.parametrize(("rate", "overhead", "beats"), [(8, 0, 64), (3.125, 0, 64), (8, 2, 16), (5.5, 1.5, 8)])
def test_bandwidth_and_overhead_are_exact_in_the_long_run(rate, overhead, beats):
    bursts = 40
    model, (manager,) = build(DramTiming(int(rate * ONE), int(overhead * rate * ONE), 10))
    manager.reads = [(0, 512 * (i % 64), beats) for i in range(bursts)]
    simulate(model, [manager], int(bursts * (beats * 8 / rate + overhead)) + 100)
    assert len(manager.beats) == beats * bursts
    cycles = manager.beats[-1][0] - manager.beats[0][0]
    assert cycles == pytest.approx(bursts * (beats * 8 / rate + overhead), abs=8 / rate + overhead + 2)


def test_ports_begin_a_burst_for_one_overhead():
    together, managers = build(DramTiming(32 * ONE, 2 * 32 * ONE // 4, 5), ports=4)
    for manager in managers:
        manager.reads = [(0, 512 * i, 16) for i in range(32)]
    simulate(together, managers, 1000)
    cycles = managers[0].beats[-1][0] - managers[0].beats[0][0]
    assert cycles == pytest.approx(32 * (16 + 2), abs=4)


def test_reads_and_writes_of_all_ports_share_fairly():
    model, managers = build(DramTiming(24 * ONE, 0, 10), ports=2, axi_bytes=16)
    for manager in managers:
        manager.reads = [(0, 0, 64)] * 100
        manager.writes = [(0, 1024, [(1, 0xFFFF)] * 64)] * 100
    simulate(model, managers, 4000)
    counts = [len(m.beats) for m in managers] + [64 * len(m.answers) for m in managers]
    assert sum(counts) * 16 == pytest.approx(24 * 4000, rel=0.03)
    assert max(counts) - min(counts) <= 130  # a burst of 64 counts as a whole


def test_a_write_is_answered_after_the_latency_and_can_be_read_then():
    model, (manager,) = build(DramTiming(8 * ONE, 0, 20))
    manager.writes = [(1, 256, [(9, 0x0F), (70, 0xFF)])]
    simulate(model, [manager], 60)
    expected = fresh_memory()
    expected[256:260] = bytes(range(9, 13))
    expected[264:272] = bytes(range(70, 78))
    assert model.contents == expected
    assert manager.answers == [(21, 1, 0)]  # the second beat is taken, and granted, in cycle 1


def test_outside_the_memory_is_answered_with_decerr():
    model, (manager,) = build(DramTiming(8 * ONE, 0, 3))
    manager.reads = [(1, SIZE, 2), (0, SIZE - 8, 1)]
    manager.writes = [(0, SIZE, [(5, 255)]), (1, 0, [(5, 255)])]
    simulate(model, [manager], 60)
    assert [(beat[1], beat[3]) for beat in manager.beats] == [(1, 3), (1, 3), (0, 0)]
    assert [answer[1:] for answer in manager.answers] == [(0, 3), (1, 0)]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("1 0 4 0 3 1 0 0 0 0 0 0 0 0 1", "", "not aligned"),
        ("1 0 0 0 2 1 0 0 0 0 0 0 0 0 1", "", "size 2"),
        ("1 0 4088 1 3 1 0 0 0 0 0 0 0 0 1", "", "crosses 4 KiB"),
        ("0 0 0 0 3 1 1 0 0 3 1 0 ff 1 1", "", "last is not on the last beat"),
    ],
)
def test_what_no_manager_may_do_ends_the_simulation(native, first, second, message):
    done = native("dram", 8 * ONE, 0, 1, 1, 8, SIZE, lines=[first, second])
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("rate", [3.125, 8, 25, 0.7])
def test_link_is_the_same_in_cpp_and_has_its_bandwidth(native, rate):
    flit_bytes, latency, cycles = 8, 32, 3000
    throttle, wire, rng = (
        LinkThrottle(link_rate(Link(bytes_per_cycle=rate)), flit_bytes),
        Wire(latency),
        random.Random(3),
    )
    lines, seen, sent, valid, number = [], [], [], False, 0
    for t in range(cycles):
        arrived = wire.pop(t)
        valid = valid or t < cycles // 2 or rng.random() < 0.3
        lines.append(f"{valid:d} {number}")
        seen.append(f"{throttle.ready:d} {-1 if arrived is None else arrived}")
        if throttle.step(valid):
            wire.push(t, number)
            sent.append(t)
            valid, number = False, number + 1
    done = native("link", link_rate(Link(bytes_per_cycle=rate)), flit_bytes, latency, lines=lines)
    assert done.stdout.splitlines() == seen
    busy = sum(t < cycles // 2 for t in sent)
    assert busy * flit_bytes == pytest.approx(min(rate, flit_bytes) * cycles / 2, abs=flit_bytes + rate)
    arrivals = [t for t, line in enumerate(seen) if not line.endswith("-1")]
    assert arrivals == [t + latency for t in sent if t + latency < cycles]


def test_timing_of_a_target():
    target = TARGETS["zcu102"]
    t = timing(target.dram, target.node)
    assert (t.rate, t.burst_overhead, t.latency) == (64 * ONE, 32 * ONE, 60)
    with pytest.raises(ValueError, match="bandwidth"):
        link_rate(Link(bytes_per_cycle=0))
