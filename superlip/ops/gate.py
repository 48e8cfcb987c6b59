"""Operators on two tensors, one of which may hold a number a channel for all pixels of the other: a gate (C, 1, 1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .layout import View
from .lowering import Lowering, LoweringError
from .spec import N
from .vector import VectorSpec, VectorStep

if TYPE_CHECKING:
    from .operation import Op

__all__ = ["GatedSpec"]


class GatedSpec(VectorSpec[N]):
    """A gate is VECTOR's first operand: the unit can read that without moving on (strides of 0), the second one not."""

    @abstractmethod
    def swapped(self) -> N:
        """The same node with its operands the other way round."""

    def lower(self, lowering: Lowering) -> None:
        first, second = (lowering.graph.values[name].shape for name in self.node.inputs)
        if first == second:
            super().lower(lowering)
        elif second == (first[0], 1, 1):
            lowering.elementwise(self.swapped())
        else:
            raise LoweringError(
                f"{self.node.name}: tensors of shape {first} and {second} do not go together on the accelerator"
            )

    def body(self, op: Op, step: VectorStep, views: Sequence[View]) -> dict[str, int]:
        body = super().body(op, step, views)
        if op.inputs[0].size != op.inputs[1].size:
            body |= {"y0": 0, "x0": 0, "stride_y": 0, "stride_x": 0}
        return body
