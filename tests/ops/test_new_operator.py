"""An operator has one home: two that superlip doesn't have are defined here, and go the whole way to equal bits."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from functional import run_compiled
from nets import Builder

from superlip.graph import ir
from superlip.ops.arithmetic import requantize
from superlip.ops.params import lane_params
from superlip.ops.spec import register
from superlip.ops.vector import VectorSpec
from superlip.plan.partition import Split
from superlip.rtl.isa import VectorOp


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(ir.Clipped):
    """clip(rint(float32(x - zp_in + offset) * scale) + zp_out), with int32 ``offset`` and float32 ``scale`` (C,)."""

    offset: np.ndarray
    scale: np.ndarray


@register(Affine)
class AffineSpec(VectorSpec[Affine]):
    """A sum over a window of one pixel: its bias and scale are a channel's own, so each group has its parameters."""

    vector_op = VectorOp.SUM

    def compute(self, inputs, sources, result):
        node = self.node
        sums = inputs[0].astype(np.int32) - sources[0].zero_point + node.offset[:, None, None]
        return requantize(sums, node.scale[:, None, None], result.zero_point, node.low, node.high)

    def params(self, op, tn):
        blocks = []
        for _, lane0, lane1, first, end in op.output.tiles():
            bias, scale = np.zeros(tn, np.int32), np.zeros(tn, np.float32)
            bias[lane0:lane1], scale[lane0:lane1] = self.node.offset[first:end], self.node.scale[first:end]
            blocks.append(lane_params(bias, scale))
        return blocks

    def steps(self, op, part, row0, row1):
        first = op.output.first_group
        return [dataclasses.replace(step, params=step.group - first) for step in super().steps(op, part, row0, row1)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Square(ir.Clipped):
    """clip(rint(float32((x - zp_in) ** 2) * scale) + zp_out)."""

    scale: float


@register(Square)
class SquareSpec(VectorSpec[Square]):
    """A product whose operands are the same."""

    vector_op = VectorOp.MUL

    def compute(self, inputs, sources, result):
        x = inputs[0].astype(np.int32) - sources[0].zero_point
        return requantize(x * x, self.node.scale, result.zero_point, self.node.low, self.node.high)

    def words_read(self, op):
        return 2

    def params(self, op, tn):
        return [lane_params(np.zeros(tn, np.int32), np.full(tn, self.node.scale, np.float32))]

    def body(self, op, step, views):
        body = super().body(op, step, views)
        shift = op.inputs[0].first_group - op.output.first_group
        second = views[0].address(step.group + shift, step.row0, step.col0)
        return body | {"source_b": second, "pitch_b": views[0].width, "zp_b": op.zero_points[0]}


class Net(Builder):
    """The tests' networks, with the new operators."""

    def affine(self, x):
        channels = self.values[x].shape[0]
        offset = self.rng.integers(-100, 100, channels).astype(np.int32)
        scale = self.rng.uniform(0.2, 1.5, channels).astype(np.float32)
        return self._elementwise(Affine, x, offset=offset, scale=scale)

    def square(self, x):
        return self._elementwise(Square, x, scale=0.01)

    def _elementwise(self, kind, x, **fields):
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name=name, inputs=(x,), output=f"{name}.y", **fields, **self._clip()))
        return self._value(f"{name}.y", self.values[x].shape)


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.CHANNELS), (2, Split.ROWS)])
@pytest.mark.parametrize("operator", [Net.affine, Net.square])
def test_golden_plan_and_program_know_a_new_operator(operator, boards, split):
    """Behind and before a convolution, of a slice that begins within a word, in a concatenation, and as an output."""
    net = Net(np.random.default_rng(21), (20, 7, 6))
    x = net.conv("image", 24, (3, 3), pads=(1, 1, 1, 1))
    a = operator(net, x)
    b = operator(net, net.slice(a, 3, 21))
    c = net.concat(net.conv(a, 10, (1, 1)), b)
    compiled = run_compiled(net.graph(operator(net, c), net.conv(b, 9, (3, 3))), net.image(), boards, split=split)
    names = [op.name for op in compiled.network.ops]
    assert sum(name.startswith(operator.__name__) and "." not in name for name in names) == 3
