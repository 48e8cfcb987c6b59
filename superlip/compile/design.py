"""A network planned and compiled: what is built, simulated and reported."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target
from superlip.graph import ir
from superlip.plan.network import Network
from superlip.plan.planner import Plan
from superlip.timing import Reckoned, reckon

from .compiled import Compiled

__all__ = ["Design"]


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """A network planned and compiled for some boards, ``boards``, of which some may be idle."""

    graph: ir.Graph
    target: Target
    plan: Plan
    compiled: Compiled
    boards: int
    cycles_of_all: int | None = None
    """Latency with all boards at work, where some are idle since that is longer."""

    @property
    def idle(self) -> int:
        """Boards that have nothing to do: more of them would make it slower."""
        return self.boards - self.plan.boards

    @property
    def why_idle(self) -> str | None:
        """Which boards have nothing to do, and why; None where all have."""
        if not self.idle or self.cycles_of_all is None:
            return None
        are = "is" if self.idle == 1 else "are"
        return (
            f"{self.idle} of {self.boards} boards {are} idle: with all of them an image would take "
            f"{self.cycles_of_all:,} cycles instead of {self.cycles:,}"
        )

    def __repr__(self) -> str:
        boards = f"{self.boards} board{'s' if self.boards > 1 else ''}"
        return (
            f"<Design of {self.graph.name!r} for {boards}, node {self.target.name}: "
            f"{len(self.network.ops)} operations, {self.cycles:,} cycles expected>"
        )

    @cached_property
    def reckoned(self) -> Reckoned:
        """The cycles of its programs, instruction by instruction: of an image that finds on chip what stays there."""
        _, segments = self.compiled.programs()
        addresses = [board.programs for board in self.compiled.boards]
        programs = [
            [(at[number], program) for at, program in zip(addresses, segment, strict=True)]
            for number, segment in enumerate(segments)
        ]
        return reckon(self.target, programs)

    @property
    def cycles(self) -> int:
        """Cycles that an image takes, reckoned."""
        return self.reckoned.cycles

    @cached_property
    def layer_cycles(self) -> NDArray[np.int64]:
        """Cycles of the input and of each operation, as a report attributes them: shape (operations + 1,)."""
        ops = self.network.ops
        return self.reckoned.layers(len(ops) + 1, {tag for tag, op in enumerate(ops, 1) if op.is_conv})

    @property
    def network(self) -> Network:
        return self.compiled.network
