"""The instruction fetch (``superlip.rtl.fetch``): bursts on port 0, instructions to the units' queues."""

from collections.abc import Sequence

from superlip.rtl.config import NodeConfig
from superlip.rtl.fetch import AHEAD_BYTES, BURST_BYTES
from superlip.rtl.isa import INSTRUCTION_BYTES

from .clock import Clock, Process, Signal
from .dram import Dram
from .instructions import Instruction
from .issue import Issue

__all__ = ["Fetch"]

ASKED = 3
"""Cycles from the decision for a burst to its address at the memory: AR's register, ReadMux, IsolateRead."""
FIRST = 2
"""Cycles from the start command to the first decision."""


class Fetch:
    """Fetches one program. ``busy_until``: when all that was asked for has come (of the program that ended last)."""

    def __init__(self, clock: Clock, node: NodeConfig, dram: Dram, issues: Sequence[Issue]) -> None:
        self.clock, self.dram, self.issues = clock, dram, issues
        self.beat = node.axi_bytes
        self.burst = 1 << (min(node.axi_burst_beats, BURST_BYTES // self.beat).bit_length() - 1)
        self.beats = max(1, INSTRUCTION_BYTES // self.beat)
        self.per_beat = max(1, self.beat // INSTRUCTION_BYTES)
        self.changed = Signal()
        self.busy_until = 0

    def begin(self, cycle: int, address: int, program: Sequence[Instruction]) -> None:
        """Run a program at a byte address: the start command takes effect in a cycle."""
        self.length = len(program)
        self.arrived: list[int] = []  # cycles in which the last beats of instructions came
        self.promised = self.gathered = 0
        self.last_gathered = cycle
        self.finished = False
        self.clock.begin(self._ask(cycle + FIRST, address // self.beat))
        self.clock.begin(self._dispatch(program))

    def _ask(self, cycle: int, position: int) -> Process:
        room = AHEAD_BYTES // self.beat
        while not self.finished:
            beats = self.burst - position % self.burst
            if self.promised + beats - self.gathered > room:
                yield self.changed
                continue
            if self.promised >= room:
                cycle = max(cycle, self.last_gathered + 1)
            if cycle > self.clock.now:
                yield cycle
                continue
            cycle = self.clock.now
            self.promised += beats
            for piece in range(0, beats, self.beats):
                self.dram.fetch(cycle + ASKED, self.beats, self.beats * self.beat, piece == 0, self._arrival)
            position += beats
            cycle += 2

    def _arrival(self, last: int) -> None:
        self.arrived.append(last)
        self.busy_until = last + 1
        self.clock.give(self.changed)

    def _dispatch(self, program: Sequence[Instruction]) -> Process:
        sent = -1
        for number in range(len(program) + 1):
            piece = number // self.per_beat
            while len(self.arrived) <= piece:
                yield self.changed
            gathered = sent
            if number % self.per_beat == 0:
                gathered = max(self.arrived[piece] + 1, sent + self.beats - 1)
                yield gathered
                self.gathered = (piece + 1) * self.beats
                self.last_gathered = gathered
                self.clock.give(self.changed)
            yield gathered + 1
            if number == len(program):
                self.finished = True
                self.clock.give(self.changed)
                self.busy_until = max(self.busy_until, self.clock.now + 1)
                return
            issue = self.issues[program[number].unit]
            while issue.full:
                yield issue.room
            sent = self.clock.now
            issue.arrive(program[number], sent)
