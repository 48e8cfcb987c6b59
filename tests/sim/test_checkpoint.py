"""Checkpoints of the native simulator: however often a run is interrupted, its result is that of one that was not."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from nets import Builder
from paths import DIGITS

from superlip import api
from superlip.boards import TARGETS
from superlip.run.host import HostWork
from superlip.sim.checkpoint import Checkpoints, SimulationInterrupted
from superlip.sim.cluster import Delay, HostStop, SimulationError

TINY = TARGETS["tiny"]


def network(rng):
    """A graph that gives every unit work for thousands of cycles, and an image."""
    net = Builder(rng, (int(rng.integers(9, 20)), 12, 11))
    x = net.conv("image", 40, (3, 3), pads=(1, 1, 1, 1), table=True)
    x = net.add(net.conv(x, 40, (1, 1)), x)
    x = net.pool(x, "max", (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    x = net.mul(net.conv(x, 40, (1, 1)), x)
    x = net.conv(net.pool(x, "average", (2, 2)), 24, (3, 3), strides=(2, 1))
    return net.graph(x), net.image()


def workload(design, images, asked=None):
    """Arguments of ``Simulator.run``; ``asked`` collects (image, segment) of the host's stops."""
    compiled = design.compiled
    works = [HostWork(compiled, image) for image in images]

    def host(segment):
        def compute(image, raw):
            if asked is not None:
                asked.append((image, segment))
            return works[image].between(segment, [part.tobytes() for part in raw])

        programs = [board.programs[segment] for board in compiled.boards]
        return HostStop(compiled.host_ranges(segment), compute, programs)

    return {
        "boards": len(compiled.boards),
        "programs": [board.programs[0] for board in compiled.boards],
        "host": [host(segment) for segment in range(1, compiled.segments)],
        "init_programs": [board.init_program for board in compiled.boards],
        "dram": [board.dram.extents for board in compiled.boards],
        "inputs": [work.begin() for work in works],
        "outputs": compiled.output_ranges(),
        "stripe": compiled.boards[0].dram.stripe_bytes,
        "regions": [board.dram.regions for board in compiled.boards],
        "trace_images": "all",
    }


def same(a, b):
    """Everything but the wall time."""
    for field in dataclasses.fields(a):
        if field.name not in ("seconds", "runs"):
            np.testing.assert_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


def run_in_pieces(tiny, arguments, folder, stops, **options):
    """Interrupt a run in some cycles; returns its result and the cycles where it was interrupted."""
    seen = []
    for stop in sorted(stops):
        notes = []
        checkpoints = Checkpoints(folder, stop_at=stop, note=notes.append, **options)
        with pytest.raises(SimulationInterrupted) as caught:
            tiny.run(**arguments, checkpoints=checkpoints)
        assert caught.value.cycle >= stop
        assert notes == ([f"going on from cycle {seen[-1]:,}"] if seen else [])
        seen.append(caught.value.cycle)
    result = tiny.run(**arguments, checkpoints=Checkpoints(folder, **options))
    assert not any(folder.iterdir()), "a run that has ended leaves nothing"
    return result, seen


@pytest.mark.parametrize("boards", [1, 2])
def test_an_interrupted_run_gives_the_same_result(tiny, boards, seed, tmp_path):
    rng = np.random.default_rng(seed)
    graph, image = network(rng)
    arguments = workload(api.plan(graph, boards=boards, node=TINY), [image, image[:, ::-1].copy(), image])
    if boards == 2:
        arguments["faults"] = [Delay(1, 1000)]
    whole = tiny.run(**arguments).check()
    last = int(whole.starts[-1] + whole.cycles[-1] - 200)
    stops = np.unique(rng.integers(0, last, 12))
    pieces, seen = run_in_pieces(tiny, arguments, tmp_path, [int(stop) for stop in stops])
    same(pieces, whole)
    assert len(whole.trace) and len(whole.profile) and len(seen) == len(stops)


def test_host_stops_are_asked_again(tiny, seed, tmp_path):
    """A process that goes on has to know what the one before it has computed for this image."""
    rng = np.random.default_rng(seed)
    net = Builder(rng, (5, 9, 8))
    x = net.conv("image", 20, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(net.host(x), 18, (3, 3))
    x = net.conv(net.host(x), 20, (1, 1))
    design = api.plan(net.graph(x), boards=2, node=TINY)
    images = [net.image(), net.image()]
    whole = tiny.run(**workload(design, images)).check()
    stops = rng.integers(0, int(whole.starts[-1] + whole.cycles[-1] - 500), 8)
    for stop in map(int, sorted(stops)):
        with pytest.raises(SimulationInterrupted):  # new objects each time, as in a new process
            tiny.run(**workload(design, images), checkpoints=Checkpoints(tmp_path, stop_at=stop))
    asked = []
    same(tiny.run(**workload(design, images, asked), checkpoints=Checkpoints(tmp_path)), whole)
    assert asked[-1] == (1, 2)
    arguments = workload(design, images)

    def interrupt(image, raw):
        raise KeyboardInterrupt

    arguments["host"][1] = dataclasses.replace(arguments["host"][1], compute=interrupt)
    with pytest.raises(SimulationInterrupted):
        tiny.run(**arguments, checkpoints=Checkpoints(tmp_path))
    asked = []
    same(tiny.run(**workload(design, images, asked), checkpoints=Checkpoints(tmp_path)), whole)
    assert asked == [(0, 1), (0, 2), (1, 1), (1, 2)], "also the one that was answered before"


@pytest.fixture
def small(seed):
    graph, image = network(np.random.default_rng(seed))
    return workload(api.plan(graph, boards=1, node=TINY), [image])


def interrupted(tiny, arguments, folder, cycle=500):
    with pytest.raises(SimulationInterrupted) as caught:
        tiny.run(**arguments, checkpoints=Checkpoints(folder, stop_at=cycle))
    return caught.value.cycle


def test_a_checkpoint_belongs_to_one_job(tiny, small, tmp_path):
    interrupted(tiny, small, tmp_path)
    notes = []
    node, offset, data = small["inputs"][0][0]
    changed = bytearray(data)
    changed[0] ^= 1
    others = [
        small | {"inputs": [[(node, offset, bytes(changed)), *small["inputs"][0][1:]]]},
        small | {"stripe": small["stripe"] + 4096},
        small | {"trace_images": ()},
    ]
    for other in others:
        with pytest.raises(SimulationInterrupted):
            tiny.run(**other, checkpoints=Checkpoints(tmp_path, stop_at=500, note=notes.append))
    assert notes == []
    assert len(list(tmp_path.iterdir())) == 1 + len(others)


def test_fresh_begins_anew(tiny, small, tmp_path):
    interrupted(tiny, small, tmp_path)
    notes = []
    tiny.run(**small, checkpoints=Checkpoints(tmp_path, fresh=True, note=notes.append)).check()
    assert notes == [] and not list(tmp_path.iterdir())


def test_the_number_of_threads_may_change(tiny, seed, tmp_path):
    graph, image = network(np.random.default_rng(seed))
    arguments = workload(api.plan(graph, boards=2, node=TINY), [image])
    whole = tiny.run(**arguments, threads=1)
    interrupted(tiny, arguments | {"threads": 2}, tmp_path)
    same(tiny.run(**arguments, threads=1, checkpoints=Checkpoints(tmp_path)), whole)


@pytest.mark.parametrize("damage", ["short", "garbage", "no outputs", "short trace"])
def test_a_damaged_checkpoint_is_not_used(tiny, small, tmp_path, damage):
    whole = tiny.run(**small).check()
    interrupted(tiny, small, tmp_path, int(whole.starts[0] + whole.cycles[0] - 100))
    (folder,) = tmp_path.iterdir()
    match damage:
        case "short":
            os.truncate(folder / "checkpoint.bin", 5000)
        case "garbage":
            (folder / "checkpoint.bin").write_bytes(b"x" * 100)
        case "no outputs":
            (folder / "outputs.bin.partial").unlink()
        case "short trace":
            os.truncate(folder / "trace-0.bin.partial", 1)
    notes = []
    result = tiny.run(**small, checkpoints=Checkpoints(tmp_path, note=notes.append))
    same(result, whole)
    assert len(notes) == 1 and notes[0].startswith("beginning anew: the checkpoint can't be used")


def test_a_full_disk_is_a_warning(tiny, small, tmp_path):
    """/dev/full takes nothing: what is to become the checkpoint is a link to it."""
    small |= {"inputs": 20 * small["inputs"]}
    whole = tiny.run(**small)
    folder = tmp_path / "runs"
    interrupted(tiny, small, folder)
    (run,) = folder.iterdir()
    (run / "checkpoint.bin").unlink()
    (run / "checkpoint.bin.partial").symlink_to("/dev/full")
    notes = []
    result = tiny.run(**small, checkpoints=Checkpoints(folder, seconds=0, note=notes.append))
    assert notes and all(re.fullmatch("no checkpoint: can't write .*: No space left on device", note) for note in notes)
    same(result, whole)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tiny, small, tmp_path):
    """Nothing but what is written now and then."""
    small |= {"inputs": 60 * small["inputs"]}
    whole = tiny.run(**small)

    def kill(progress):
        if progress.images_done > 5 and any(tmp_path.glob("*/checkpoint.bin")):
            children = subprocess.run(["pgrep", "-P", str(os.getpid()), "simulator"], capture_output=True, check=False)
            os.kill(int(children.stdout), signal.SIGKILL)

    with pytest.raises(SimulationError, match="SIGKILL"):
        tiny.run(**small, checkpoints=Checkpoints(tmp_path, seconds=0.001), progress=kill)
    notes = []
    same(tiny.run(**small, checkpoints=Checkpoints(tmp_path, note=notes.append)), whole)
    assert len(notes) == 1 and notes[0].startswith("going on from cycle")


def test_results_are_kept_until_forgotten(tiny, small, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_results=True)
    whole = tiny.run(**small, checkpoints=checkpoints)
    again = Checkpoints(tmp_path, keep_results=True, stop_at=0)  # it would be interrupted if it ran
    same(tiny.run(**small, checkpoints=again), whole)
    again.forget()
    assert not list(tmp_path.iterdir())


# What a shell starts in the background ignores SIGINT, and so do its children: not so the command interrupted here.
INTERRUPTIBLE = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_the_command_goes_on(tmp_path, tiny):
    """``superlip run``, stopped on two boards, when one board is done; then the same command again."""
    command = [sys.executable, "-m", "superlip.cli", "run", str(DIGITS), "--node", "tiny"]
    command += ["--boards", "2", "--images", "100"]
    environment = os.environ | {"SUPERLIP_CACHE": str(tmp_path)}
    (tmp_path / "simulators").symlink_to(tiny.executable.parent.parent)
    first = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in first.stderr:
        if "on 2 boards" in line:
            break
    while not any((folder / "outputs.bin.partial").exists() for folder in (tmp_path / "checkpoints").iterdir()):
        time.sleep(0.01)
    time.sleep(0.3)
    first.send_signal(signal.SIGINT)
    said = first.stderr.read()
    assert first.wait() == 130
    first.stdout.close(), first.stderr.close()
    cycle = re.search("interrupted: the same command goes on from cycle ([0-9,]+) of the simulation", said)[1]
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "done before the interrupt" in second.stderr
    assert f"going on from cycle {cycle}" in second.stderr
    assert not list((tmp_path / "checkpoints").iterdir())


def test_the_same_run_twice_at_once(tiny, small, tmp_path):
    notes = []
    outer = Checkpoints(tmp_path)
    whole = tiny.run(**small)
    interrupted(tiny, small, tmp_path)
    (run,) = tmp_path.iterdir()
    with outer.open(run.name):
        result = tiny.run(**small, checkpoints=Checkpoints(tmp_path, note=notes.append))
    same(result, whole)
    assert "another process runs the same" in notes[0]


def test_old_checkpoints_go(tiny, small, tmp_path):
    old = tmp_path / "forgotten"
    old.mkdir()
    os.utime(old, (0, 0))
    tiny.run(**small, checkpoints=Checkpoints(tmp_path))
    assert not old.exists()
