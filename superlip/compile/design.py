"""A network planned and compiled: what is built, simulated and reported."""

from dataclasses import dataclass

from superlip.boards import Target
from superlip.graph import ir
from superlip.plan.network import Network
from superlip.plan.planner import Plan

from .compiled import Compiled

__all__ = ["Design"]


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """A network planned and compiled for some boards."""

    graph: ir.Graph
    target: Target
    plan: Plan
    compiled: Compiled

    def __repr__(self) -> str:
        boards = f"{self.plan.boards} board{'s' if self.plan.boards > 1 else ''}"
        return (
            f"<Design of {self.graph.name!r} for {boards}, node {self.target.name}: "
            f"{len(self.network.ops)} operations, {self.plan.cycles:,.0f} cycles expected>"
        )

    @property
    def network(self) -> Network:
        return self.compiled.network
