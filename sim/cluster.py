"""The native cluster simulator: whole networks on N Verilated nodes, with models of their DRAM and links.

>>> import numpy as np, superlip
>>> from superlip.boards import TARGETS
>>> compiled = superlip.plan(superlip.load("examples/digits/digits.onnx"), boards=2, node="tiny").compiled
>>> from superlip.run.host import HostWork
>>> image = HostWork(compiled, np.zeros((1, 8, 8), np.int8))
>>> result = Simulator.build(TARGETS["tiny"]).run(
...     boards=2, dram=[board.dram.extents for board in compiled.boards],
...     init_programs=[board.init_program for board in compiled.boards],
...     programs=[board.programs[0] for board in compiled.boards], stripe=compiled.boards[0].dram.stripe_bytes,
...     regions=[board.dram.regions for board in compiled.boards],
...     inputs=[image.begin()], outputs=compiled.output_ranges(),
... )
>>> 8000 < int(result.check().cycles[0]) < 9000
True

A *cluster cycle* is one clock cycle of all nodes. ``native/models.h`` (and, in Python, ``models.py``) says how the
DRAM and the links behave cycle by cycle, ``native/cluster.cpp`` how a run proceeds.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from superlip.boards import Target
from superlip.rtl.isa import Region
from superlip.rtl.registers import region_settings, registers

from .build import build_simulator, node_text
from .checkpoint import Checkpoints, SimulationInterrupted, run_key
from .models import link_rate, timing
from .result import Facts, RunResult, SimulationError, read_result

__all__ = [
    "Checkpoints",
    "Cut",
    "Delay",
    "Flip",
    "HostStop",
    "Progress",
    "RunResult",
    "SimulationError",
    "SimulationInterrupted",
    "Simulator",
    "Waves",
]


@dataclass(frozen=True)
class Flip:
    """Fault: bit ``bit`` (from 0, the payload's lowest) of flit ``flit`` (from 0, in the whole run) out of ``node``."""

    node: int
    flit: int
    bit: int


@dataclass(frozen=True)
class Cut:
    """Fault: the link out of ``node`` loses flit ``flit`` and all that follow."""

    node: int
    flit: int = 0


@dataclass(frozen=True)
class Delay:
    """Fault: ``node`` is started ``cycles`` later than the others, for every image."""

    node: int
    cycles: int


@dataclass(frozen=True)
class Waves:
    """Waveforms of cluster cycles ``first`` to ``last`` (RunResult.starts has those of the images).

    Node n is written to ``path`` with ``-n`` before its suffix.
    """

    path: Path
    first: int
    last: int


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    images_done: int
    images: int
    cycles: int


INTERRUPTED, UNUSABLE = 130, 3  # exit codes (native/cluster.cpp)
END_SECONDS = 60
"""How long a simulator that is asked to stop may take to write its checkpoint."""

Bytes = bytes | bytearray | memoryview | np.ndarray


@dataclass(frozen=True)
class HostStop:
    """Work of the host in the middle of every image: all programs have ended, it computes, the next ones start.

    No cycle passes meanwhile.

    Parameters
    ----------
    reads : sequence of (node, offset, length)
        What it needs of the nodes' DRAM.
    compute : callable
        Takes the image's number and what was read (list of ndarray uint8), gives what is written to DRAM: an iterable
        of (node, offset, bytes). A run that goes on from a checkpoint calls it again for the stops of its image that
        are behind it, and drops what they give.
    programs : sequence of int, one for each node
        Started afterwards.
    key : str
        Says what ``compute`` does: a checkpoint is only used where it is the same.
    """

    reads: Sequence[tuple[int, int, int]]
    compute: Callable[[int, list[np.ndarray]], Iterable[tuple[int, int, Bytes]]]
    programs: Sequence[int | None]
    key: str = ""


@dataclass(frozen=True)
class Simulator:
    """A built simulator of one target. Running it changes nothing: it may be run many times, also at once."""

    target: Target
    executable: Path
    waves: bool = False

    @classmethod
    def build(
        cls,
        target: Target,
        *,
        waves: bool = False,
        pure_rtl: bool = False,
        note: Callable[[str], None] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> "Simulator":
        """Build the simulator for ``target.node``, or find it in the cache (see ``build_simulator``).

        ``pure_rtl``: without the C++ ``StandIns`` of the data paths, which are identical to the RTL, bit by bit and
        cycle by cycle, and much faster.
        """
        text = node_text(target.node, pure_rtl=pure_rtl, note=note)
        executable = build_simulator(text, target.node, waves=waves, pure_rtl=pure_rtl, note=note, progress=progress)
        return cls(target, executable, waves)

    def run(
        self,
        *,
        boards: int,
        programs: Sequence[int | None],
        dram: Sequence[Sequence[tuple[int, Bytes]]] = (),
        init_programs: Sequence[int | None] = (),
        inputs: Sequence[Sequence[tuple[int, int, Bytes]]] = ((),),
        outputs: Sequence[tuple[int, int, int]] = (),
        host: Sequence[HostStop] = (),
        stripe: int = 0,
        regions: Sequence[Mapping[Region, tuple[int, int]]] = (),
        bases: Sequence[Mapping[Region, int]] = (),
        watchdog: int | None = None,
        trace_images: Collection[int] | Literal["all"] = (),
        profile: bool = True,
        faults: Collection[Flip | Cut | Delay] = (),
        max_cycles: int | None = None,
        expected_cycles: int | None = None,
        progress: bool | Callable[[Progress], None] = False,
        threads: int | None = None,
        waves: Waves | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> RunResult:
        """Run the init programs once, then the programs for each image, all in one process.

        Offsets are bytes in the DRAM of a node.

        Parameters
        ----------
        boards : int
            Nodes. Node n sends to node n + 1 (the last to 0); a single node is connected to nothing.
        programs, init_programs : sequence of int, one for each node
            Byte address of each node's program, in the region of programs; None: this node is not started.
        dram : sequence of sequence of (offset, bytes), one for each node
            Written to DRAM before anything runs.
        inputs : sequence of sequence of (node, offset, bytes), one for each image
            Written to DRAM before the image. Its length is the number of images.
        outputs : sequence of (node, offset, length)
            Read from DRAM after each image.
        host : sequence of HostStop
            What happens behind ``programs`` in every image, in this order.
        stripe, watchdog : int
            Registers STRIPE and WATCHDOG of all nodes; without ``watchdog`` its reset value.
        regions : sequence of mapping of Region to (offset, bytes), one for each node
            Where the regions lie on port 0, in whole pages; on port p, ``p * stripe`` further on. Without it, each
            region is all that a port has.
        bases : sequence of mapping of Region to int, one for each node
            Bus addresses of the regions, in whole pages. Nothing else answers on the bus then. By default the bus
            address is the offset.
        trace_images : collection of int, or "all"
            Images whose VECTOR writes are recorded (-1: the init programs).
        profile : bool
            Count cycles by unit and tag.
        faults : collection of Flip, Cut and Delay
        max_cycles : int, optional
            Give an image up after that many cycles (of one segment, where there are host stops).
        expected_cycles : int, optional
            What an image will take, for the time left that the progress bar shows.
        progress : bool or callable of Progress
            True: a progress bar on standard error.
        threads : int, optional
            At most one a node is used; by default as many as there are cores. The result does not depend on it.
        waves : Waves, optional
            Needs a simulator that was built with ``waves=True``.
        checkpoints : Checkpoints, optional
            Save the state now and then and upon an interrupt, and go on from what the same run has saved. Not with
            ``waves``.

        Returns
        -------
        RunResult
            Also if a node failed: see ``RunResult.check``.

        Raises
        ------
        ValueError
            If an argument does not fit the number of boards or the DRAM.
        SimulationError
            If the simulator could not work (no space on the disk, ...), or found the RTL break a bus protocol.
        SimulationInterrupted
            If it was interrupted and has saved its state; without ``checkpoints`` it is a plain KeyboardInterrupt.
        """
        self._check_arguments(boards, programs, dram, init_programs, inputs, outputs, host, waves, regions, bases)
        regions = regions or [dict.fromkeys(Region, (0, self._port_bytes))] * boards
        images = range(-1, len(inputs)) if trace_images == "all" else sorted(set(trace_images))
        lines = [
            f"boards {boards}", f"images {len(inputs)}",
            f"profile {int(profile)}", *self._timing(),
            *(
                f"register {n} {offset} {value}"
                for n, places in enumerate(_placed(regions, bases))
                for offset, value in self._settings(n, stripe, watchdog, places)
            ),
            *(line for n, base in enumerate(bases) for line in self._windows(n, regions[n], base, stripe)),
            *(f"init {n} {a}" for n, a in enumerate(init_programs) if a is not None),
            *(
                f"program {segment} {n} {a}"
                for segment, addresses in enumerate([programs, *(stop.programs for stop in host)])
                for n, a in enumerate(addresses)
                if a is not None
            ),
            *(f"read {s} {n} {o} {length}" for s, stop in enumerate(host, 1) for n, o, length in stop.reads),
            *(f"output {n} {offset} {length}" for n, offset, length in outputs),
            *(f"trace {image}" for image in images),
            *map(_fault_line, faults),
        ]  # fmt: skip
        if max_cycles is not None:
            lines.append(f"max_cycles {max_cycles}")
        if waves is not None:
            lines.append(f"waves {waves.first} {waves.last}")
        with tempfile.TemporaryDirectory(prefix="superlip-") as name:
            folder = Path(name)
            try:
                _write_job(folder, lines, dram, inputs)
            except OSError as error:
                raise SimulationError(f"can't write the simulator's input to {folder}: {error.strerror}") from None
            with contextlib.ExitStack() as stack:
                run = None
                if checkpoints is not None and waves is None:
                    job = [folder / "job.txt", folder / "bytes.bin"]
                    key = run_key(self.executable, job, [stop.key for stop in host])
                    run = stack.enter_context(checkpoints.open(key))
                with (folder / "job.txt").open("a") as file:  # the result does not depend on it
                    file.write(f"threads {threads or _cores()}\n")
                report = stack.enter_context(_reporter(progress, len(inputs), expected_cycles))
                results, facts = self._run(folder, run, report, host, boards)
                if waves is not None:
                    _keep_waves(folder, waves, boards)
                return read_result(results, facts, boards=boards, outputs=outputs, tn=self.target.node.tn)

    def _run(self, folder, run, report, host, boards):
        """Folder with the output files, and the facts."""
        if run is None:
            return folder, self._execute(folder, folder, None, report, host, boards)
        lines = run.facts()
        if lines is not None:
            run.settings.note("done before the interrupt")
            facts = Facts()
            for line in lines:
                key, *values = line.split()
                facts.add(key, values)
            return run.path, facts
        try:
            facts = self._execute(folder, run.path, run, report, host, boards)
        except _UnusableCheckpoint as error:
            run.discard(str(error))
            facts = self._execute(folder, run.path, run, report, host, boards)
        return run.path, facts

    def _check_arguments(
        self, boards, programs, dram, init_programs, inputs, outputs, host, waves, regions, bases
    ):  # fmt: skip
        if not 1 <= boards <= self.target.max_boards:
            raise ValueError(f"boards must be 1 to {self.target.max_boards}, not {boards}")
        lists = [
            ("programs", programs),
            *((f"programs of host stop {i}", stop.programs) for i, stop in enumerate(host)),
        ]
        for name, items in (
            *lists, ("dram", dram), ("init_programs", init_programs), ("regions", regions), ("bases", bases),
        ):  # fmt: skip
            if len(items) != boards and (len(items) or name.startswith("programs")):
                raise ValueError(f"{name} must have one item for each of {boards} boards, not {len(items)}")
        if waves is not None and not self.waves:
            raise ValueError("waves need a simulator that was built with waves=True")
        if waves is not None and not Path(waves.path).absolute().parent.is_dir():
            raise ValueError(f"there is no folder {Path(waves.path).parent} for waves")
        places = [("output", *piece) for piece in outputs]
        places += [(f"reads of host stop {i}", *piece) for i, stop in enumerate(host) for piece in stop.reads]
        for n, pieces in enumerate(dram):
            places += [(f"DRAM of node {n}", n, offset, _length(data)) for offset, data in pieces]
        for i, pieces in enumerate(inputs):
            places += [(f"input of image {i}", n, offset, _length(data)) for n, offset, data in pieces]
        self._check_places(places, boards)

    def _check_places(self, places, boards):
        size = self.target.dram.megabytes << 20
        for what, node, offset, length in places:
            if not 0 <= node < boards:
                raise ValueError(f"{what}: there is no node {node}")
            if not 0 <= offset <= offset + length <= size:
                raise ValueError(f"{what}: bytes {offset} to {offset + length} are outside the {size} bytes of DRAM")

    def _timing(self):
        dram, link = self.target.dram, self.target.link
        t = timing(dram, self.target.node)
        if link.latency < 1:
            raise ValueError(f"a link's latency must be at least 1 cycle, not {link.latency}")
        return [
            f"dram_megabytes {dram.megabytes}", f"dram_rate {t.rate}", f"dram_overhead {t.burst_overhead}",
            f"dram_latency {t.latency}", f"link_rate {link_rate(link)}", f"link_latency {link.latency}",
        ]  # fmt: skip

    @property
    def _port_bytes(self):
        return (self.target.dram.megabytes << 20) // self.target.node.axi_ports

    def _windows(self, node, regions, bases, stripe):
        """What of the bus is which part of the DRAM."""
        for region, (offset, size) in regions.items():
            for port in range(self.target.node.axi_ports):
                yield f"window {node} {bases[region] + port * stripe} {size} {offset + port * stripe}"

    def _settings(self, node, stripe, watchdog, places):
        values = {"NODE": node, "STRIPE_LO": stripe & 0xFFFF_FFFF, "STRIPE_HI": stripe >> 32, **region_settings(places)}
        if watchdog is not None:
            values["WATCHDOG"] = watchdog
        offsets = {r.name: r.offset for r in registers(self.target.node)}
        return [(offsets[name], value) for name, value in values.items()]

    def _execute(self, folder, results, run, report, host, boards):
        """Run the native simulator on the job in ``folder``; its files go to ``results``."""
        facts, said = Facts(), []
        command = [str(self.executable), "job.txt", "bytes.bin", str(results), *(run.arguments if run else [])]
        with (folder / "stderr.txt").open("w+b") as errors:
            # Its own session: Ctrl-C comes to us alone, and we end the child.
            child = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE,
                stdin=subprocess.PIPE if host else subprocess.DEVNULL, stderr=errors, start_new_session=True, text=True,
            )  # fmt: skip
            try:
                assert child.stdout is not None  # a pipe
                for line in child.stdout:
                    key, *values = line.split()
                    if key == "progress":
                        report(int(values[0]), int(values[1]))
                    elif key == "host":
                        self._answer(results, child, host, boards, *map(int, values))
                    elif key == "resumed":
                        run.settings.note(f"going on from cycle {int(values[0]):,}")
                    elif key == "warning":
                        run.settings.note(f"no checkpoint: {' '.join(values)}")
                    else:
                        facts.add(key, values)
                        said.append(line)
                code = child.wait()
            except KeyboardInterrupt:
                _end(child)
                _say_where(run)
                raise
            finally:
                _end(child)
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
        if run and code == INTERRUPTED:
            _say_where(run)
        if run and code == UNUSABLE:
            raise _UnusableCheckpoint(message)
        if code or not facts.ended:
            if code < 0:
                message = f"{message}\nthe simulator was ended by {signal.Signals(-code).name}".strip()
            raise SimulationError(message or f"the simulator ended with exit code {code}")
        if run:
            run.finish(said)
        return facts

    def _answer(self, folder, child, host, boards, image, segment):
        """Compute at a stop, and tell the simulator what to write."""
        stop = host[segment - 1]
        bounds = np.cumsum([0, *(length for _, _, length in stop.reads)])
        raw = np.fromfile(folder / "host.bin", np.uint8)
        writes = list(stop.compute(image, [raw[a:b] for a, b in pairwise(bounds)]))
        what = f"result of host stop {segment - 1}"
        self._check_places([(what, node, offset, _length(data)) for node, offset, data in writes], boards)
        with (folder / "host-answer.bin").open("wb") as blob:
            lines = [f"write {node} {_append(blob, offset, data)}\n" for node, offset, data in writes]
        with contextlib.suppress(BrokenPipeError):  # it has ended: its exit code says why
            child.stdin.write("".join(lines) + "go\n")
            child.stdin.flush()


class _UnusableCheckpoint(Exception):
    """It is damaged, or its files are not there."""


def _say_where(run):
    if run is not None and run.cycle is not None:
        raise SimulationInterrupted(run.cycle) from None


def _placed(regions, bases):
    """Region -> (bus address, bytes), for each node."""
    for node, places in enumerate(regions):
        moved = bases[node] if bases else {}
        yield {region: (moved.get(region, offset), size) for region, (offset, size) in places.items()}


def _cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _length(data):
    return data.nbytes if isinstance(data, np.ndarray) else memoryview(data).nbytes


def _write_job(folder, lines, dram, inputs):
    with (folder / "bytes.bin").open("wb") as blob:
        for node, pieces in enumerate(dram):
            lines += [f"memory {node} {_append(blob, offset, data)}" for offset, data in pieces]
        for image, pieces in enumerate(inputs):
            lines += [f"input {image} {n} {_append(blob, offset, data)}" for n, offset, data in pieces]
    (folder / "job.txt").write_text("\n".join(lines) + "\n")


def _append(blob, offset, data):
    """Write a piece behind those before it; returns the rest of its line."""
    place = blob.tell()
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data).data
    view = memoryview(data).cast("B")
    blob.write(view)
    return f"{offset} {len(view)} {place}"


def _fault_line(fault):
    match fault:
        case Flip(node, flit, bit):
            return f"flip {node} {flit} {bit}"
        case Cut(node, flit):
            return f"cut {node} {flit}"
        case Delay(node, cycles):
            return f"delay {node} {cycles}"
    raise ValueError(f"{fault!r} is no fault: use Flip, Cut or Delay")


def _end(child):
    """End a child that may still run, and wait for it: it may write a checkpoint, and wait for an answer or for us."""
    if child.poll() is None:
        child.terminate()
        try:
            child.communicate(timeout=END_SECONDS)
        except BaseException as error:
            child.kill()
            child.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
    child.stdout.close()
    _close(child.stdin)


def _close(pipe):
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@contextlib.contextmanager
def _reporter(progress, images, expected_cycles) -> Iterator[Callable[[int, int], None]]:
    """Function (images done, cycles) that tells the caller, or moves a progress bar, or does nothing."""
    if callable(progress):
        yield lambda done, cycles: progress(Progress(done, images, cycles))
    elif not progress:
        yield lambda done, cycles: None
    else:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            total = images * expected_cycles if expected_cycles else images if images > 1 else None
            task = bar.add_task("", total=total, text="")
            first = True

            def show(done, cycles):
                nonlocal first
                completed = min(cycles, total) if expected_cycles else done
                text = f"image {done}/{images}, {cycles:,} cycles"
                if first:  # what a run before has done says nothing about the speed of this one
                    bar.reset(task, completed=completed, total=total, text=text)
                    first = False
                else:
                    bar.update(task, completed=completed, text=text)

            yield show


def _keep_waves(folder, waves, boards):
    path = Path(waves.path)
    for node in range(boards):
        source = folder / f"waves-{node}.vcd"
        if source.exists():
            partial = path.with_name(f"{path.stem}-{node}{path.suffix}.partial")
            try:
                shutil.copyfile(source, partial)
                partial.rename(path.with_name(f"{path.stem}-{node}{path.suffix}"))
            finally:
                partial.unlink(missing_ok=True)
