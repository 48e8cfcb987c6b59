"""What comes out of a run of the native cluster simulator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np

from superlip.rtl.isa import COUNTERS, Unit
from superlip.rtl.link.frame import FrameField
from superlip.rtl.ports import UnitError
from superlip.rtl.registers import ERROR_UNIT_FETCH, ERROR_UNIT_LINK, ERROR_UNIT_WATCHDOG
from superlip.tools.toolchain import ToolError

__all__ = [
    "LOST_DTYPE",
    "NO_TAG",
    "PROFILE_DTYPE",
    "Cause",
    "Facts",
    "NodeError",
    "RunResult",
    "SimulationError",
    "UnitState",
    "read_result",
    "trace_dtype",
]

PROFILE_DTYPE = np.dtype(
    [
        ("image", "<i4"), ("node", "<u2"), ("unit", "<u2"), ("tag", "<u2"), ("segment", "<u2"), ("taken", "<u4"),
        ("first_taken", "<i8"), ("last_done", "<i8"),
        ("busy", "<i8"), ("stalled", "<i8"), ("waiting", "<i8"), ("lacking", "<i8", COUNTERS), ("bytes", "<i8"),
    ]
)  # fmt: skip
"""One record for each image, segment of it, node, unit and tag that occurred.

``taken`` counts instructions that were done; ``first_taken`` and ``last_done`` are cycles from the start of the image,
-1 if there were none; ``busy``, ``stalled`` (a part of busy) and ``waiting`` are cycles, ``lacking[s]`` those in which
it waited for source s, among others. ``bytes``: LOAD: read from DRAM, STORE: written to DRAM, SEND: sent over the link,
frame headers and credits included, counted for the tag that the unit was working on, or worked on last.
"""


class Cause(IntEnum):
    """What MATMUL did in a cycle, or for what it waited: of every cycle exactly one is true."""

    PIXEL = 0
    """A pixel went out."""
    FEEDING = 1
    """The next weights were not in the array: FEED was loading them, or had no instruction."""
    WEIGHTS_DRAM = 2
    """They were not there since FEED waited for LOAD."""
    WEIGHTS_LINK = 3
    """... or for another node."""
    LOADED = 4
    """The next instruction waited for LOAD."""
    VECTORS = 5
    """It waited for VECTOR: to empty the accumulators, or to write what it reads."""
    LINK = 6
    """It waited for another node."""
    OTHERS = 7
    """It waited for another unit."""
    NOTHING = 8
    """There was no next instruction, or it had just arrived."""


NO_TAG = 0xFFFF

LOST_DTYPE = np.dtype(
    [
        ("image", "<i4"), ("node", "<u2"), ("segment", "<u2"), ("instruction", "<u4"), ("tag", "<u2"), ("other", "<u2"),
        ("cause", "<u4"), ("cycles", "<u4"),
    ]
)  # fmt: skip
"""How many cycles of an image had which `Cause` on a node: those of all records of a node are the image's cycles.

They belong to the MATMUL instruction (of the segment, from 0) whose pixels they are, or that could not begin in them;
behind the last one to a number more, with its tag. ``other`` is the tag that LOAD (LOADED) or VECTOR (VECTORS, LINK,
NOTHING) was at in these cycles; NO_TAG if it was idle. Where several are waited for, another node comes first, then
LOAD, then VECTOR. The few cycles in which an instruction is prepared have the cause of the wait before them.
"""


def trace_dtype(tn: int) -> np.dtype:
    """One write of VECTOR to the activation buffer: lanes where ``mask`` is set, ``cycle`` from the image's start."""
    return np.dtype(
        [
            ("cycle", "<i8"), ("image", "<i4"), ("address", "<u4"), ("tag", "<u2"), ("node", "<u2"),
            ("mask", "u1", tn // 8), ("data", "i1", tn),
        ]
    )  # fmt: skip


class SimulationError(ToolError):
    """The simulation could not be run, or a node failed in it; the message says what happened."""


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
        first one in which all nodes raise ``irq``; with host stops, the sum over the segments between them. Only images
        that ended well.
    init_cycles : int
        The same for the init programs, 0 if there are none.
    node_cycles : ndarray int64, shape (images, boards)
        From the same start until each node raised ``irq``; -1 where a node had no program.
    starts : ndarray int64, shape (images,)
        Cluster cycle of each start, counted from the reset, as ``Waves`` counts.
    outputs : list of list of ndarray uint8
        For each image the output ranges, in order.
    trace : structured ndarray (trace_dtype)
        VECTOR writes of the traced images; of each node in order of time. Its cycles, as those of ``profile`` and
        ``errors``, leave out what passes between the segments of an image.
    profile : structured ndarray (PROFILE_DTYPE)
    lost : structured ndarray (LOST_DTYPE)
        Every cycle of every image, with what MATMUL did in it.
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
    lost: np.ndarray
    loaded: np.ndarray
    fetched: np.ndarray
    stored: np.ndarray
    sent: np.ndarray
    errors: list[NodeError]
    late: list[int]
    states: list[UnitState]
    simulated_cycles: int
    seconds: float
    runs: dict[int, "_Run"] = field(default_factory=dict, repr=False)

    def cluster_cycle(self, image: int, cycle: int) -> int:
        """Cluster cycle, as ``Waves`` counts, of a cycle of an image (-1: of the init programs)."""
        run = self.runs[image]
        return cycle + int(run.zero[np.searchsorted(run.before, cycle, side="right") - 1])

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
class Facts:
    """Lines that the simulator printed, as numbers."""

    segments: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    nodes: dict[tuple[int, int, int], int] = field(default_factory=dict)
    errors: list[tuple[int, ...]] = field(default_factory=list)
    late: list[tuple[int, ...]] = field(default_factory=list)
    states: list[tuple[int, ...]] = field(default_factory=list)
    bytes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    cycle: int = 0
    seconds: float = 0.0
    ended: bool = False

    def add(self, key: str, values: Sequence[str]) -> None:
        if key == "end":
            self.cycle, self.seconds, self.ended = int(values[0]), float(values[1]), True
            return
        numbers = tuple(map(int, values))
        if key == "image":
            image, segment, start, cycles = numbers
            self.segments[image, segment] = start, cycles
        elif key == "node":
            image, segment, node, cycle = numbers
            self.nodes[image, segment, node] = cycle
        elif key == "bytes":
            self.bytes[numbers[0]] = numbers[1:]
        else:
            {"error": self.errors, "late": self.late, "state": self.states}[key].append(numbers)

    def runs(self) -> dict[int, "_Run"]:
        """Image -> _Run."""
        found = {}
        for (image, _), times in sorted(self.segments.items()):
            found.setdefault(image, []).append(times)
        return {image: _Run(*np.array(times, np.int64).T) for image, times in found.items()}


def read_result(
    folder: Path, facts: Facts, *, boards: int, outputs: Sequence[tuple[int, int, int]], tn: int
) -> RunResult:
    """RunResult from the simulator's files in ``folder`` and its lines; ``outputs`` as given to ``Simulator.run``."""
    runs = facts.runs()
    done = sorted(image for image in runs if image >= 0)
    failed = {image for image, *_ in [*facts.errors, *facts.late]}
    good = [image for image in done if image not in failed]
    raw = np.fromfile(folder / "outputs.bin", np.uint8)
    bounds = np.cumsum([0, *(length for _, _, length in outputs)])
    traces = [np.fromfile(path, trace_dtype(tn)) for path in sorted(folder.glob("trace-*.bin"))]
    trace = np.concatenate([np.empty(0, trace_dtype(tn)), *traces])
    profile = np.fromfile(folder / "profile.bin", PROFILE_DTYPE)
    for image, run in runs.items():
        mine = trace["image"] == image
        trace["cycle"][mine] -= run.zero[np.searchsorted(run.starts, trace["cycle"][mine], side="right") - 1]
        mine = profile["image"] == image
        for name in ("first_taken", "last_done"):
            profile[name][mine] -= run.zero[profile["segment"][mine]]
    for name in ("first_taken", "last_done"):
        profile[name][profile["taken"] == 0] = -1
    node_cycles = [[runs[i].finished(facts, i, n) for n in range(boards)] for i in good]
    counts = np.array([facts.bytes[n] for n in range(boards)], np.int64)
    errors = [_node_error(i, n, int(runs[i].before[s]) + cycle, *rest) for i, s, n, cycle, *rest in facts.errors]
    return RunResult(
        boards=boards,
        cycles=np.array([runs[i].total for i in good], np.int64),
        init_cycles=runs[-1].total if -1 in runs else 0,
        node_cycles=np.array(node_cycles, np.int64).reshape(-1, boards),
        starts=np.array([runs[i].starts[0] for i in done], np.int64),
        outputs=[
            [raw[i * bounds[-1] + bounds[k] : i * bounds[-1] + bounds[k + 1]] for k in range(len(outputs))]
            for i in range(len(good))
        ],
        trace=trace,
        profile=profile,
        lost=np.fromfile(folder / "lost.bin", LOST_DTYPE),
        loaded=counts[:, 0],
        fetched=counts[:, 1],
        stored=counts[:, 2],
        sent=counts[:, 3],
        errors=sorted(errors, key=lambda e: e.cycle),
        late=[node for _, _, node in facts.late],
        states=[_unit_state(*s) for s in facts.states],
        simulated_cycles=facts.cycle,
        seconds=facts.seconds,
        runs=runs,
    )


@dataclass(frozen=True)
class _Run:
    """One image: cycle in which each segment started, and how many cycles it took."""

    starts: np.ndarray
    cycles: np.ndarray

    @property
    def total(self):
        return int(self.cycles.sum())

    @property
    def before(self):
        """Cycles of the image before each segment: those between segments don't count."""
        return np.cumsum(self.cycles) - self.cycles

    @property
    def zero(self):
        """What to subtract from a cycle of each segment to count from the start of the image."""
        return self.starts - self.before

    def finished(self, facts, image, node):
        """Cycles of the image until a node's last program ended; -1 without programs."""
        ends = [(s, facts.nodes[image, s, node]) for s in range(len(self.starts)) if (image, s, node) in facts.nodes]
        return int(self.before[ends[-1][0]]) + ends[-1][1] if ends else -1


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
        case UnitError.REGION:
            return f"DRAM outside its region: what it wants goes on to page {syndrome:#x} of the bus"
    return f"{code.name}, syndrome {syndrome:#x}"
