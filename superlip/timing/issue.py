"""What lies in front of a unit (``superlip.rtl.issue``): its queue and counters, as times instead of numbers."""

from collections import deque
from collections.abc import Generator, Sequence

from superlip.rtl.isa import COUNTERS
from superlip.rtl.issue import IN_FLIGHT

from .clock import Clock, Signal, Wait
from .instructions import Instruction

__all__ = ["Issue"]

ARRIVAL = 2
"""Cycles from the queue's input to the offer."""


class Issue:
    """Queue and counters of one unit.

    A post is kept as the cycle from which on it counts: so an instruction that is asked for late is still taken when
    it could have been.
    """

    def __init__(self, clock: Clock, depth: int, in_flight: int = IN_FLIGHT) -> None:
        self.clock, self.depth, self.in_flight = clock, depth, in_flight
        self.changed = Signal()
        """The queue, a counter or the number of those under way has changed."""
        self.room = Signal()
        """The queue has."""
        self.queue: deque[tuple[int, Instruction]] = deque()
        self.posts: list[deque[int]] = [deque() for _ in range(COUNTERS)]
        self.last_taken = -1
        self.under_way = 0
        self.last_done = -1
        self.instructions: list[Instruction] = []
        """All that were taken."""

    def arrive(self, instruction: Instruction, cycle: int) -> None:
        """An instruction enters the queue in a cycle."""
        self.queue.append((cycle + ARRIVAL, instruction))
        self.clock.give(self.changed)

    @property
    def full(self) -> bool:
        """No place in the queue; the one in front of the unit comes on top."""
        return len(self.queue) > self.depth

    def post(self, source: int, cycle: int) -> None:
        """A post of a source counts from a cycle on."""
        self.posts[source].append(cycle)
        self.clock.give(self.changed)

    def take(self, not_before: int = 0) -> Generator[Wait, None, Instruction]:
        """Wait until the next instruction is taken; its ``taken`` is the cycle in which the unit has it."""
        while not self.queue or self.under_way >= self.in_flight:
            yield self.changed
        cycle, instruction = self.queue[0]
        instruction.offered = cycle = max(cycle, self.last_taken + 1)
        cycle = max(cycle, not_before)
        if self.under_way == self.in_flight - 1:
            cycle = max(cycle, self.last_done + 1)
        for source, number in instruction.waits:
            posts = self.posts[source]
            while len(posts) < number:
                yield self.changed
            met = max([posts.popleft() for _ in range(number)])
            instruction.met.append((source, met))
            cycle = max(cycle, met)
        if cycle > self.clock.now:
            yield cycle
        self.queue.popleft()
        self.under_way += 1
        self.last_taken = instruction.taken = cycle
        self.instructions.append(instruction)
        self.clock.give(self.room)
        return instruction

    def done(self, instruction: Instruction, others: Sequence["Issue"]) -> None:
        """The oldest instruction under way is complete in this cycle."""
        now = self.clock.now
        instruction.done = self.last_done = now
        self.under_way -= 1
        for unit in instruction.posts:
            others[unit].post(instruction.unit, now + 1)
        self.clock.give(self.changed)
