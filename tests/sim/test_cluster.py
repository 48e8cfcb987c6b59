"""The native cluster simulator: its Python side with stand-ins for the program, and whole runs on real nodes."""

import os
import re
import shlex
import stat
import subprocess
import sys

import numpy as np
import pytest

from superlip.boards import TARGETS
from superlip.rtl.config import PAGE
from superlip.rtl.isa import INSTRUCTION_BYTES, Memory, Opcode, Region, Unit, encode
from superlip.rtl.ports import UnitError
from superlip.rtl.registers import registers
from superlip.sim.cluster import Cut, Delay, Flip, HostStop, Progress, SimulationError, Simulator, Waves

TINY = TARGETS["tiny"]
TN = TINY.node.tn
WORDS = 100
SOURCE, RESULT, PROGRAM = 0, 1 << 16, 1 << 20  # byte addresses in DRAM


def stand_in(tmp_path, body):
    """A Simulator whose program is a Python script: what the native one prints, without building it."""
    (tmp_path / "simulator.py").write_text(f"import sys, time, os, signal\n{body}\n")
    script = tmp_path / "simulator"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$0.py" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return Simulator(TINY, script)


def processes_of(script):
    """Children of this process that run it: other workers may run the same simulator."""
    command = ["pgrep", "-P", str(os.getpid()), "-f", str(script)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_a_message_of_the_program_is_the_error(tmp_path):
    sim = stand_in(tmp_path, 'sys.stderr.write("can\'t write outputs.bin: No space left on device"); sys.exit(1)')
    with pytest.raises(SimulationError, match=r"^can't write outputs.bin: No space left on device$"):
        sim.run(boards=1, programs=[0])


def test_a_program_that_dies_is_an_error(tmp_path):
    sim = stand_in(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(SimulationError, match="SIGKILL"):
        sim.run(boards=1, programs=[0])
    sim = stand_in(tmp_path, "print('image 0 0 1 2')")
    with pytest.raises(SimulationError, match="exit code 0"):
        sim.run(boards=1, programs=[0])


def test_an_interrupt_ends_the_program_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    sim = stand_in(tmp_path, "print('progress 0 100', flush=True); time.sleep(100)")

    def interrupt(progress):
        assert progress == Progress(0, 1, 100)
        assert processes_of(sim.executable)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim.run(boards=1, programs=[0], progress=interrupt)
    assert not processes_of(sim.executable)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simulator", "simulator.py"]


def test_the_child_is_in_a_session_of_its_own(tmp_path):
    """So that Ctrl-C in a terminal reaches Python alone, which ends the child."""
    sim = stand_in(tmp_path, "sys.stderr.write(str(os.getsid(0))); sys.exit(1)")
    with pytest.raises(SimulationError) as caught:
        sim.run(boards=1, programs=[0])
    assert int(str(caught.value)) != os.getsid(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boards": 3}, "boards must be 1 to 2, not 3"),
        ({"programs": [0]}, "programs must have one item for each of 2 boards, not 1"),
        ({"dram": [[(64 << 20, b"x")], []]}, "DRAM of node 0: bytes 67108864 to 67108865 are outside"),
        ({"outputs": [(2, 0, 8)]}, "output: there is no node 2"),
        ({"inputs": [[(0, -1, b"xx")]]}, "input of image 0: bytes -1 to 1 are outside"),
        ({"waves": Waves("x.vcd", 0, 9)}, "waves=True"),
        ({"faults": [3]}, "3 is no fault"),
    ],
)
def test_arguments_are_checked(tmp_path, changes, message):
    sim = stand_in(tmp_path, "raise AssertionError('it must not run')")
    with pytest.raises(ValueError, match=re.escape(message)):
        sim.run(**({"boards": 2, "programs": [0, 0]} | changes))


def exchange(node, *, words=WORDS, source=SOURCE):
    """Program of a node that sends ``words`` words of its DRAM to the other, which stores them in its own."""
    other = 1 - node
    return b"".join(
        [
            encode(Opcode.LOAD, tag=1, post={Unit.SEND}, memory=Memory.ACT, local=0, count0=words, count1=1, count2=1,
                   dram=source // TN),
            encode(Opcode.SEND, tag=2, waits={Unit.LOAD: 1}, memory=Memory.ACT, local=0, count0=words, count1=1,
                   count2=1, node=other, remote_memory=Memory.ACT, remote=1000, remote_post=1, remote_unit=Unit.STORE,
                   remote_counter=6),
            encode(Opcode.STORE, tag=3, waits={6: 1}, memory=Memory.ACT, local=1000, count0=words, count1=1, count2=1,
                   dram=RESULT // TN),
            encode(Opcode.END),
        ]
    )  # fmt: skip


def run_exchange(sim, *, images=3, programs=None, **options):
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, (images, 2, WORDS * TN), np.uint8)
    programs = programs or [exchange(0), exchange(1)]
    result = sim.run(
        boards=2,
        programs=[PROGRAM, PROGRAM],
        dram=[[(PROGRAM, program)] for program in programs],
        inputs=[[(n, SOURCE, image[n]) for n in range(2)] for image in data],
        outputs=[(n, RESULT, WORDS * TN) for n in range(2)],
        **options,
    )
    return data, result


def same(a, b):
    fields = ("cycles", "node_cycles", "starts", "trace", "profile", "lost", "loaded", "fetched", "stored", "sent")
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields) and all(
        np.array_equal(x, y) for p, q in zip(a.outputs, b.outputs, strict=True) for x, y in zip(p, q, strict=True)
    )


def test_nodes_exchange_their_data(tiny):
    data, result = run_exchange(tiny, progress=True)
    result.check()
    for image, (first, second) in zip(data, result.outputs, strict=True):
        np.testing.assert_array_equal(first, image[1])
        np.testing.assert_array_equal(second, image[0])
    assert result.cycles.shape == (3,) and (result.cycles == result.node_cycles.max(axis=1)).all()
    # One after the other: fetch, LOAD and the answer to STORE with their latency, the words out of DRAM, over the link,
    # into DRAM.
    moving = 2 * WORDS * TN / TINY.dram.bytes_per_cycle + WORDS * TN / TINY.link.bytes_per_cycle
    least = 3 * TINY.dram.latency + TINY.link.latency + moving
    assert (result.cycles > least).all() and (result.cycles < 1.3 * least).all()
    assert (result.loaded == 3 * WORDS * TN).all() and (result.stored == 3 * WORDS * TN).all()
    assert (result.sent > 3 * WORDS * TN).all()
    assert (result.fetched >= 3 * 4 * INSTRUCTION_BYTES).all()


def test_the_profile_counts_by_unit_and_tag(tiny):
    _, result = run_exchange(tiny, images=2)
    profile = result.profile[(result.profile["node"] == 1) & (result.profile["image"] == 1)]
    by_unit = {Unit(r["unit"]): r for r in profile if r["taken"]}
    assert {unit: (r["tag"], r["taken"]) for unit, r in by_unit.items()} == {
        Unit.LOAD: (1, 1), Unit.SEND: (2, 1), Unit.STORE: (3, 1),
    }  # fmt: skip
    load, send, store = (by_unit[unit] for unit in (Unit.LOAD, Unit.SEND, Unit.STORE))
    assert 0 < load["first_taken"] < load["last_done"] < send["last_done"] < store["last_done"]
    assert store["last_done"] <= result.node_cycles[1, 1]
    assert load["busy"] == load["last_done"] - load["first_taken"]
    assert (load["bytes"], store["bytes"]) == (WORDS * TN, WORDS * TN)
    assert WORDS * TN < send["bytes"] < 1.3 * WORDS * TN  # with headers and credits
    waits = result.profile[(result.profile["unit"] == Unit.STORE) & (result.profile["tag"] == 3)]
    assert (waits["waiting"] > 0).all() and (waits["waiting"] == waits["lacking"][:, 6]).all()


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"threads": 7}])
def test_threads_change_nothing(tiny, options):
    assert same(run_exchange(tiny)[1], run_exchange(tiny, **options)[1])


def test_without_a_profile(tiny):
    _, result = run_exchange(tiny, profile=False)
    assert not len(result.profile)
    np.testing.assert_array_equal(result.cycles, run_exchange(tiny)[1].cycles)


def test_one_board_and_init_programs(tiny):
    """The init program loads a word, each frame stores it; there is nothing to receive."""
    init = encode(Opcode.LOAD, count0=1, count1=1, count2=1, dram=5) + encode(Opcode.END)
    frame = encode(Opcode.STORE, count0=1, count1=1, count2=1, dram=RESULT // TN) + encode(Opcode.END)
    result = tiny.run(
        boards=1, programs=[PROGRAM + 4096], init_programs=[PROGRAM], outputs=[(0, RESULT, TN)], inputs=[[]] * 2,
        dram=[[(PROGRAM, init), (PROGRAM + 4096, frame), (5 * TN, b"superlip")]],
    ).check()  # fmt: skip
    assert [bytes(image[0]) for image in result.outputs] == [b"superlip"] * 2
    assert result.init_cycles > TINY.dram.latency * 2
    assert not result.sent.any() and not len(result.trace)


def test_the_host_computes_between_programs(tiny):
    """The nodes exchange their data, the host adds 1 to what has come, and they exchange it again."""

    def compute(image, raw):
        assert image in range(3) and [len(part) for part in raw] == [WORDS * TN] * 2
        return [(node, SOURCE, part + np.uint8(1)) for node, part in enumerate(raw)]

    stop = HostStop([(n, RESULT, WORDS * TN) for n in range(2)], compute, [PROGRAM, PROGRAM])
    data, result = run_exchange(tiny, host=[stop])
    result.check()
    for image, outputs in zip(data, result.outputs, strict=True):
        np.testing.assert_array_equal(outputs, image + np.uint8(1))
    _, once = run_exchange(tiny)
    assert (result.cycles >= 1.9 * once.cycles).all() and (result.cycles <= 2.1 * once.cycles).all()
    assert (result.cycles == result.node_cycles.max(axis=1)).all()
    assert (np.diff(result.starts) > result.cycles[:-1]).all()
    worked = result.profile[result.profile["taken"] > 0]
    first, second = (worked[worked["segment"] == segment] for segment in range(2))
    assert len(first) == len(second) and (result.stored == 2 * once.stored).all()
    for record in second:
        assert once.cycles.min() * 0.9 < record["first_taken"] < record["last_done"] < result.cycles[record["image"]]


def test_what_a_host_stop_may_not_do(tiny):
    def wrong(image, raw):
        raise ZeroDivisionError

    outside = HostStop([], lambda image, raw: [(2, 0, b"12345678")], [PROGRAM, PROGRAM])
    with pytest.raises(ValueError, match="result of host stop 0: there is no node 2"):
        run_exchange(tiny, host=[outside])
    with pytest.raises(ZeroDivisionError):
        run_exchange(tiny, host=[HostStop([], wrong, [PROGRAM, PROGRAM])])
    with pytest.raises(ValueError, match="programs of host stop 0 must have one item for each of 2 boards"):
        run_exchange(tiny, host=[HostStop([], wrong, [PROGRAM])])
    assert not processes_of(tiny.executable)


def test_a_failure_behind_a_host_stop(tiny):
    """Its cycle counts from the start of the image."""
    bad = encode(Opcode.STORE, memory=Memory.ACT, local=1 << 19, count0=1, count1=1, count2=1) + encode(Opcode.END)
    stop = HostStop([], lambda image, raw: [(0, PROGRAM, bad)], [PROGRAM, PROGRAM])
    _, result = run_exchange(tiny, images=1, host=[stop], watchdog=2000)
    _, once = run_exchange(tiny, images=1)
    assert result.errors[0].node == 0 and result.errors[0].unit == "STORE" and result.errors[0].cycle > once.cycles[0]
    assert not len(result.cycles)


def test_a_late_start_delays_by_as_much(tiny):
    data, late = run_exchange(tiny, faults=[Delay(1, 500)])
    _, result = run_exchange(tiny)
    np.testing.assert_array_equal(late.check().outputs[0][0], data[0][1])
    # The other's words are there when it starts: its STORE takes bandwidth from its LOAD.
    shared = WORDS * TN / TINY.dram.bytes_per_cycle
    assert 500 <= late.cycles[0] - result.cycles[0] <= 500 + shared + 20


def test_a_flipped_bit_is_noticed(tiny):
    _, result = run_exchange(tiny, faults=[Flip(0, 20, 5)], watchdog=5000)
    assert result.errors[0].code is UnitError.LINK and result.errors[0].node == 1
    with pytest.raises(SimulationError, match=r"node 1, image 0, cycle \d+: link: a frame had a wrong CRC"):
        result.check()


def test_a_cut_link_is_noticed_by_the_watchdog(tiny):
    _, result = run_exchange(tiny, faults=[Cut(0, 50)], watchdog=2000)
    assert not len(result.cycles) and not result.outputs
    assert {error.code for error in result.errors} == {UnitError.WATCHDOG}
    store = next(s for s in result.states if s.node == 1 and s.unit is Unit.STORE)
    assert store.lacking == ("remote 6",) and store.waiting and str(store) in result.failure()


def test_a_failure_in_the_second_image_keeps_the_first(tiny):
    _, one = run_exchange(tiny, images=1)
    flits = int(one.sent[0]) // TINY.node.link_bytes
    data, result = run_exchange(tiny, faults=[Cut(0, flits + 20)], watchdog=2000)
    assert len(result.cycles) == len(result.outputs) == 1 and {error.image for error in result.errors} == {1}
    np.testing.assert_array_equal(result.outputs[0][1], data[0][0])


def test_a_limit_of_cycles(tiny):
    _, result = run_exchange(tiny, max_cycles=100)
    assert result.late == [0, 1] and "did not finish" in result.failure()


def test_outside_the_dram(tiny):
    beyond = TINY.dram.megabytes << 20
    programs = [exchange(0, source=beyond), exchange(1)]
    _, result = run_exchange(tiny, programs=programs, watchdog=3000)
    page = (beyond + WORDS * TN) // PAGE
    said = f"LOAD: DRAM outside its region: what it wants goes on to page {page:#x} of the bus"
    assert str(result.errors[0]).endswith(said)
    regions = [dict.fromkeys(Region, (0, 2 * beyond))] * 2  # larger than the memory
    _, result = run_exchange(tiny, programs=programs, watchdog=3000, regions=regions)
    assert str(result.errors[0]).endswith("LOAD: a read on AXI port 0 was answered with DECERR")


def test_a_full_disk_is_reported(tiny, tmp_path):
    """The program itself, with a limit on the size of files in place of a full disk."""
    size = next(r.offset for r in registers() if r.name == "PROGRAMS_SIZE_LO")
    job = f"boards 1\nimages 1\noutput 0 0 4000000\nprogram 0 0 0\nregister 0 {size} {PAGE}\n"
    (tmp_path / "bytes.bin").write_bytes(b"")
    (tmp_path / "end.bin").write_bytes(encode(Opcode.END))
    (tmp_path / "job.txt").write_text(job + f"memory 0 0 {INSTRUCTION_BYTES} 0\n")
    (tmp_path / "bytes.bin").write_bytes(encode(Opcode.END))
    command = f"trap '' XFSZ; ulimit -f 100; exec {tiny.executable} job.txt bytes.bin ."
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "can't write" in done.stderr and "File too large" in done.stderr
    assert not list(tmp_path.glob("*.partial")) and not (tmp_path / "outputs.bin").exists()


@pytest.mark.slow
def test_waves_and_the_same_cycles_in_the_build_for_them(tiny, tmp_path):
    waves = Simulator.build(TINY, waves=True)
    _, plain = run_exchange(tiny)
    _, result = run_exchange(waves, waves=Waves(tmp_path / "dump.vcd", int(plain.starts[1]), int(plain.starts[1]) + 50))
    assert same(plain, result)
    for node in range(2):
        text = (tmp_path / f"dump-{node}.vcd").read_text()
        times = [int(t) for t in re.findall(r"^#(\d+)$", text, re.MULTILINE)]
        assert times[0] == 10 * plain.starts[1] and times[-1] == 10 * (plain.starts[1] + 50) + 5
        assert "now_link_rx_payload" in text
