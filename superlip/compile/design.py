"""A network planned and compiled: what is built, simulated and reported."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target
from superlip.graph import ir
from superlip.plan.network import Network
from superlip.plan.planner import Plan, PlanError, best_plan
from superlip.timing import Reckoned, reckon

from .compiled import Compiled
from .compiler import compile_network
from .errors import CompileError

__all__ = ["Design"]

NEAR = 1.3
"""How much longer the planner may expect one board to take for its programs to be compared: it is a tenth off."""


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

    @classmethod
    def of(cls, graph: ir.Graph, target: Target, boards: int) -> "Design":
        """Plan and compile a graph, with all boards at work.

        Raises
        ------
        LoweringError, PlanError, CompileError
            If it can't be, or does not fit.
        """
        network, plan = best_plan(graph, target, boards)
        return cls(graph, target, plan, compile_network(network, plan, target), boards)

    @cached_property
    def _planned_alone(self) -> tuple[Network, Plan] | None:
        try:
            return best_plan(self.graph, self.target, 1)
        except PlanError:
            return None

    @cached_property
    def alone(self) -> "Design | None":
        """The design for one board; None where what fits several does not fit one."""
        if self.plan.boards == 1:
            return self if self.boards == 1 else replace(self, boards=1, cycles_of_all=None)
        if self._planned_alone is None:
            return None
        network, plan = self._planned_alone
        try:
            return Design(self.graph, self.target, plan, compile_network(network, plan, self.target), 1)
        except CompileError:
            return None

    def with_idle_boards(self) -> "Design":
        """The same with all boards but one idle, where one is as fast, by the cycles of the programs."""
        planned = self._planned_alone
        if planned is None or planned[1].cycles > NEAR * self.plan.cycles:
            return self
        alone = self.alone
        if alone is None or alone.cycles > self.cycles:
            return self
        return replace(alone, boards=self.boards, cycles_of_all=self.cycles)

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
