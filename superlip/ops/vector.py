"""Operators without weights: what VECTOR gets for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from superlip.element import ElementType
from superlip.graph import ir
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import FORMATS, Opcode, VectorOp

from .layout import Part, View
from .params import Words
from .spec import N, OpSpec

if TYPE_CHECKING:
    from .lowering import Lowering
    from .operation import Op

__all__ = ["VectorSpec", "VectorStep"]


@dataclass(frozen=True, eq=False)
class VectorStep:
    """One group and one block of rows and columns: what VECTOR gets apart from addresses.

    ``params`` is the index of the parameter block (`VectorSpec.params`), of an operation that has any.
    """

    group: int
    row0: int
    row1: int
    col0: int
    col1: int
    params: int = 0

    @property
    def part(self) -> Part:
        """Its group and rows."""
        return Part(self.group, self.group + 1, self.row0, self.row1)


class VectorSpec(OpSpec[N]):
    """An operator that VECTOR runs, with one operation; it must say its ``vector_op``.

    By default it works element by element on one or two operands, takes no parameters, and does all rows of a channel
    group that it is given with one instruction.
    """

    works_in_place = True

    @property
    @abstractmethod
    def vector_op(self) -> VectorOp:
        """What VECTOR does with a pixel; a class attribute, where all nodes have the same."""

    def clip(self, element: ElementType) -> tuple[int, int]:
        """Smallest and largest result."""
        return (self.node.low, self.node.high) if isinstance(self.node, ir.Clipped) else element.bounds

    def lower(self, lowering: Lowering) -> None:
        lowering.elementwise(self.node)

    def params(self, op: Op, tn: int) -> list[Words]:
        """Parameter blocks of the operation, by the index in its steps."""
        return []

    def most_rows(self, config: NodeConfig) -> int:
        """Rows of results that one instruction can make."""
        return (1 << FORMATS[Opcode.VECTOR].layout["rows"].width) - 1

    def steps(self, op: Op, part: Part, row0: int, row1: int) -> list[VectorStep]:
        """What VECTOR does at once: together, rows [row0, row1) of the part's groups, group by group."""
        return [VectorStep(group, row0, row1, 0, op.grid[1]) for group in range(part.group0, part.group1)]

    def body(self, op: Op, step: VectorStep, views: Sequence[View]) -> dict[str, int]:
        """Fields of a step's instruction, but those of its destination and parameters.

        Parameters
        ----------
        views : list of View
            Where the rows that it needs of each input lie in the activation buffer.
        """
        source, first_group = views[0], op.output.first_group
        (kh, kw), (sy, sx), (top, left, *_), _ = self.window
        low, high = self.clip(op.element)
        body = {
            "op": self.vector_op,
            "source": source.address(step.group + op.inputs[0].first_group - first_group, source.row0),
            "pitch": source.width,
            # Rows that are not held are rows outside the image: the height ends where the image ends.
            "height": source.rows,
            "width": source.width,
            "y0": step.row0 * sy - top - source.row0,
            "x0": step.col0 * sx - left,
            "stride_y": sy,
            "stride_x": sx,
            "kh": kh,
            "kw": kw,
            "zp_a": op.zero_points[0],
            "zp_out": op.zero_points[-1],
            "low": low,
            "high": high,
        }
        if len(views) > 1:
            second = views[1]
            group = step.group + op.inputs[1].first_group - first_group
            body |= {
                "source_b": second.address(group, step.row0, step.col0),
                "pitch_b": second.width,
                "zp_b": op.zero_points[1],
            }
        return body
