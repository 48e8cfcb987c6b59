"""Rows of several tensors, in turn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import small_model, tensor_type

from .identity import identity
from .lowering import Lowering
from .spec import OpSpec, Tensor, register

__all__ = ["InterleaveSpec"]


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
        parts = [
            x if table is None else source.element.look_up(table, x)
            for x, source, table in zip(inputs, sources, self.node.tables, strict=True)
        ]
        return np.stack(parts, axis=3).reshape(len(parts[0]), *result.shape)

    def host_model(self, values: dict[str, ir.Value]) -> bytes:
        node, result = self.node, values[self.node.output]
        kind = tensor_type(result.element.dtype)
        constants: dict[str, NDArray] = {
            "patterns": np.array(result.element.patterns, np.int32), "axis": np.array([3], np.int64),
            "shape": np.array([1, *result.shape], np.int64),
        }  # fmt: skip
        inputs, nodes, names = [], [], []
        for number, (name, table) in enumerate(zip(node.inputs, node.tables, strict=True)):
            source, moved = f"image{number}", f"image{number}"
            inputs.append((source, kind, [1, *values[name].shape]))
            if table is not None:
                moved, constants[f"table{number}"] = f"moved{number}", np.asarray(table)
                nodes += [
                    helper.make_node("Cast", [source], [f"wide{number}"], to=tensor_type(np.int32)),
                    helper.make_node("Mod", [f"wide{number}", "patterns"], [f"pattern{number}"]),
                    helper.make_node("Gather", [f"table{number}", f"pattern{number}"], [moved]),
                ]
            nodes.append(helper.make_node("Unsqueeze", [moved, "axis"], [f"rows{number}"]))
            names.append(f"rows{number}")
        nodes += [
            helper.make_node("Concat", names, ["all"], axis=3),
            helper.make_node("Reshape", ["all", "shape"], ["result"]),
        ]
        return small_model(nodes, inputs, ["result"], constants, {"": 17})
