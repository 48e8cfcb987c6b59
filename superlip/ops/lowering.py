"""What the specification of an operator asks of the lowering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from superlip.graph import ir

from .layout import Placement

if TYPE_CHECKING:
    from .operation import Op

__all__ = ["Lowering", "LoweringError"]


class LoweringError(ValueError):
    """A node that the accelerator can't run; the message names it and says why."""


class Lowering(Protocol):
    """A graph on its way to operations of the node: what `OpSpec.lower` works with.

    Nodes come in the graph's order, so that the inputs of each have their places.
    """

    graph: ir.Graph
    tn: int
    """Channels of a word."""

    def place(self, name: str) -> Placement:
        """Where a value lies: where it was put, else from now on in a storage of its own."""

    def table_of(self, name: str) -> ir.Elements | None:
        """The table that a value is written through, where a concatenation takes it."""

    def put(self, name: str, place: Placement) -> None:
        """A value lies in the storage of another one: no operation makes it."""

    def add(self, op: Op) -> None:
        """An operation comes next."""

    def convolution(self, node: ir.Conv) -> None:
        """A convolution comes next, with the pooling and the table that are fused into it."""

    def elementwise(self, node: ir.Node) -> None:
        """An operation that works lane by lane comes next; operands that begin at another lane are moved before."""
