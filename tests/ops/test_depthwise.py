"""Depthwise convolutions of VECTOR's: which they are, and what each lane gets."""

import dataclasses

import numpy as np
import pytest
from nets import Builder

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.layout import Part, View
from superlip.plan.lower import lower
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import DEPTHWISE_WORDS, PARAM_WORDS
from superlip.rtl.vector import Vector
from superlip.rtl.vector_model import VectorState

TN = 8
CONFIG = NodeConfig(act_words=1 << 14, depthwise_rows=16)


def convolution(**fields):
    net = Builder(np.random.default_rng(0), (12, 9, 9))
    net.conv("image", 12, (3, 3), groups=12)
    return dataclasses.replace(net.nodes[0], **fields)


def lowered(*, strides=(1, 1), pads=(1, 1, 1, 1), size=(9, 7), table=False, depthwise=True):
    net = Builder(np.random.default_rng(1), (12, *size))
    x = net.conv("image", 12, (3, 3), groups=12, strides=strides, pads=pads, table=table)
    return net, lower(net.graph(x), TN, depthwise=depthwise).ops[0]


@pytest.mark.parametrize(
    "fields, is_one",
    [
        ({}, True),
        ({"strides": (2, 1)}, True),
        ({"strides": (1, 3)}, False),
        ({"dilations": (1, 2)}, False),
        ({"weights": np.ones((12, 1, 3, 2), np.int8)}, False),
        ({"weights": np.ones((12, 2, 3, 3), np.int8), "groups": 6}, False),
        ({"weights": np.ones((24, 1, 3, 3), np.int8)}, False),
    ],
)
def test_which_convolutions(fields, is_one):
    node = convolution(**fields)
    found = spec_of(node).depthwise()
    assert (found is not None) == is_one
    if is_one:
        values = [ir.Value("x", (12, 9, 9), 1.0, 3), ir.Value("y", (12, 7, 7), 1.0, -4)]
        x = np.random.default_rng(2).integers(-128, 128, (2, 12, 9, 9)).astype(np.int8)
        one, other = spec_of(node), spec_of(found)
        np.testing.assert_array_equal(
            one.compute([x], values[:1], values[1]), other.compute([x], values[:1], values[1])
        )
        for name in ("window", "weight_bytes"):
            assert getattr(one, name) == getattr(other, name)
        assert one.macs(values[1]) == other.macs(values[1])


def test_vector_runs_it_where_the_node_can():
    assert not lowered()[1].is_conv and lowered(depthwise=False)[1].is_conv
    assert lowered()[1].macs == lowered(depthwise=False)[1].macs == 12 * 9 * 7 * 9


def test_each_lane_gets_the_weights_of_its_channel():
    _, op = lowered(table=True)
    blocks, node = op.vector.params(op, TN), op.conv
    assert len(blocks) == 2
    for channel in range(12):
        group, lane = divmod(channel, TN)
        weights = blocks[group][PARAM_WORDS : PARAM_WORDS + DEPTHWISE_WORDS, lane]
        assert weights.tolist() == node.weights[channel].ravel().tolist()
    assert not blocks[1][PARAM_WORDS : PARAM_WORDS + DEPTHWISE_WORDS, 4:].any()
    assert blocks[0][PARAM_WORDS + DEPTHWISE_WORDS :].ravel()[:256].tolist() == node.table.tolist()


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("size", [(9, 7), (1, 2), (20, 3)])
def test_the_instruction_computes_it(strides, size):
    """What VECTOR's twin makes of the steps' instructions is the golden's; block_reads is the longest walk of them."""
    net, op = lowered(strides=strides, size=size)
    graph = net.graph(op.node.output)
    (height, width), place = size, op.inputs[0]
    act = np.zeros((CONFIG.act_words, TN), np.int8)
    view, dest = View(200, 0, height, width, 0, 2), 200 + 2 * height * width
    image = net.image()
    for group in range(2):
        lanes = image[group * TN : (group + 1) * TN]
        for row in range(height):
            for col in range(width):
                act[view.address(group, row, col), : len(lanes)] = lanes[:, row, col]
    blocks = op.vector.params(op, TN)
    rows, cols = op.grid
    most = op.vector.most_rows(CONFIG)
    for row in range(0, rows, most):
        for step in op.vector.steps(op, Part(0, 2, 0, rows), row, min(row + most, rows)):
            act[: len(blocks[step.params])] = blocks[step.params]
            body = op.vector.body(op, step, [view]) | {
                "groups": 1, "rows": step.row1 - step.row0, "cols": cols, "lane_last": TN - 1, **op.vector.loads,
                "dest": dest + (step.group * rows + step.row0) * cols, "dest_pitch": cols, "dest_step": 1,
            }  # fmt: skip
            acc = np.zeros((CONFIG.acc_words, TN), np.int32)
            error, _ = Vector.model(CONFIG, act, acc, VectorState(), body)
            assert not error
    result = graph.values[op.node.output]
    expected = op.spec.compute([image[None]], [graph.values["image"]], result)[0]
    words = act[dest : dest + 2 * rows * cols].reshape(2, rows, cols, TN)
    np.testing.assert_array_equal(np.moveaxis(words, -1, 1).reshape(16, rows, cols)[:12], expected)
    assert place.storage.width == width


def test_reads_each_pixel_of_a_block_once():
    _, op = lowered(strides=(2, 1))
    assert op.vector.block_reads(op, 3, 7) == (2 * 2 + 3) * (6 + 3) + DEPTHWISE_WORDS
    assert op.vector.most_rows(CONFIG) == 7 and lowered()[1].vector.most_rows(CONFIG) == 14
    needs = op.needs(Part(1, 2, 0, 3))
    assert needs == [Part(1, 2, 0, 6)]
