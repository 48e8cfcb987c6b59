"""Element-wise functions, as a table."""

from collections.abc import Sequence

from superlip.graph import ir

from .arithmetic import lookup
from .spec import OpSpec, Tensor, register

__all__ = ["TableSpec"]


@register(ir.Table)
class TableSpec(OpSpec[ir.Table]):
    """A function of one element, by its 256 results."""

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return lookup(self.node.table, inputs[0])
