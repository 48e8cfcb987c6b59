"""The native cluster simulator: whole networks on N Verilated nodes, with models of their DRAM and links.

>>> sim = Simulator.build(TARGETS["tiny"])                                  # doctest: +SKIP
>>> result = sim.run(boards=2, memory=images, programs=[0, 0], inputs=inputs, outputs=[(0, 4096, 10)])  # doctest: +SKIP
>>> result.check().cycles                                                   # doctest: +SKIP
array([51234])

A *cluster cycle* is one clock cycle of all nodes. ``native/models.h`` (and, in Python, ``models.py``) says how the
memory and the links behave cycle by cycle, ``native/cluster.cpp`` how a run proceeds.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from superlip.boards import Target
from superlip.rtl.isa import COUNTERS, Unit
from superlip.rtl.link.frame import FrameField
from superlip.rtl.ports import UnitError
from superlip.rtl.registers import ERROR_UNIT_FETCH, ERROR_UNIT_LINK, ERROR_UNIT_WATCHDOG, registers

from .build import build_simulator, node_text
from .models import link_rate, timing

__all__ = [
    "PROFILE_DTYPE", "Cut", "Delay", "Flip", "NodeError", "Progress", "RunResult", "SimulationError", "Simulator",
    "UnitState", "Waves", "trace_dtype",
]  # fmt: skip

PROFILE_DTYPE = np.dtype(
    [
        ("image", "<i4"), ("node", "<u2"), ("unit", "<u2"), ("tag", "<u2"), ("reserved", "<u2"), ("taken", "<u4"),
        ("first_taken", "<i8"), ("last_done", "<i8"),
        ("busy", "<i8"), ("stalled", "<i8"), ("waiting", "<i8"), ("lacking", "<i8", COUNTERS), ("bytes", "<i8"),
    ]
)  # fmt: skip
"""One record for each image, node, unit and tag that occurred.

``taken`` counts instructions that were done; ``first_taken`` and ``last_done`` are cycles from the start of the image,
-1 if there were none; ``busy``, ``stalled`` (a part of busy) and ``waiting`` are cycles, ``lacking[s]`` those in which
it waited for source s, among others. ``bytes``: LOAD: read from DRAM, STORE: written to DRAM, SEND: sent over the link,
frame headers and credits included, counted for the tag that the unit was working on, or worked on last.
"""


def trace_dtype(tn: int) -> np.dtype:
    """One write of VECTOR to the activation buffer: lanes where ``mask`` is set, ``cycle`` from the image's start."""
    return np.dtype(
        [
            ("cycle", "<i8"), ("image", "<i4"), ("address", "<u4"), ("tag", "<u2"), ("node", "<u2"),
            ("mask", "u1", tn // 8), ("data", "i1", tn),
        ]
    )  # fmt: skip


class SimulationError(RuntimeError):
    """The simulation could not be run, or a node failed in it; the message says what happened."""


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


@dataclass(frozen=True)
class UnitState:
    """What a unit was doing when the simulation ended early."""

    node: int
    unit: Unit
    tag: int
    busy: bool
    stalled: bool
    waiting: bool
    lacking: tuple[str, ...]

    def __str__(self):
        lacking = f", waits for {' and '.join(self.lacking)}" if self.lacking else ""
        what = "busy, no progress" if self.stalled else "busy" if self.busy else "idle"
        return f"node {self.node} {self.unit.name}: {what}{lacking} (tag {self.tag})"


@dataclass(frozen=True)
class NodeError:
    """Registers ERROR and SYNDROME of a node that failed; ``cycle`` counts from the start of ``image`` (-1: init)."""

    image: int
    node: int
    cycle: int
    unit: str
    code: UnitError
    syndrome: int

    def __str__(self):
        image = "the init program" if self.image < 0 else f"image {self.image}"
        return f"node {self.node}, {image}, cycle {self.cycle}: {self.unit}: {_sentence(self.code, self.syndrome)}"


@dataclass
class RunResult:
    """What came out of a run.

    Parameters
    ----------
    cycles : ndarray int64, shape (images,)
        Latency of each image: cluster cycles from the cycle in which the first node takes its start command to the
        first one in which all nodes raise ``irq``. Only images that ended well.
    init_cycles : int
        The same for the init programs, 0 if there are none.
    node_cycles : ndarray int64, shape (images, boards)
        From the same start until each node raised ``irq``; -1 where a node had no program.
    starts : ndarray int64, shape (images,)
        Cluster cycle of each start, counted from the reset, as ``Waves`` counts.
    outputs : list of list of ndarray uint8
        For each image the output ranges, in order.
    trace : structured ndarray (trace_dtype)
        VECTOR writes of the traced images; of each node in order of time.
    profile : structured ndarray (PROFILE_DTYPE)
    loaded, fetched, stored, sent : ndarray int64, shape (boards,)
        Bytes of the whole run: read from DRAM by LOAD, by the instruction fetch, written to DRAM, sent over the link.
    errors : list of NodeError
        In order of time: the first one is the cause, most often.
    late : list of int
        Nodes that had not finished when a node failed or ``max_cycles`` were over.
    states : list of UnitState
        All units, if the run ended early.
    simulated_cycles : int
        Cluster cycles, with those between images; not multiplied by the number of nodes.
    seconds : float
        Wall time of the simulation alone.
    """

    boards: int
    cycles: np.ndarray
    init_cycles: int
    node_cycles: np.ndarray
    starts: np.ndarray
    outputs: list[list[np.ndarray]]
    trace: np.ndarray
    profile: np.ndarray
    loaded: np.ndarray
    fetched: np.ndarray
    stored: np.ndarray
    sent: np.ndarray
    errors: list[NodeError]
    late: list[int]
    states: list[UnitState]
    simulated_cycles: int
    seconds: float

    @property
    def cycles_per_second(self) -> float:
        """Speed: cluster cycles a second, not multiplied by the number of nodes."""
        return self.simulated_cycles / self.seconds if self.seconds else 0.0

    def failure(self) -> str | None:
        """What went wrong, in words, or None."""
        if not self.errors and not self.late:
            return None
        lines = [str(error) for error in self.errors]
        lines += [f"node {node} did not finish" for node in self.late]
        return "\n".join([*lines, *(f"  {s}" for s in self.states if s.busy or s.lacking)])

    def check(self) -> "RunResult":
        """This result; SimulationError if a node failed or did not finish."""
        if (failure := self.failure()) is not None:
            raise SimulationError(failure)
        return self


@dataclass
class _Facts:
    """Lines that the simulator printed, as numbers."""

    images: dict[int, tuple[int, int]] = field(default_factory=dict)
    nodes: dict[tuple[int, int], int] = field(default_factory=dict)
    errors: list[tuple[int, ...]] = field(default_factory=list)
    late: list[tuple[int, ...]] = field(default_factory=list)
    states: list[tuple[int, ...]] = field(default_factory=list)
    bytes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    cycle: int = 0
    seconds: float = 0.0
    ended: bool = False

    def add(self, key, values):
        if key == "end":
            self.cycle, self.seconds, self.ended = int(values[0]), float(values[1]), True
            return
        numbers = tuple(map(int, values))
        if key == "image":
            self.images[numbers[0]] = numbers[1], numbers[2]
        elif key == "node":
            self.nodes[numbers[:2]] = numbers[2]
        elif key == "bytes":
            self.bytes[numbers[0]] = numbers[1:]
        else:
            {"error": self.errors, "late": self.late, "state": self.states}[key].append(numbers)


Bytes = bytes | bytearray | memoryview | np.ndarray


@dataclass(frozen=True)
class Simulator:
    """A built simulator of one target. Running it changes nothing: it may be run many times, also at once."""

    target: Target
    program: Path
    waves: bool = False

    @classmethod
    def build(
        cls, target: Target, *, waves: bool = False, pure_rtl: bool = False, note: Callable[[str], None] | None = None
    ) -> "Simulator":
        """Build the simulator for ``target.node``, or find it in the cache (see ``build_simulator``).

        ``pure_rtl``: without the C++ ``StandIns`` of the data paths, which are identical to the RTL, bit by bit and cycle
        by cycle, and much faster.
        """
        text = node_text(target.node, pure_rtl=pure_rtl, note=note)
        program = build_simulator(text, target.node, waves=waves, pure_rtl=pure_rtl, note=note)
        return cls(target, program, waves)

    def run(
        self,
        *,
        boards: int,
        programs: Sequence[int | None],
        memory: Sequence[Sequence[tuple[int, Bytes]]] = (),
        init_programs: Sequence[int | None] = (),
        inputs: Sequence[Sequence[tuple[int, int, Bytes]]] = ((),),
        outputs: Sequence[tuple[int, int, int]] = (),
        stripe: int = 0,
        watchdog: int | None = None,
        trace_images: Collection[int] | Literal["all"] = (),
        profile: bool = True,
        faults: Collection[Flip | Cut | Delay] = (),
        max_cycles: int | None = None,
        expected_cycles: int | None = None,
        progress: bool | Callable[[Progress], None] = False,
        threads: int | None = None,
        waves: Waves | None = None,
    ) -> RunResult:
        """Run the init programs once, then the programs for each image, all in one process.

        Offsets and addresses are bytes in the DRAM of a node, as its AXI ports see it.

        Parameters
        ----------
        boards : int
            Nodes. Node n sends to node n + 1 (the last to 0); a single node is connected to nothing.
        programs, init_programs : sequence of int, one for each node
            Byte address of each node's program; None: this node is not started.
        memory : sequence of sequence of (offset, bytes), one for each node
            Written to DRAM before anything runs.
        inputs : sequence of sequence of (node, offset, bytes), one for each image
            Written to DRAM before the image. Its length is the number of images.
        outputs : sequence of (node, offset, length)
            Read from DRAM after each image.
        stripe, watchdog : int
            Registers STRIPE and WATCHDOG of all nodes; without ``watchdog`` its reset value.
        trace_images : collection of int, or "all"
            Images whose VECTOR writes are recorded (-1: the init programs).
        profile : bool
            Count cycles by unit and tag.
        faults : collection of Flip, Cut and Delay
        max_cycles : int, optional
            Give an image up after that many cycles.
        expected_cycles : int, optional
            What an image will take, for the time left that the progress bar shows.
        progress : bool or callable of Progress
            True: a progress bar on standard error.
        threads : int, optional
            At most one a node is used; by default as many as there are cores. The result does not depend on it.
        waves : Waves, optional
            Needs a simulator that was built with ``waves=True``.

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
        """
        self._check_arguments(boards, programs, memory, init_programs, inputs, outputs, waves)
        images = range(-1, len(inputs)) if trace_images == "all" else sorted(set(trace_images))
        lines = [
            f"boards {boards}", f"threads {threads or _cores()}", f"images {len(inputs)}",
            f"profile {int(profile)}", *self._timing(),
            *(f"register {n} {o} {v}" for n in range(boards) for o, v in self._settings(n, stripe, watchdog)),
            *(f"init {n} {a}" for n, a in enumerate(init_programs) if a is not None),
            *(f"program {n} {a}" for n, a in enumerate(programs) if a is not None),
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
                _write_job(folder, lines, memory, inputs)
            except OSError as error:
                raise SimulationError(f"can't write the simulator's input to {folder}: {error.strerror}") from None
            with _reporter(progress, len(inputs), expected_cycles) as report:
                facts = self._execute(folder, report)
            if waves is not None:
                _keep_waves(folder, waves, boards)
            return self._result(folder, facts, boards, len(inputs), outputs)

    def _check_arguments(self, boards, programs, memory, init_programs, inputs, outputs, waves):
        if not 1 <= boards <= self.target.max_boards:
            raise ValueError(f"boards must be 1 to {self.target.max_boards}, not {boards}")
        for name, items in (("programs", programs), ("memory", memory), ("init_programs", init_programs)):
            if len(items) != boards and (len(items) or name == "programs"):
                raise ValueError(f"{name} must have one item for each of {boards} boards, not {len(items)}")
        if waves is not None and not self.waves:
            raise ValueError("waves need a simulator that was built with waves=True")
        if waves is not None and not Path(waves.path).absolute().parent.is_dir():
            raise ValueError(f"there is no folder {Path(waves.path).parent} for waves")
        size = self.target.dram.megabytes << 20
        places = [("output", *piece) for piece in outputs]
        for n, pieces in enumerate(memory):
            places += [(f"memory of node {n}", n, offset, _length(data)) for offset, data in pieces]
        for i, pieces in enumerate(inputs):
            places += [(f"input of image {i}", n, offset, _length(data)) for n, offset, data in pieces]
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

    def _settings(self, node, stripe, watchdog):
        values = {"NODE": node, "STRIPE_LO": stripe & 0xFFFF_FFFF, "STRIPE_HI": stripe >> 32}
        if watchdog is not None:
            values["WATCHDOG"] = watchdog
        offsets = {r.name: r.offset for r in registers(self.target.node)}
        return [(offsets[name], value) for name, value in values.items()]

    def _execute(self, folder, report):
        facts = _Facts()
        with (folder / "stderr.txt").open("w+b") as errors:
            # Its own session: Ctrl-C comes to us alone, and we end the child.
            child = subprocess.Popen(
                [str(self.program), "job.txt", "bytes.bin", "."], cwd=folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, start_new_session=True, text=True,
            )  # fmt: skip
            try:
                for line in child.stdout:
                    key, *values = line.split()
                    if key == "progress":
                        report(int(values[0]), int(values[1]))
                    else:
                        facts.add(key, values)
                code = child.wait()
            finally:
                _end(child)
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
        if code or not facts.ended:
            if code < 0:
                message = f"{message}\nthe simulator was ended by {signal.Signals(-code).name}".strip()
            raise SimulationError(message or f"the simulator ended with exit code {code}")
        return facts

    def _result(self, folder, facts, boards, images, outputs):
        done = sorted(i for i in facts.images if i >= 0)
        failed = {e[0] for e in [*facts.errors, *facts.late]}
        good = [i for i in done if i not in failed]
        starts = {i: start for i, (start, _) in facts.images.items()}
        raw = np.fromfile(folder / "outputs.bin", np.uint8)
        bounds = np.cumsum([0, *(length for _, _, length in outputs)])
        dtype = trace_dtype(self.target.node.tn)
        trace = np.concatenate(
            [np.empty(0, dtype), *(np.fromfile(path, dtype) for path in sorted(folder.glob("trace-*.bin")))]
        )
        profile = np.fromfile(folder / "profile.bin", PROFILE_DTYPE)
        for array, names in ((trace, ("cycle",)), (profile, ("first_taken", "last_done"))):
            for image, start in starts.items():
                of_image = array["image"] == image
                for name in names:
                    array[name][of_image] -= start
        for name in ("first_taken", "last_done"):
            profile[name][profile["taken"] == 0] = -1
        counts = np.array([facts.bytes[n] for n in range(boards)], np.int64)
        return RunResult(
            boards=boards,
            cycles=np.array([facts.images[i][1] for i in good], np.int64),
            init_cycles=facts.images.get(-1, (0, 0))[1],
            node_cycles=np.array(
                [[facts.nodes.get((i, n), -1) for n in range(boards)] for i in good], np.int64
            ).reshape(-1, boards),
            starts=np.array([starts[i] for i in done], np.int64),
            outputs=[
                [raw[i * bounds[-1] + bounds[k] : i * bounds[-1] + bounds[k + 1]] for k in range(len(outputs))]
                for i in range(len(good))
            ],
            trace=trace,
            profile=profile,
            loaded=counts[:, 0],
            fetched=counts[:, 1],
            stored=counts[:, 2],
            sent=counts[:, 3],
            errors=sorted((_node_error(*e) for e in facts.errors), key=lambda e: e.cycle),
            late=[node for _, node in facts.late],
            states=[_unit_state(*s) for s in facts.states],
            simulated_cycles=facts.cycle,
            seconds=facts.seconds,
        )


def _cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _length(data):
    return data.nbytes if isinstance(data, np.ndarray) else memoryview(data).nbytes


def _write_job(folder, lines, memory, inputs):
    with (folder / "bytes.bin").open("wb") as blob:
        for node, pieces in enumerate(memory):
            lines += [f"memory {node} {_append(blob, offset, data)}" for offset, data in pieces]
        for image, pieces in enumerate(inputs):
            lines += [f"input {image} {n} {_append(blob, offset, data)}" for n, offset, data in pieces]
    (folder / "job.txt").write_text("\n".join(lines) + "\n")


def _append(blob, offset, data):
    """Write a piece behind those before it; returns the rest of its line."""
    place = blob.tell()
    view = memoryview(np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data).cast("B")
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
    """End a child that may still run, and wait for it."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    child.stdout.close()


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

            def show(done, cycles):
                completed = min(cycles, total) if expected_cycles else done
                bar.update(task, completed=completed, text=f"image {done}/{images}, {cycles:,} cycles")

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


def _unit_state(node, unit, status):
    lacking = tuple(_source(s) for s in range(COUNTERS) if status >> (3 + s) & 1)
    return UnitState(
        node=node, unit=Unit(unit), tag=status >> 11, busy=bool(status & 1), stalled=bool(status & 2),
        waiting=bool(status & 4), lacking=lacking,
    )  # fmt: skip


def _node_error(image, node, cycle, error, syndrome):
    unit, code = error >> 8, UnitError(error & 15)
    return NodeError(image, node, cycle, _part(unit), code, syndrome)


def _part(number):
    others = {ERROR_UNIT_FETCH: "instruction fetch", ERROR_UNIT_LINK: "link", ERROR_UNIT_WATCHDOG: "watchdog"}
    return others.get(number) or (Unit(number).name if number < len(Unit) else f"part {number}")


def _source(number):
    return Unit(number).name if number < len(Unit) else f"remote {number}"


def _sentence(code, syndrome):
    """What a syndrome means, as ``superlip.rtl.ports.UnitError`` defines it."""
    response = {1: "EXOKAY", 2: "SLVERR", 3: "DECERR"}.get(syndrome & 3, "OKAY")
    match code:
        case UnitError.ADDRESS:
            return f"address {syndrome} is outside the memory"
        case UnitError.OPERAND:
            return f"an operand makes no sense: {syndrome}"
        case UnitError.AXI_READ:
            return f"a read on AXI port {syndrome >> 8} was answered with {response}"
        case UnitError.AXI_WRITE:
            return f"a write on AXI port {syndrome >> 8} was answered with {response}"
        case UnitError.COUNTER:
            return f"the counter of {_part(syndrome >> 8)} for posts of {_source(syndrome & 255)} overflowed"
        case UnitError.OPCODE:
            return f"unknown opcode {syndrome}"
        case UnitError.WATCHDOG:
            lacking = [_source(s) for s in range(COUNTERS) if syndrome >> (8 + s) & 1]
            waits = f" waits for {' and '.join(lacking)}" if lacking else " makes no progress"
            return f"no progress: {_part(syndrome & 255)}{waits}"
        case UnitError.FRAME:
            names = {int(f): f.name for f in FrameField}
            value = syndrome & 0xFF_FFFF
            return f"a frame is intact but wrong: {names.get(syndrome >> 24, f'field {syndrome >> 24}')} is {value}"
        case UnitError.LINK:
            return f"a frame had a wrong CRC or was cut short ({syndrome} frames lost so far)"
        case UnitError.CREDIT:
            return f"the other side sent more than its credits allow ({syndrome} slots in use)"
    return f"{code.name}, syndrome {syndrome:#x}"
