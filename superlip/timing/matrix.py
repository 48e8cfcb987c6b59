"""FEED and MATMUL (``superlip.rtl.feed``, ``matmul``, ``pixel_walk``): weight sets and the passes that they are for."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from superlip.rtl.accumulators import Accumulators
from superlip.rtl.config import FEED_WORDS, NodeConfig
from superlip.rtl.feed import Feed as FeedUnit
from superlip.rtl.matrix import pixel_latency
from superlip.rtl.ports import READ_LATENCY

from .banks import Job, MatrixReads
from .clock import Clock, Process, Signal
from .instructions import Instruction
from .issue import Issue

__all__ = ["Matrix"]

PREPARE = 3
"""Cycles from an instruction to its job; the first pixel can go two later."""
SLICE = 512
"""Cycles of passes, at most, that are laid down at once: what others take of the banks is seen by the next ones."""


@dataclass(slots=True, eq=False)
class _Sets:
    """Weight sets of a FEED instruction that have not been swapped in.

    ``rows``: reads of a set; ``end``: number of the read behind its last one; ``first_read``: cycle, -1 while it is not
    known. ``loads``: when what the first read of the next set brings leaves FEED's queue, -1 while it is not known.
    """

    instruction: Instruction
    left: int
    rows: int
    end: int
    first_read: int = -1
    loads: int = -1


class Matrix:
    """FEED brings the sets of its instructions one after the other; MATMUL passes over its pixels with each.

    ``reads``: what they take of the buffers, for those who share these.
    """

    def __init__(
        self,
        clock: Clock,
        node: NodeConfig,
        feed: Issue,
        matmul: Issue,
        done: Callable[[Instruction], None],
    ) -> None:
        self.clock, self.node, self.feed, self.matmul, self.done = clock, node, feed, matmul, done
        self.fed, self.read, self.taken, self.loaded = (Signal() for _ in range(4))
        self.sets: deque[_Sets] = deque()
        self.last_read = -1
        """Of the FEED instruction in work; -1: not known yet."""
        self.leaves: deque[tuple[int, int]] = deque([(0, -(1 << 40))], maxlen=16)
        """(number of the first read, cycle in which its words leave FEED's queue) of the last sets."""
        self.loaded_reads = self.taken_reads = 0
        """Reads whose time in FEED's queue is known, and those of all instructions taken."""
        self.reading: _Sets | None = None
        """The instruction of which FEED has not read all words."""
        self.prepared: deque[Instruction] = deque()
        self.load = -1
        self.last_swap = -(1 << 40)
        self.reads = MatrixReads(node, pixel_latency(node) - 1 - READ_LATENCY)
        clock.begin(self._feed())
        clock.begin(self._prepare())
        clock.begin(self._walk())

    def _feed(self) -> Process:
        free = -1
        while True:
            instruction = yield from self.feed.take(free)
            body = instruction.body
            sets, rows = body["sets"], body["rows"] // FEED_WORDS
            self.taken_reads += sets * rows
            self.last_read = -1
            self.reading = _Sets(instruction, sets, rows, self.taken_reads)
            self.sets.append(self.reading)
            self._load()
            self.clock.give(self.fed)
            while self.last_read < 0:
                yield self.read
            free = self.last_read
            self.clock.at(max(free + READ_LATENCY, self.clock.now), self._feed_done, instruction, free + READ_LATENCY)
            if free > self.clock.now:
                yield free

    def _feed_done(self, instruction: Instruction, cycle: int) -> None:
        del cycle
        self.done(instruction)

    def _left_at(self, number: int) -> int:
        """When the words of a read left FEED's queue."""
        for first, cycle in reversed(self.leaves):
            if first <= number:
                return cycle + number - first
        return -(1 << 40)

    def _prepare(self) -> Process:
        free = -1
        while True:
            instruction = yield from self.matmul.take(free)
            self.prepared.append(instruction)
            self.clock.give(self.taken)
            while self.prepared:
                yield self.loaded
            free = self.load + 1

    def _walk(self) -> Process:
        last = -10  # cycle of the last pixel
        latency = pixel_latency(self.node)
        while True:
            while not self.prepared:
                yield self.taken
            instruction = self.prepared[0]
            self.load = max(instruction.taken + PREPARE, last - 1)
            start = max(self.load + 2, last + 1)
            self.prepared.popleft()
            self.clock.give(self.loaded)
            job = Job.of(instruction)
            self.reads.jobs.append(job)
            while job.done < job.sets:
                while not self.sets:
                    yield self.fed
                start = self._lay(job, start)
                if job.done < job.sets and self.last_swap > self.clock.now:
                    yield self.last_swap
            last = self.last_swap + job.pixels - 1
            while True:
                if last - 2 > self.clock.now:
                    yield last - 2
                if not (lost := self._take_lost()):
                    break
                last += lost
                self.reads.known += lost
            instruction.last = last
            self.clock.at(last + latency, self.done, instruction)

    def _lay(self, job: Job, start: int) -> int:
        """Lay passes down with the sets that are there; returns when the next pass can begin, its weights apart."""
        sets = self.sets[0]
        rows, pixels = sets.rows, job.pixels
        period = max(pixels, rows)
        number = min(sets.left, job.sets - job.done, max(1, SLICE // period))
        lost = self._take_lost()
        first = max(start + (lost if pixels >= rows else 0), sets.loads + rows - 1)
        if pixels < Accumulators.UPDATE_CYCLES:
            period = max(period, Accumulators.UPDATE_CYCLES)
            if job.done:
                first = max(first, self.last_swap + Accumulators.UPDATE_CYCLES)
        job.spans.append((first, number, period))
        job.done += number
        sets.left -= number
        self.last_swap = first + (number - 1) * period
        if number > 1:  # the last ones are all that may be asked for
            self.loaded_reads += (number - 1) * rows
            for before in range(min(number - 1, FeedUnit.QUEUE_DEPTH + 1), 0, -1):
                loads = self.last_swap - before * period + 1
                self.leaves.append((self.loaded_reads - before * rows, loads))
        if sets.left == 0:
            self.sets.popleft()
        sets.loads = -1
        self._load()
        self.reads.known = self.last_swap + pixels
        return self.last_swap + pixels

    def _load(self) -> None:
        """The next set, if there is one: it is loaded as soon as the one before is swapped in and it has been read."""
        if self.sets and self.sets[0].loads < 0:
            sets = self.sets[0]
            if sets.first_read < 0:
                place = self._left_at(self.loaded_reads - FeedUnit.QUEUE_DEPTH)
                sets.first_read = max(sets.instruction.taken, place) + 1
            read = sets.first_read + self.loaded_reads - (sets.end - sets.instruction.body["sets"] * sets.rows)
            sets.loads = max(self.last_swap + 1, read + READ_LATENCY + 1)
            self.leaves.append((self.loaded_reads, sets.loads))
            self.loaded_reads += sets.rows
        reading = self.reading
        if reading is not None and self.loaded_reads > reading.end - 1 - FeedUnit.QUEUE_DEPTH:
            if reading.first_read < 0:
                behind = reading.end - reading.instruction.body["sets"] * reading.rows - FeedUnit.QUEUE_DEPTH
                if self.loaded_reads <= behind:
                    return
                reading.first_read = max(reading.instruction.taken, self._left_at(behind)) + 1
            earliest = reading.first_read + reading.instruction.body["sets"] * reading.rows - 1
            self.last_read = max(self._left_at(reading.end - 1 - FeedUnit.QUEUE_DEPTH) + 1, earliest)
            self.reading = None
            self.clock.give(self.read)

    def _take_lost(self) -> int:
        """Cycles that others have taken from MATMUL's reads."""
        lost, self.reads.lost = self.reads.lost, 0
        return lost
