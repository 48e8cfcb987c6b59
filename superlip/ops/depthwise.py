"""Depthwise convolutions that VECTOR runs: each lane by itself, beside the convolutions that MATMUL runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from superlip.graph import ir
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import DEPTHWISE_KERNEL, DEPTHWISE_WORDS, VectorOp

from .conv import ConvSpec
from .layout import Part, View
from .params import Words, lane_params, table_block
from .spec import Tensor, Window, register
from .vector import VectorSpec, VectorStep

if TYPE_CHECKING:
    from .operation import Op

__all__ = ["DepthwiseSpec"]


@register(ir.Depthwise)
class DepthwiseSpec(VectorSpec[ir.Depthwise]):
    """A convolution of 3x3 with a channel of its own for each filter: the arithmetic is the convolution's."""

    works_in_place = False
    vector_op = VectorOp.DEPTHWISE
    by_columns = True

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        return ConvSpec(self.node).compute(inputs, sources, result)

    @property
    def window(self) -> Window:
        return ConvSpec(self.node).window

    @property
    def weight_bytes(self) -> int:
        return self.node.weights.nbytes

    def macs(self, result: ir.Value) -> int:
        return ConvSpec(self.node).macs(result)

    def block_reads(self, op: Op, rows: int, cols: int) -> int:
        """Each pixel that a window sees, once, and the weights."""
        sy, sx = self.node.strides
        return ((rows - 1) * sy + DEPTHWISE_KERNEL) * ((cols - 1) * sx + DEPTHWISE_KERNEL) + DEPTHWISE_WORDS

    def most_rows(self, config: NodeConfig) -> int:
        """As many as the lanes' sums have room for."""
        return (config.depthwise_rows - DEPTHWISE_KERNEL) // self.node.strides[0] + 1

    def params(self, op: Op, tn: int) -> list[Words]:
        """Of each channel group: bias and scale, the weights, and the table where there is one."""
        node, blocks = self.node, []
        for _, lane0, lane1, first, end in op.output.tiles():
            bias, scale = np.zeros(tn, np.int32), np.zeros(tn, np.float32)
            weights = np.zeros((DEPTHWISE_WORDS, tn), op.element.dtype)
            bias[lane0:lane1], scale[lane0:lane1] = node.bias[first:end], node.scale[first:end]
            weights[:, lane0:lane1] = node.weights[first:end].reshape(-1, DEPTHWISE_WORDS).T
            table = [] if node.table is None else [table_block(node.table, tn)]
            blocks.append(np.concatenate([lane_params(bias, scale), weights, *table]))
        return blocks

    @property
    def loads(self) -> dict[str, int]:
        return ConvSpec(self.node).loads

    def steps(self, op: Op, part: Part, row0: int, row1: int) -> list[VectorStep]:
        first, cols = op.output.first_group, op.grid[1]
        return [VectorStep(group, row0, row1, 0, cols, group - first) for group in range(part.group0, part.group1)]

    def body(self, op: Op, step: VectorStep, views: Sequence[View]) -> dict[str, int]:
        body, node = super().body(op, step, views), self.node
        return body if node.table is None else body | {"use_table": 1, "zp_out": node.table_zero_point}
