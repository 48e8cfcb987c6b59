"""Element-wise functions, as a table."""

from collections.abc import Sequence

from superlip.graph import ir
from superlip.rtl.isa import VectorOp

from .layout import View
from .operation import Op
from .params import Words, table_block
from .spec import Tensor, register
from .vector import VectorSpec, VectorStep

__all__ = ["TableSpec"]


@register(ir.Table)
class TableSpec(VectorSpec[ir.Table]):
    """A function of one element, by the result for each bit pattern: a copy, with the table behind it."""

    vector_op = VectorOp.MAX
    loads = {"load_table": 1}

    def params(self, op: Op, tn: int) -> list[Words]:
        return [table_block(self.node.table, tn)]

    def body(self, op: Op, step: VectorStep, views: Sequence[View]) -> dict[str, int]:
        return super().body(op, step, views) | {"use_table": 1}

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return sources[0].element.look_up(self.node.table, inputs[0])
