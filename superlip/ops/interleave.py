"""Rows of several tensors, in turn, and rows or columns of several, one after the other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import small_model, tensor_type

from .identity import identity
from .lowering import Lowering
from .spec import OpSpec, Tensor, register

__all__ = ["InterleaveSpec", "StackSpec"]


@register(ir.Interleave)
class InterleaveSpec(OpSpec[ir.Interleave]):
    """Each input is an identity convolution, written with gaps."""

    spreads_pixels = True

    def lower(self, lowering: Lowering) -> None:
        node, dest = self.node, lowering.place(self.node.output)
        count = len(node.inputs)
        for number, (name, table) in enumerate(zip(node.inputs, node.tables, strict=True)):
            source = lowering.place(name)
            grid = dest.size[0] // count, dest.size[1]
            lowering.add(
                identity(
                    f"{node.name}.{number}", source, dest, table=table, grid=grid, step=(count, 1), origin=(number, 0)
                )
            )

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        parts = _looked_up(self.node.tables, inputs, sources)
        return np.stack(parts, axis=3).reshape(len(parts[0]), *result.shape)

    def host_model(self, values: dict[str, ir.Value]) -> bytes:
        result = values[self.node.output]
        constants: dict[str, NDArray] = {
            "axis": np.array([3], np.int64), "shape": np.array([1, *result.shape], np.int64),
        }  # fmt: skip
        count = len(self.node.inputs)
        behind = [
            *(helper.make_node("Unsqueeze", [f"moved{n}", "axis"], [f"rows{n}"]) for n in range(count)),
            helper.make_node("Concat", [f"rows{n}" for n in range(count)], ["all"], axis=3),
            helper.make_node("Reshape", ["all", "shape"], ["result"]),
        ]
        return _model(self.node, values, behind, constants)


@register(ir.Stack)
class StackSpec(OpSpec[ir.Stack]):
    """Each input is an identity convolution, written where it lies; convolutions write rows there themselves."""

    spreads_pixels = True

    @property
    def stacks(self) -> list[str]:
        node = self.node
        return list(node.inputs) if node.axis == 1 and not any(table is not None for table in node.tables) else []

    def lower(self, lowering: Lowering) -> None:
        node, dest, first = self.node, lowering.place(self.node.output), 0
        for number, (name, table) in enumerate(zip(node.inputs, node.tables, strict=True)):
            source, size = lowering.place(name), lowering.graph.values[name].shape[1:]
            origin = (first, 0) if node.axis == 1 else (0, first)
            first += size[node.axis - 1]
            if source != dest:
                lowering.add(identity(f"{node.name}.{number}", source, dest, table=table, grid=size, origin=origin))

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return np.concatenate(_looked_up(self.node.tables, inputs, sources), axis=1 + self.node.axis)

    def host_model(self, values: dict[str, ir.Value]) -> bytes:
        names = [f"moved{n}" for n in range(len(self.node.inputs))]
        return _model(self.node, values, [helper.make_node("Concat", names, ["result"], axis=1 + self.node.axis)], {})


def _looked_up(
    tables: Sequence[ir.Elements | None], inputs: Sequence[Tensor], sources: Sequence[ir.Value]
) -> list[Tensor]:
    """Operands, each through its table."""
    return [
        x if table is None else source.element.look_up(table, x)
        for x, source, table in zip(inputs, sources, tables, strict=True)
    ]


def _model(
    node: ir.Interleave | ir.Stack,
    values: dict[str, ir.Value],
    behind: Sequence[NodeProto],
    constants: dict[str, NDArray],
) -> bytes:
    """ONNX model that gives ``result``, of operands behind their tables: ``moved0``, ``moved1``, ..."""
    element = values[node.output].element
    constants = {"patterns": np.array(element.patterns, np.int32)} | constants
    inputs, nodes = [], []
    for number, (name, table) in enumerate(zip(node.inputs, node.tables, strict=True)):
        source, moved = f"image{number}", f"moved{number}"
        inputs.append((source, tensor_type(element.dtype), [1, *values[name].shape]))
        if table is None:
            nodes.append(helper.make_node("Identity", [source], [moved]))
            continue
        constants[f"table{number}"] = np.asarray(table)
        nodes += [
            helper.make_node("Cast", [source], [f"wide{number}"], to=tensor_type(np.int32)),
            helper.make_node("Mod", [f"wide{number}", "patterns"], [f"pattern{number}"]),
            helper.make_node("Gather", [f"table{number}", f"pattern{number}"], [moved]),
        ]
    return small_model([*nodes, *behind], inputs, ["result"], constants, {"": 17})
