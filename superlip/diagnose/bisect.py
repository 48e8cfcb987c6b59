"""Finds the first thing that goes wrong in a run: which value, where, in which cycle, by which instruction.

The trace of a run holds every word that VECTOR writes, with its cycle. Layers overlap in time, and a wrong value makes
others wrong that are computed from it; so the wrong write that comes first in time, over all boards, is the one whose
inputs were right. Two kinds of finding stand beside each other, and say where they come from: the *symptom*, from the
simulation against the golden, and the *cause*, where the boards' DRAM images differ from those of a new compile.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from superlip import golden
from superlip.compile.compiled import Compiled
from superlip.compile.compiler import compile_network
from superlip.compile.design import Design
from superlip.rtl.config import DRAM_ADDRESS_BITS
from superlip.rtl.isa import Memory, Opcode, Region, Unit, VectorOp
from superlip.rtl.vector_model import Fields, Places
from superlip.run.images import DataError
from superlip.run.simulate import simulate
from superlip.run.verify import TraceChecker
from superlip.tools.terminal import counted

from .hang import Reached, explain_hang, failing_instruction
from .image_check import ImageDifference, check_images
from .programs import BoardPrograms, Listed, read_programs

__all__ = ["Finding", "Place", "bisect", "built_dram", "first_finding"]

BEFORE, AFTER = 200, 50
"""Cycles of waveform before and behind the one that was found."""
TIME = 10
"""Units of time of a cycle in a waveform."""
SHOWN = 8
"""Causes that are printed."""


@dataclass(frozen=True)
class Place:
    """A value of a layer: ``tile`` counts words of Tn channels of the storage it lies in, ``got`` is the RTL's."""

    op: int
    layer: str
    nodes: tuple[str, ...]
    tile: int
    channel: int
    row: int
    col: int
    lane: int
    got: int | None
    expected: int


@dataclass(eq=False)
class Finding:
    """What goes wrong first.

    Parameters
    ----------
    kind : str
        "value" (a wrong value is written), "address" (a word is written to the wrong place, or with the wrong lanes),
        "missing" (a word is never written), "output" (a right value arrives wrong in DRAM), "error" (a node stopped),
        "hang" (nothing moves any more) or "files" (all values are right, but the DRAM images are not the compiler's).
    image : int
        -1: the init programs.
    cycle : int
        From the start of the image: of the wrong write; of a failure; of the last instruction done before a hang.
    place : Place or None
        The first value that is wrong, where one is.
    differing, values : int
        Values of that layer in that image that differ, and how many there are, as VECTOR of all boards writes them.
    instruction : Listed or None
        The one at work, as it lies in the board's DRAM.
    fed_by : list of Listed
        MATMUL, FEED and LOADs that brought its operands.
    details : list of str
        What else is known, in sentences.
    culprit : Listed or None
        Of a hang: the instruction that should have posted and did not.
    causes : list of ImageDifference
        The nearest to the finding first.
    waves : list of Path
    waves_time : int
        Time in them of the cycle.
    """

    kind: str
    image: int
    board: int
    cycle: int
    place: Place | None = None
    differing: int = 0
    values: int = 0
    instruction: Listed | None = None
    fed_by: list[Listed] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    culprit: Listed | None = None
    causes: list[ImageDifference] | None = None
    waves: list[Path] = field(default_factory=list)
    waves_time: int = 0

    def __str__(self):
        lines = [_TITLES[self.kind].format(image=f"image {self.image}" if self.image >= 0 else "the init programs")]
        if self.place is not None:
            lines += _described(self.place)
        if self.kind != "files":
            lines.append(f"  when     board {self.board}, cycle {self.cycle:,} from the start")
        if self.values:
            lines.append(f"  extent   {self.differing:,} of {self.values:,} values of this layer differ")
        lines += [f"  {'found' if not i else '':8} {text}" for i, text in enumerate(self.details)]
        if self.instruction is not None:
            lines.append(f"  at work  {self.instruction}")
        lines += [f"  {'fed by' if not i else '':8} {listed}" for i, listed in enumerate(self.fed_by)]
        lines += _cause_lines(self.causes)
        lines += [f"waveform: {path}; the cycle above begins at time {self.waves_time}" for path in self.waves]
        return "\n".join(lines)


_TITLES = {
    "value": "{image}: the first wrong value in time (simulation against the golden)",
    "address": "{image}: the first word written to the wrong place (simulation against the compiler's program)",
    "missing": "{image}: a word is never written (simulation against the compiler's program)",
    "output": "{image}: VECTOR wrote everything right, but a result in DRAM is wrong (simulation against the golden)",
    "error": "{image}: a node stopped with an error (its registers ERROR and SYNDROME)",
    "hang": "{image}: the boards hang (states of the units against the compiler's program)",
    "files": "every value equals the golden's, but the DRAM images differ from a new compile's",
}


def _described(place):
    nodes = f" (model: {', '.join(place.nodes)})" if place.nodes and place.nodes != (place.layer,) else ""
    where = f"channel {place.channel}, row {place.row}, column {place.col}"
    got = "nothing" if place.got is None else place.got
    return [
        f"  layer    {place.layer}{nodes}",
        f"  value    tile {place.tile}, {where}: {got} instead of {place.expected}",
    ]


def _cause_lines(causes):
    if causes is None:
        return []
    if not causes:
        return ["cause: none in the files: all DRAM images equal a new compile's, so look at the hardware"]
    lines = ["cause, from the boards' DRAM images against a new compile:"]
    lines += [f"  {cause}" for cause in causes[:SHOWN]]
    return lines + ([f"  and {len(causes) - SHOWN} more differences"] if len(causes) > SHOWN else [])


def bisect(
    design: Design,
    images: np.ndarray,
    *,
    dram: Any = None,
    simulator: Any = None,
    waves: str | Path | None = None,
    progress: bool = False,
    note: Callable[[str], None] | None = None,
    **options: Any,
) -> Finding | None:
    """Simulate a design and find the first thing that goes wrong; None if all values and DRAM images are right.

    Parameters
    ----------
    design : superlip.api.Design
    images : ndarray, shape (B, C, H, W)
        As for ``superlip.golden.quantize_input``.
    dram : sequence of sequence of (byte offset, bytes), one for each board
        Contents of the boards' DRAM (see `built_dram`), instead of the design's own.
    simulator : Simulator, optional
        For the first run; by default built for the design's target.
    waves : path, optional
        Folder for ``bisect-N.vcd``, a waveform of each board N around the finding; this takes a simulator and a run
        of its own.
    progress : bool
    note : callable of str, optional
    options
        As for ``Simulator.run``: ``watchdog``, ``faults``, ``max_cycles``.
    """
    from superlip.sim.cluster import Simulator  # noqa: PLC0415 - the simulator's tools are an extra

    say = note or (lambda text: None)
    quantized = golden.quantize_input(design.graph, images)
    expected = golden.run(design.graph, quantized)
    simulator = simulator or Simulator.build(design.target, note=say)
    say(f"simulating {counted(len(quantized), 'image')} on {counted(len(design.compiled.boards), 'board')}")
    dram = _dram(design, dram)
    result = simulate(simulator, design, quantized, dram=dram, progress=progress, **options)
    finding = first_finding(design, result, expected, dram=dram)
    if finding is not None and finding.kind != "files" and waves is not None:
        say("simulating again for the waveform")
        recorder = simulator if simulator.waves else Simulator.build(design.target, waves=True, note=say)
        needed = quantized[: max(finding.image, 0) + 1]
        _record(recorder, design, needed, finding, result, Path(waves), dram, options)
    return finding


def _record(simulator, design, quantized, finding, result, folder, dram, options):
    from superlip.sim.cluster import Waves  # noqa: PLC0415

    at = result.cluster_cycle(finding.image, finding.cycle)
    window = Waves(folder / "bisect.vcd", max(0, at - BEFORE), at + AFTER)
    folder.mkdir(parents=True, exist_ok=True)
    simulate(simulator, design, quantized, dram=dram, waves=window, **options)
    finding.waves = [folder / f"bisect-{n}.vcd" for n in range(result.boards)]
    finding.waves_time = TIME * at


def _dram(design, dram):
    """Contents of the boards' DRAM: the given ones, or the design's."""
    if dram is None:
        return [board.dram.extents for board in design.compiled.boards]
    if len(dram) != len(design.compiled.boards):
        raise DataError(f"there are DRAM images of {len(dram)} boards, for {len(design.compiled.boards)} boards")
    return dram


def built_dram(folder: str | Path) -> list[list[tuple[int, bytes]]]:
    """Contents of the boards' DRAM from a folder that ``superlip build`` wrote, for ``bisect``.

    Raises
    ------
    DataError
        If it is no such folder.
    """
    folder = Path(folder)
    try:
        boards = json.loads((folder / "manifest.json").read_text())["boards"]
        dram = []
        for number, board in enumerate(boards):
            data = (folder / f"board{number}" / "dram.bin").read_bytes()
            pieces = [(s["offset"], s["file_offset"], s["length"]) for s in board["dram"]]
            dram.append([(offset, data[at : at + length]) for offset, at, length in pieces])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a folder that superlip build wrote: {error}") from None
    return dram


def first_finding(
    design: Design,
    result: Any,
    expected: Mapping[str, np.ndarray],
    *,
    dram: Any = None,
    reference: Compiled | None = None,
) -> Finding | None:
    """Find the first thing that went wrong in a run with a trace of all images; None if nothing did.

    Parameters
    ----------
    design : superlip.api.Design
    result : RunResult
    expected : dict of str to ndarray
        The golden's values, shape (B, C, H, W).
    dram
        What lay in the boards' DRAM, as for ``bisect``.
    reference : Compiled, optional
        What the compiler makes: by default it is asked again, and the DRAM images are compared. Given, they are not.
    """
    dram = _dram(design, dram)
    compiled = reference or compile_network(design.network, design.plan, design.target)
    search = _Search(design, compiled, dram, result)
    finding = search.first(design.network.complete(expected))
    if reference is not None:
        return finding
    causes = check_images(compiled, dram)
    if finding is None and causes:
        finding = Finding("files", 0, causes[0].board, 0)
    if finding is not None:
        op = finding.place.op if finding.place is not None else None
        finding.causes = sorted(causes, key=lambda c: (c.op != op, c.board != finding.board))
    return finding


class _Search:
    def __init__(self, design, compiled, dram, result):
        self.design, self.compiled, self.result = design, compiled, result
        self.checker = TraceChecker(compiled)
        images = [board.dram.extents for board in compiled.boards]
        self.loaded, self.right = (
            [
                read_programs(n, extents, board.init_program, board.programs)
                for n, (extents, board) in enumerate(zip(contents, compiled.boards, strict=True))
            ]
            for contents in (dram, images)
        )
        self.addresses = [_addresses(programs, self.checker.tn) for programs in self.right]

    def first(self, expected):
        """The first Finding, in order of images and cycles."""
        failed = {error.image for error in self.result.errors}
        if -1 in failed:
            return self._failure(-1)
        trace = self.result.trace
        good = len(self.result.cycles)
        for image in range(len(next(iter(expected.values())))):
            mine = {name: values[image] for name, values in expected.items()}
            writes = trace[trace["image"] == image]
            stopped = image >= good
            expected_words = self.checker.expected(mine)
            found = [self._write(image, n, writes, expected_words, stopped) for n in range(len(self.loaded))]
            found += [self._failure(image)] if stopped else []
            found = [finding for finding in found if finding is not None]
            if found:
                first = min(found, key=lambda finding: finding.cycle)
                if first.kind in ("value", "address"):
                    first.differing, first.values = self._extent(first.place.op, writes, expected_words)
                first.details += [d for f in found if f is not first and f.kind in ("error", "hang") for d in f.details]
                return first
            if stopped:
                return None
            if (finding := self._output(image, mine)) is not None:
                return finding
        return None

    # -- writes --------------------------------------------------------------------------------------------

    def _extent(self, op, writes, expected_words):
        """(values of an operation that differ, its values), over all boards."""
        checker, differing, values = self.checker, 0, 0
        for board, (ops, places, lanes) in enumerate(zip(checker.op, checker.index, checker.lane, strict=True)):
            got = writes["data"][writes["node"] == board][: len(ops)]
            mine = ops[: len(got)] == op
            wrong = (got[mine] != expected_words[places[: len(got)][mine]]) & lanes[: len(got)][mine]
            differing += int(wrong.sum())
            values += int(lanes[ops == op].sum())
        return differing, values

    def _write(self, image, board, writes, expected_words, stopped):
        """The first wrong write of one board, or None."""
        checker = self.checker
        got = writes[writes["node"] == board]
        places, lanes = checker.index[board], checker.lane[board]
        count = min(len(got), len(places))
        want = expected_words[places]
        data = (got["data"][:count] != want[:count]) & lanes[:count]
        masks = np.unpackbits(got["mask"][:count], axis=1, bitorder="little").astype(bool)
        _, address, first_last = self.addresses[board]
        every = np.arange(checker.tn)
        right = (first_last[:, :1] <= every) & (every <= first_last[:, 1:])
        elsewhere = (got["address"][:count] != address[:count]) | (masks != right[:count]).any(axis=1)
        wrong = elsewhere | data.any(axis=1)
        if wrong.any():
            at = int(np.argmax(wrong))
            lane = int(np.argmax(data[at] if data[at].any() else lanes[at]))
            kind = "address" if elsewhere[at] else "value"
            finding = self._wrong(kind, image, board, at, lane, int(got["data"][at, lane]), want, int(got["cycle"][at]))
            word = f"word {int(got['address'][at])} of the activation buffer, lanes {_lanes(masks[at])}"
            if kind == "address":
                word = f"written to {word}; the compiler's program writes word {address[at]}, lanes {_lanes(right[at])}"
            finding.details.append(word)
            return finding
        if stopped or len(got) == len(places):
            return None
        if len(got) < len(places):
            lane = int(np.argmax(lanes[count]))
            cycle = int(got["cycle"][-1]) if len(got) else 0
            finding = self._wrong("missing", image, board, count, lane, None, want, cycle)
        else:
            cycle = int(got["cycle"][count])
            finding = Finding("missing", image, board, cycle, instruction=self._vector(board, -1))
        finding.details.append(f"VECTOR wrote {len(got)} words; the compiler's program writes {len(places)}")
        return finding

    def _wrong(self, kind, image, board, at, lane, got, want, cycle):
        op, tile, channel, row, col = self.checker.place(board, at, lane)
        node = self.compiled.network.ops[op]
        place = Place(
            op, node.name, node.node.onnx_names, tile, channel, row, col, lane, got, int(want[at, lane])
        )  # fmt: skip
        instruction = self._vector(board, int(self.addresses[board][0][at]))
        fed_by = [] if instruction is None else list(_fed_by(instruction, self.loaded))
        return Finding(kind, image, board, cycle, place, instruction=instruction, fed_by=fed_by)

    def _vector(self, board, number):
        """A VECTOR instruction as it lies in DRAM."""
        listed = self.loaded[board].of(Unit.VECTOR)
        return listed[number] if -len(listed) <= number < len(listed) else None

    # -- what the host reads -------------------------------------------------------------------------------

    def _output(self, image, golden_values):
        """The first value of the outputs that is wrong in DRAM."""
        values = self.compiled.outputs([np.asarray(part).tobytes() for part in self.result.outputs[image]])
        for name, have in values.items():
            wrong = np.argwhere(have != golden_values[name])
            if not len(wrong):
                continue
            channel, row, col = (int(n) for n in wrong[0])
            lies = self.compiled.network.places[name]
            storage = lies.storage
            tile, lane = divmod(storage.lane(lies.offset + channel), storage.tn)
            board = int(self.compiled.owners[storage.name][tile, row]) if storage.name in self.compiled.owners else 0
            op = next(i for i, op in enumerate(self.compiled.network.ops) if op.output.storage is storage)
            node = self.compiled.network.ops[op]
            got, want = int(have[channel, row, col]), int(golden_values[name][channel, row, col])
            place = Place(op, node.name, node.node.onnx_names, tile, channel, row, col, lane, got, want)
            word = self.compiled.boards[board].base[storage.name] + (tile * storage.height + row) * storage.width + col
            store = self._store(board, word)
            cycle = int(self.result.node_cycles[image, board])
            region, at = Region(word >> DRAM_ADDRESS_BITS), word % (1 << DRAM_ADDRESS_BITS)
            details = [f"output {name}: word {at} of the {region.name.lower()} in DRAM"]
            return Finding("output", image, board, cycle, place, len(wrong), have.size, store, [], details)
        return None

    def _store(self, board, word):
        """The STORE that should write a word of DRAM: found in the compiler's program, shown as it lies in DRAM."""
        stores = [i for i in self.right[board].of(Unit.STORE) if _covers(i.body, "dram", word)]
        loaded = self.loaded[board].of(Unit.STORE)
        return loaded[stores[-1].number] if stores and stores[-1].number < len(loaded) else None

    # -- failures ------------------------------------------------------------------------------------------

    def _failure(self, image):
        """An error of a node, or a hang."""
        result = self.result
        reached = Reached.of(result, image)
        errors = [error for error in result.errors if error.image == image]
        details = [str(error) for error in errors]
        real = next((error for error in errors if error.unit != "watchdog"), None)
        if real is not None:
            instruction = failing_instruction(real, reached, self.loaded[real.node], self.design.target)
            details += [f"board {real.node}: {why}" for why in self.loaded[real.node].broken.values()]
            return Finding("error", image, real.node, real.cycle, instruction=instruction, details=details)
        board = errors[0].node if errors else result.late[0]
        details += [f"node {node} did not finish" for node in result.late]
        hang = explain_hang(result.states, reached, board, self.loaded, self.right)
        board = hang.instruction.board if hang.instruction is not None else board
        return Finding(
            "hang", image, board, reached.last, instruction=hang.instruction, details=details + hang.steps,
            culprit=hang.culprit,
        )  # fmt: skip


def _addresses(programs: BoardPrograms, tn: int):
    """Of every word that VECTOR writes in an image: number of the instruction, address, (first, last lane)."""
    numbers, addresses, lanes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, 2), np.int64)]
    for i in programs.of(Unit.VECTOR):
        body, dest = i.body, Places(None, Fields(i.body)).dest
        addresses.append(dest)
        numbers.append(np.full(len(dest), i.number))
        last = tn - 1 if body["zero_above"] else body["lane_last"]
        lanes.append(np.tile([body["lane_first"], last], (len(dest), 1)))
    return np.concatenate(numbers), np.concatenate(addresses), np.concatenate(lanes)


def _lanes(mask):
    """Lanes as ``0-7``."""
    lanes = np.flatnonzero(mask)
    return "none" if not len(lanes) else f"{lanes[0]}-{lanes[-1]}"


def _covers(body, place, word):
    """Whether a copy touches a word."""
    rest = word - body[place]
    for stride, count in ((f"{place}_stride2", body["count2"]), (f"{place}_stride1", body["count1"])):
        if body[stride]:
            rest -= min(max(rest, 0) // body[stride], count - 1) * body[stride]
    return 0 <= rest < body["count0"]


def _fed_by(vector, loaded):
    """The instructions nearest before a VECTOR instruction that brought its operands: MATMUL, FEED, LOADs."""
    programs = loaded[vector.board]
    before = programs.image[: programs.image.index(vector)][::-1]
    if vector.body["op"] == VectorOp.REQUANTIZE:
        matmul = _nearest(before, Opcode.MATMUL, vector.tag)
        feed = _nearest(before[before.index(matmul) :] if matmul else [], Opcode.FEED, vector.tag)
        yield from (i for i in (matmul, feed) if i is not None)
        if feed is not None and (source := _bringer(Memory.WEIGHT, feed.body["weights"], before, feed, loaded)):
            yield source
    user = vector if vector.body["load_params"] or vector.body["load_table"] else None
    same = (i for i in before if i.opcode is Opcode.VECTOR and i.tag == vector.tag)
    user = user or next((i for i in same if i.body["load_params"] or i.body["load_table"]), None)
    if user is not None and (source := _bringer(Memory.ACT, user.body["params"], [], user, loaded)):
        yield source


def _nearest(before, opcode, tag):
    return next((i for i in before if i.opcode is opcode and i.tag == tag), None)


def _bringer(memory, address, before, user, loaded):
    """The LOAD before ``user`` (the init program is before all), or another board's SEND, that wrote an address."""
    remotely = [i for n, p in enumerate(loaded) if n != user.board for i in p.of(Unit.SEND)]
    loads = [i for i in before if i.opcode is Opcode.LOAD] + loaded[user.board].of(Unit.LOAD, init=True)[::-1]
    for i in loads:
        mine = memory == Memory.ACT or i.tag == user.tag  # weights come and go: only the layer's own
        if i.body["memory"] == memory and mine and _covers(i.body, "local", address):
            return i
    for i in remotely:
        body = i.body
        fits = body["node"] == user.board and body["remote_memory"] == memory and i.tag == user.tag
        if fits and body["remote"] <= address < body["remote"] + body["count0"]:
            return i
    return None
