"""VECTOR (``superlip.rtl.vector``): parameters, steps, results."""

from collections import deque
from collections.abc import Callable, Generator, Iterator

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import DEPTHWISE_KERNEL, DEPTHWISE_WORDS, PARAM_WORDS, VectorOp, table_words
from superlip.rtl.ports import READ_LATENCY
from superlip.rtl.vector import Vector as VectorUnit
from superlip.rtl.vector_table import ROW_BYTES

from .banks import MatrixReads, Use, Uses
from .clock import Clock, Process, Signal, Wait
from .instructions import Instruction
from .issue import Issue

__all__ = ["Vector", "steps_of"]

SETUP = 3
"""Cycles from an instruction to its job."""
STEPS = 2
"""Cycles from a job to its first step."""
IDLE = 64
"""Steps, at most, that are taken while MATMUL is idle before it is looked at again."""


def steps_of(body: dict[str, int]) -> int:
    """Source pixels that an instruction goes through, a cycle each."""
    op = body["op"]
    if op == VectorOp.DEPTHWISE:
        down = (body["rows"] - 1) * body["stride_y"] + DEPTHWISE_KERNEL
        return body["groups"] * down * ((body["cols"] - 1) * body["stride_x"] + DEPTHWISE_KERNEL)
    results = body["groups"] * body["rows"] * body["cols"]
    return results * (2 if op in (VectorOp.ADD, VectorOp.MUL) else body["kh"] * body["kw"])


class Vector:
    """Instructions one behind the other, without a gap unless parameters come first."""

    def __init__(
        self, clock: Clock, node: NodeConfig, issue: Issue, matrix: MatrixReads, done: Callable[[Instruction], None]
    ) -> None:
        self.clock, self.node, self.issue, self.matrix, self.done = clock, node, issue, matrix, done
        self.latency = VectorUnit(node).latency
        self.words, self.rows_per_word = table_words(node.tn), max(node.tn // ROW_BYTES, 1)
        self.taken, self.accepted = Signal(), Signal()
        self.jobs: deque[Instruction] = deque()
        self.job_taken = -1
        self.writes, self.reads = Uses(), Uses()
        """Of the activation buffer; the parameters are not among them."""
        clock.begin(self._prepare())
        clock.begin(self._walk())

    def _prepare(self) -> Process:
        free = -1
        while True:
            instruction = yield from self.issue.take(free)
            self.jobs.append(instruction)
            self.clock.give(self.taken)
            while self.jobs:
                yield self.accepted
            free = self.job_taken + 1

    def _walk(self) -> Process:
        last = -10  # cycle of the last step
        written = -1
        while True:
            while not self.jobs:
                yield self.taken
            instruction, body = self.jobs[0], self.jobs[0].body
            job = max(instruction.taken + SETUP, last - 1)
            if body["load_params"] or body["load_table"]:
                start = max(job, last + 1, written + 1)
                if start > self.clock.now:
                    yield start
                job = yield from self._parameters(body, start)
            if job > self.clock.now:
                yield job
            self.job_taken = job
            self.jobs.popleft()
            self.clock.give(self.accepted)
            last = max(job + STEPS, last + 1) - 1
            writing = self._writing(body, last + 1 + self.latency)
            for mask, steps in self._reads(body):
                first, sums = last + 1, body["op"] == VectorOp.REQUANTIZE
                last = (yield from self._steps(sums, mask, first, steps)) - 1
                if not sums:
                    self.reads.last.append(Use(first, last + 1, 1, [mask]))
            written = last + self.latency
            writing.end = written + 1
            self.clock.at(max(written + 1, self.clock.now), self.done, instruction)
            if last - 1 > self.clock.now:
                yield last - 1

    def _writing(self, body: dict[str, int], first: int) -> Use:
        """What it writes, as long as nothing holds it up."""
        steps, bank = steps_of(body), self.matrix.bank
        rows = [
            bank(body["dest"] + group * body["dest_plane"] + row * body["dest_pitch"])
            for group in range(body["groups"])
            for row in range(body["rows"])
        ]
        if body["op"] == VectorOp.DEPTHWISE:
            rows = [sum(set(rows[at : at + body["rows"]])) for at in range(0, len(rows), body["rows"])]
        writing = Use(first, first + steps, max(1, steps // (body["groups"] * body["rows"] * body["cols"])), rows)
        self.writes.last.append(writing)
        return writing

    def _steps(self, sums: bool, mask: int, cycle: int, number: int) -> Generator[Wait, None, int]:
        """Steps that read some banks (0: none), or half of the accumulators; returns the cycle behind the last."""
        if mask == 0 and not sums:
            return cycle + number
        while True:
            cycle, number = (self.matrix.sums if sums else self.matrix.reads)(mask, cycle, number)
            if number == 0:
                return cycle
            if cycle > self.clock.now:  # by then more is known of MATMUL
                yield cycle
                continue
            if self.matrix.known <= self.clock.now:  # MATMUL is idle
                part = min(number, IDLE)
                cycle, number = cycle + part, number - part
                if number == 0:
                    return cycle
                yield cycle

    def _reads(self, body: dict[str, int]) -> Iterator[tuple[int, int]]:
        """Banks, or half of the accumulators, and steps, one after the other."""
        op, steps = body["op"], steps_of(body)
        if op == VectorOp.REQUANTIZE:
            yield body["source"] >= self.matrix.half, steps
            return
        rows = 1 if op == VectorOp.DEPTHWISE else body["rows"]
        bank = self.matrix.bank
        for group in range(body["groups"]):
            source = body["source"] + group * body["plane"]
            for row in range(rows):
                top = max(0, body["y0"] + row * body["stride_y"])
                down = (body["rows"] - 1) * body["stride_y"] + DEPTHWISE_KERNEL if rows == 1 else body["kh"]
                bottom = min(body["height"], body["y0"] + row * body["stride_y"] + down) - 1
                mask = bank(source + top * body["pitch"]) | bank(source + bottom * body["pitch"])
                if op in (VectorOp.ADD, VectorOp.MUL):
                    mask |= bank(body["source_b"] + group * body["plane_b"] + row * body["pitch_b"])
                yield mask, steps // (body["groups"] * rows)

    def _parameters(self, body: dict[str, int], start: int) -> Generator[Wait, None, int]:
        """Read parameters and table from the cycle behind the loader's start on; returns when the job can go on."""
        params = (PARAM_WORDS + (DEPTHWISE_WORDS if body["op"] == VectorOp.DEPTHWISE else 0)) * body["load_params"]
        mask, end = self.matrix.bank(body["params"]), start + 1
        if params:
            end = yield from self._steps(False, mask, end, params)
        if not body["load_table"]:
            return end + READ_LATENCY
        for _ in range(self.words):
            end = (yield from self._steps(False, mask, end, 1)) + self.rows_per_word - 1
        return end + 1 + READ_LATENCY
