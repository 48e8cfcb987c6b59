"""A node: its units between queues and DRAM."""

from collections.abc import Sequence

from superlip.boards import Target
from superlip.rtl.isa import Memory, Unit
from superlip.rtl.issue import IN_FLIGHT

from .clock import Clock
from .copies import Load, Store
from .dram import Dram
from .fetch import Fetch
from .instructions import Instruction
from .issue import Issue
from .link import Link, Send
from .matrix import Matrix
from .vector import Vector

__all__ = ["Node"]


class Node:
    """All units of a node, joined. A program begins with ``begin``; when the clock has run, it has ended."""

    def __init__(self, clock: Clock, target: Target) -> None:
        self.clock = clock
        node = target.node
        copies = min(IN_FLIGHT, node.copies_under_way)
        self.issues = [
            Issue(clock, node.queue_depth, copies if unit in (Unit.LOAD, Unit.STORE) else IN_FLIGHT) for unit in Unit
        ]
        self.dram = Dram(clock, target)
        self.fetch = Fetch(clock, node, self.dram, self.issues)
        self.load = Load(clock, node, self.dram, self.issues[Unit.LOAD], self.done)
        self.matrix = Matrix(clock, node, self.issues[Unit.FEED], self.issues[Unit.MATMUL], self.done)
        self.vector = Vector(clock, node, self.issues[Unit.VECTOR], self.matrix.reads, self.done)
        before = self.matrix.reads, self.vector.reads
        self.store = Store(clock, node, self.dram, self.issues[Unit.STORE], before, self.done)
        self.load.others = [[self.vector.writes], []]
        self.link = Link(clock, target)
        self.link.done = self.done
        self.send = Send(clock, target, self.issues[Unit.SEND], self.link, self.matrix.reads)

    def done(self, instruction: Instruction) -> None:
        """An instruction is complete in this cycle."""
        self.issues[instruction.unit].done(instruction, self.issues)

    def join(self, other: "Node") -> None:
        """Connect its link to another node, or, alone, to nothing."""
        self.link.back, self.link.issues, self.link.writes = other.link, other.issues, other.vector.writes
        if other is not self:
            written = self.link.written
            other.load.others = [[other.vector.writes, written[Memory.ACT]], [written[Memory.WEIGHT]]]

    def begin(self, cycle: int, address: int, program: Sequence[Instruction]) -> None:
        """Begin a program at a byte address."""
        self.fetch.begin(cycle, address, program)

    def ended(self) -> int:
        """When the program was over: the first cycle in which nothing was busy."""
        return max(self.fetch.busy_until, *(issue.last_done + 1 for issue in self.issues))
