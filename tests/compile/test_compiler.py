"""Random networks, compiled and run instruction by instruction in random order, against the golden."""

import dataclasses
import itertools

import numpy as np
import pytest
import several_inputs
from functional import run_compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder, random_branches, random_graph
from paths import LIGHT

from superlip.boards import TARGETS
from superlip.golden import quantize_input
from superlip.graph import load
from superlip.graph.images import input_of, read_images
from superlip.ops.lowering import LoweringError
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.planner import PlanError, make_plan

TINY = TARGETS["tiny"]


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.CHANNELS), (2, Split.ROWS), (2, None)])
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, boards, split):
    graph, image = random_graph(np.random.default_rng(seed))
    run_compiled(graph, image, boards, split=split)


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.CHANNELS), (2, Split.ROWS), (2, None)])
@pytest.mark.parametrize("seed", range(8))
def test_random_branches(seed, boards, split):
    """Branches, concatenations and poolings that overlap, with little room for weights and sums."""
    graph, image = random_branches(np.random.default_rng(seed))
    small = dataclasses.replace(TINY.node, weight_words=512 << seed % 3, acc_words=64 << seed % 2)
    run_compiled(graph, image, boards, split=split, target=dataclasses.replace(TINY, node=small))


@pytest.mark.parametrize("split", [Split.ROWS, Split.CHANNELS])
def test_streamed_weights(split):
    """More weights than the buffer holds: the ring, and its sharing over the link."""
    net = Builder(np.random.default_rng(3), (40, 6, 6))
    x = net.conv("image", 64, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(x, 72, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(x, 64, (3, 3), pads=(1, 1, 1, 1))
    compiled = run_compiled(net.graph(x), net.image(), 2, split=split)
    assert all(board.weight_words for board in compiled.boards)


def with_depthwise(target, rows=16):
    return dataclasses.replace(target, node=dataclasses.replace(target.node, depthwise_rows=rows))


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.CHANNELS), (2, Split.ROWS), (2, None)])
@pytest.mark.parametrize("seed", range(6))
def test_depthwise(seed, boards, split):
    """What VECTOR runs and what MATMUL does, of several groups, in a concatenation, of a slice, with a table."""
    rng = np.random.default_rng(seed)
    net = Builder(rng, (int(rng.integers(3, 10)), int(rng.integers(3, 24)), int(rng.integers(3, 8))))
    x = net.conv("image", 24, (3, 3), pads=(1, 1, 1, 1))
    a = net.conv(x, 24, (3, 3), groups=24, pads=tuple(rng.integers(1, 3, 4)), table=True)
    b = net.conv(net.slice(a, 3, 20), 17, (3, 3), groups=17, pads=(1, 1, 1, 1), strides=tuple(rng.integers(1, 3, 2)))
    c = net.conv(net.slice(a, 5, 22), 17, (5, 3), groups=17, pads=(2, 1, 2, 1))
    y = net.concat(net.conv(net.slice(a, 4, 21), 17, (3, 3), groups=17, pads=(1, 1, 1, 1)), c, tables=True)
    pooled = net.pool(net.conv(a, 24, (3, 3), groups=24, pads=(1, 1, 1, 1)), "max", (2, 2), strides=(2, 2))
    graph = net.graph(net.conv(y, 9, (1, 1)), net.conv(b, 9, (3, 3), pads=(1, 1, 1, 1)), pooled)
    run_compiled(graph, net.image(), boards, split=split, target=with_depthwise(TINY))


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS)])
def test_depthwise_of_activations_in_dram(boards, split):
    net = Builder(np.random.default_rng(6), (16, 40, 16))
    x = net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(x, 16, (3, 3), groups=16, pads=(1, 1, 1, 1))
    x = net.add(x, net.conv(x, 16, (3, 3), groups=16, pads=(1, 1, 1, 1)))
    compiled = run_compiled(net.graph(x), net.image(), boards, split=split, target=with_depthwise(cramped(1024)))
    assert compiled


def test_wide_rows_and_split_blocks():
    """A row longer than an accumulator bank, and a kernel whose weights fill more than one block."""
    net = Builder(np.random.default_rng(4), (3, 3, 200))
    run_compiled(net.graph(net.conv("image", 9, (1, 3), pads=(0, 1, 0, 1))), net.image(), 2)
    net = Builder(np.random.default_rng(5), (40, 12, 12))
    x = net.conv("image", 16, (12, 12))
    run_compiled(net.graph(x), net.image(), 2)


def cramped(act_words, banks=1):
    """The tiny node with a small activation buffer."""
    node = dataclasses.replace(TINY.node, act_words=act_words, act_banks=banks, acc_words=64)
    return dataclasses.replace(TINY, node=node)


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS)])
def test_activations_in_dram(boards, split):
    """Activations that do not fit: image and layers in DRAM, read in strips, with halo rows, pooled, added."""
    net = Builder(np.random.default_rng(6), (16, 24, 16))
    a = net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1))
    b = net.conv(a, 16, (3, 3), pads=(1, 1, 1, 1))
    c = net.add(a, b)
    d = net.pool(c, "max", (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    e = net.conv(d, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    f = net.pool(e, "average", (3, 3), pads=(1, 1, 1, 1))
    compiled = run_compiled(
        net.graph(f), net.image(), boards, split=split, target=cramped(*{1: (1024, 1), 2: (768, 3)}[boards])
    )
    assert {"image", "conv0.y", "conv1.y"} <= compiled.in_dram


@pytest.mark.parametrize("height", [23, 27, 30])
def test_strips_of_boards_that_differ(height):
    """Halo rows make the boards' strips differ in chunks: no stage is filled while one of them still reads it."""
    net = Builder(np.random.default_rng(3), (8, height, 16))
    x = net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(x, 8, (3, 3), pads=(1, 1, 1, 1))
    x = net.pool(net.conv(x, 8, (3, 3), pads=(1, 1, 1, 1)), "max", (2, 2), strides=(2, 2))
    run_compiled(net.graph(x), net.image(), 2, split=Split.ROWS, target=cramped(512))


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS), (2, None)])
def test_moves_of_channels(boards, split):
    """Concatenations, aligned and not, with tables, nested; slices, shuffles, padding, resizing, depth and space."""
    net = Builder(np.random.default_rng(7), (11, 6, 6))
    a = net.conv("image", 12, (1, 1))
    b = net.conv("image", 5, (3, 3), pads=(1, 1, 1, 1))
    c = net.pool(net.conv("image", 16, (1, 1)), "max", (3, 3), pads=(1, 1, 1, 1))
    joined = net.concat(net.concat(a, b), c, tables=True)
    parts = net.slice(joined, 3, 11), net.slice(joined, 11, 19)
    both = net.concat(net.add(*parts), net.concat(b, a))
    x = net.shuffle(both)
    x = net.conv(x, 16, (1, 1))
    x = net.depth_to_space(x, 2, "DCR")
    x = net.depth_to_space(x, 2, "CRD")
    x = net.space_to_depth(x, 2)
    x = net.pad(x, (1, 0, 2, 1), -7)
    x = net.resize(x, 2)
    run_compiled(net.graph(x), net.image(), boards, split=split)


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
def test_rows_and_columns_by_number(boards, split):
    """Crops, every n-th pixel, reflected borders, enlargement by 3/2 and 2."""
    net = Builder(np.random.default_rng(9), (11, 9, 8))
    x = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    x = net.pick(x, range(1, 9), range(2, 8))
    x = net.pick(x, np.arange(12) * 2 // 3, np.arange(12) // 2)
    x = net.conv(x, 9, (1, 1))
    x = net.pick(x, range(1, 12, 2), range(0, 12, 3))
    x = net.pick(x, [1, 0, 1, 2, 3, 4, 5, 4], [0, 1, 2, 3])
    x = net.conv(x, 5, (3, 3))
    run_compiled(net.graph(x), net.image(), boards, split=split)


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
def test_fused_pooling(boards, split):
    """Maximum pooling without overlap is done on the sums; odd sizes leave the last row and column out."""
    net = Builder(np.random.default_rng(8), (9, 13, 11))
    x = net.pool(net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1)), "max", (2, 2), strides=(2, 2))
    x = net.pool(net.conv(x, 16, (3, 3), pads=(1, 1, 1, 1)), "max", (3, 2), strides=(3, 2))
    compiled = run_compiled(net.graph(x), net.image(), boards, split=split)
    assert len(compiled.network.ops) == 2


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
def test_fused_pooling_of_windows_that_overlap(boards, split):
    """Chunks share rows of sums; padding counts for nothing, even where all sums are negative."""
    net = Builder(np.random.default_rng(18), (5, 15, 13))
    x = net.pool(net.conv("image", 16, (1, 1)), "max", (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    x = net.pool(net.conv(x, 12, (1, 1)), "max", (3, 2), strides=(1, 2))
    compiled = run_compiled(net.graph(x), net.image(), boards, split=split, target=cramped(4096, 4))
    assert len(compiled.network.ops) == 2


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    corner=st.sampled_from([-(2**31), 2**31 - 1]),
    reach=st.sampled_from([0, 1, 1000, 130_000, 2_000_000]),
    overlap=st.booleans(),
)
def test_pooling_of_sums_that_wrap(seed, corner, reach, overlap):
    """A bias at the ends of int32: sums that may wrap with it lose their order, and are pooled after requantization."""
    random = np.random.default_rng(seed)
    net = Builder(random, (5, 8, 8))
    x = net.conv("image", 8, (3, 3))
    bias = corner - np.sign(corner) * random.integers(0, reach + 1, 8)
    net.nodes[0] = dataclasses.replace(
        net.nodes[0], bias=bias.astype(np.int32), scale=np.full(8, 127 / 2**31, np.float32), low=-128, high=127
    )
    x = net.pool(x, "max", (3, 3) if overlap else (2, 2), strides=(2, 2))
    run_compiled(net.graph(x), net.image(), 1, seeds=(seed,))


@pytest.mark.parametrize("margin, operations", [(0, 1), (1, 2)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_pooling_is_fused_up_to_the_last_number_of_int32(sign, margin, operations):
    """Sums lie in [-128 * 100 * 3, 127 * 100 * 3] for three weights of 100; one number more, and one might wrap."""
    net = Builder(np.random.default_rng(0), (3, 4, 4))
    x = net.conv("image", 8, (1, 1))
    bias = 2**31 - 1 - 38_100 + margin if sign > 0 else -(2**31) + 38_400 - margin
    net.nodes[0] = dataclasses.replace(
        net.nodes[0], weights=np.full((8, 3, 1, 1), 100, np.int8), bias=np.full(8, bias, np.int32)
    )
    graph = net.graph(net.pool(x, "max", (2, 2), strides=(2, 2)))
    assert len(lower(graph, TINY.node.tn).ops) == operations


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
@pytest.mark.parametrize("seed", range(6))
def test_layers_that_overlap(seed, boards, split):
    """Branches whose convolutions take several blocks of weights: sums that are not complete keep their place."""
    random = np.random.default_rng(seed)
    net = Builder(random, (12, 8, 8))
    branches = [net.conv(net.pool("image", "max", (3, 3), pads=(1, 1, 1, 1)), 8, (1, 1)) for _ in range(2)]
    for _ in range(3):
        x = net.conv("image", int(random.integers(9, 30)), (1, 1))
        branches.append(net.conv(x, int(random.integers(4, 20)), (3, 3), pads=(1, 1, 1, 1)))
    x = net.conv(net.concat(*branches), 8, (3, 3))
    small = dataclasses.replace(TINY.node, weight_words=512, acc_words=128)
    run_compiled(net.graph(x), net.image(), boards, split=split, target=dataclasses.replace(TINY, node=small))


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
@pytest.mark.parametrize("channels", [8, 5])
def test_pooling_of_a_concatenation(channels, boards, split):
    """It is done on the sums of the convolutions in front of the concatenation, also where they share a word."""
    net = Builder(np.random.default_rng(38), (8, 13, 11))
    a, b = net.conv("image", channels, (1, 1)), net.conv("image", 8, (1, 1))
    x = net.pool(net.concat(a, b), "max", (3, 3), strides=(2, 2))
    compiled = run_compiled(net.graph(x), net.image(), boards, split=split)
    assert len(compiled.network.ops) == 2


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
@pytest.mark.parametrize("channels, fold", [(1, 4), (2, 4), (3, 2), (4, 2), (5, 1), (17, 4), (12, 2)])
def test_kernel_columns_share_a_pass(channels, fold, boards, split):
    """Words that hold few channels hold them several times, and a pass takes every copy from another column."""
    net = Builder(np.random.default_rng(28), (6, 9, 11))
    x = net.conv("image", channels, (1, 1))
    a = net.conv(x, 9, (3, 5), pads=(1, 2, 1, 2))
    b = net.conv(x, 7, (1, 1))
    x = net.conv(net.concat(a, b), 3, (1, 3), pads=(0, 1, 0, 1))
    compiled = run_compiled(net.graph(x), net.image(), boards, split=split)
    assert [op.fold for op in compiled.network.ops if op.node.weights.shape[2:] == (3, 5)] == [fold]
    assert compiled.network.ops[0].copies == fold


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS)])
def test_words_in_dram_that_operations_share(boards, split):
    """A concatenation in DRAM whose parts begin and end within words: nobody's lanes are lost."""
    net = Builder(np.random.default_rng(13), (8, 24, 16))
    a, b, c = (net.conv("image", m, (1, 1)) for m in (12, 5, 11))
    x = net.conv(net.concat(a, b, c), 8, (1, 1))
    compiled = run_compiled(
        net.graph(x), net.image(), boards, split=split, target=cramped(*{1: (1024, 1), 2: (768, 3)}[boards])
    )
    assert "concat3.y" in compiled.in_dram


SPLITS = [(1, None), (2, Split.ROWS), (2, Split.CHANNELS), (2, None)]


@pytest.mark.parametrize("boards, split", SPLITS)
def test_host_operations_between_layers(boards, split):
    """Two stops: LRN, and two branches that share one; the host's results are convolved, joined and added."""
    net = Builder(np.random.default_rng(9), (9, 8, 8))
    a = net.conv("image", 20, (3, 3), pads=(1, 1, 1, 1))
    x = net.host(net.host(a))
    b = net.conv(x, 12, (3, 3), pads=(1, 1, 1, 1))
    c, d = net.host(b), net.reshape(net.conv(x, 48, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)), (12, 8, 8))
    joined = net.concat(net.add(c, d), x, c)
    e = net.pool(joined, "max", (3, 3), pads=(1, 1, 1, 1))
    f = net.conv(e, 10, (8, 8))
    compiled = run_compiled(net.graph(f, net.host(f, "Softmax"), c), net.image(), boards, split=split)
    assert compiled.network.cuts == [1, 3] and len(compiled.network.steps) == 4 and len(compiled.network.host) == 1
    assert compiled.segments == 3 and all(len(board.programs) == 3 for board in compiled.boards)


@pytest.mark.parametrize("boards, split", SPLITS)
def test_host_operations_at_both_ends(boards, split):
    """The host works on the image before the first segment; what it computed last is an output in part."""
    net = Builder(np.random.default_rng(10), (9, 6, 6))
    x = net.conv(net.host("image"), 16, (1, 1))
    x = net.slice(net.host(x), 3, 11)
    compiled = run_compiled(net.graph(x), net.image(), boards, split=split)
    assert compiled.network.cuts == [1] and compiled.segments == 2


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS)])
def test_host_operations_on_activations_in_dram(boards, split):
    net = Builder(np.random.default_rng(11), (16, 24, 16))
    a = net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1))
    b = net.conv(net.host(a), 16, (3, 3), pads=(1, 1, 1, 1))
    c = net.conv(net.add(net.host(b), a), 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    compiled = run_compiled(
        net.graph(c), net.image(), boards, split=split, target=cramped(*{1: (1024, 1), 2: (768, 3)}[boards])
    )
    assert {"image", "conv0.y", "host1.y"} <= compiled.in_dram


@pytest.mark.parametrize("boards, split", SPLITS)
def test_what_the_host_keeps(boards, split):
    """Numbers of the model's own, for another host operation of the same stop, of a later one, and for an output."""
    net = Builder(np.random.default_rng(13), (9, 6, 6))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    kept = net.host_real(a)
    b = net.conv(net.host_quantized(kept), 12, (1, 1))
    both = net.host_real(b, kept)
    c = net.conv(net.host_quantized(both), 8, (1, 1))
    compiled = run_compiled(net.graph(c, net.host_real(c), both), net.image(), boards, split=split)
    assert compiled.network.cuts == [1, 2]
    assert [step.node.output for step in compiled.network.steps if step.node.output not in compiled.network.places] == [
        kept, both
    ]  # fmt: skip
    with pytest.raises(LoweringError, match="is no integer tensor, and the accelerator needs it"):
        lower(net.graph(net.conv(kept, 4, (1, 1))), 8)


@pytest.mark.parametrize("boards, split", SPLITS)
def test_gates(boards, split):
    """Squeeze-and-excite: a number a channel times an image, either operand first, and where lanes don't agree."""
    net = Builder(np.random.default_rng(14), (9, 7, 5))
    a = net.conv("image", 20, (3, 3), pads=(1, 1, 1, 1))
    gate = net.conv(net.pool(a, "average", (7, 5)), 20, (1, 1))
    b = net.mul(a, gate)
    joined = net.concat(net.conv("image", 3, (1, 1)), a)
    shifted = net.slice(joined, 3, 23)
    c = net.add(net.mul(shifted, gate), gate)
    d = net.conv(net.mul(b, c), 6, (3, 3), strides=(2, 2))
    compiled = run_compiled(net.graph(d, joined), net.image(), boards, split=split)
    gated = [op for op in compiled.network.ops if op.name in ("mul3", "mul7", "add8")]
    assert [op.inputs[0].size for op in gated] == [(1, 1)] * 3


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS)])
def test_a_gate_of_an_image_in_dram(boards, split):
    net = Builder(np.random.default_rng(15), (16, 24, 16))
    a = net.conv("image", 16, (3, 3), pads=(1, 1, 1, 1))
    squeezed = net.pool(net.conv("image", 16, (3, 3), strides=(6, 4), pads=(1, 1, 1, 1)), "average", (4, 4))
    b = net.mul(a, net.conv(squeezed, 16, (1, 1)))
    c = net.conv(b, 8, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    compiled = run_compiled(
        net.graph(c), net.image(), boards, split=split, target=cramped(*{1: (1536, 3), 2: (768, 3)}[boards])
    )
    assert "conv0.y" in compiled.in_dram


def test_products_of_other_shapes_are_refused():
    net = Builder(np.random.default_rng(16), (8, 4, 4))
    wide = net.conv("image", 8, (1, 1))
    row = net.pool("image", "max", (4, 1))
    with pytest.raises(LoweringError, match=r"tensors of shape \(8, 4, 4\) and \(8, 1, 4\) do not go together"):
        lower(net.graph(net.mul(wide, row)), 8)


def test_operations_that_share_a_word_divided_differently():
    """Two results in one word, one computed by both boards, the other by rows: each board lacks half of the words."""
    net = Builder(np.random.default_rng(12), (8, 6, 6))
    joined = net.concat(net.conv("image", 4, (1, 1)), net.conv("image", 4, (3, 3), pads=(1, 1, 1, 1)))
    graph = net.graph(net.conv(joined, 16, (3, 3), pads=(1, 1, 1, 1)))
    for splits in itertools.product([Split.ALL, Split.ROWS], [Split.ALL, Split.ROWS], [Split.CHANNELS, Split.ROWS]):
        run_compiled(graph, net.image(), 2, split=list(splits))


def test_more_boards_than_there_can_be():
    graph, _ = random_graph(np.random.default_rng(1))
    with pytest.raises(PlanError, match="3 boards asked for; node tiny can be joined 1 or 2"):
        make_plan(lower(graph, 8), TINY, 3)


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("name", ["inception_v1", pytest.param("bvlc_alexnet", marks=pytest.mark.slow)])
def test_networks_with_lrn_on_large_nodes(name, boards):
    """Two stops for LRN; 11x11 kernels, groups, a dense layer over 256 x 6 x 6, 60 million weights from DRAM."""
    graph = load(LIGHT / f"light_{name}.onnx", random_weights=0)
    image = np.random.default_rng(0).integers(-128, 128, graph.values[graph.input].shape).astype(np.int8)
    target, split = TARGETS["zcu102"], Split.ROWS if boards > 1 else None
    compiled = run_compiled(graph, image, boards, seeds=(0,), split=split, target=target, dram_words=1 << 20)
    assert compiled.segments == 3 and len(compiled.network.steps) == 2 and len(compiled.network.host) == 1


@pytest.mark.parametrize("boards", [1, 2])
@pytest.mark.parametrize("network", several_inputs.NETWORKS.values(), ids=several_inputs.NETWORKS)
def test_several_inputs(network, boards):
    built, images = network()
    graph = load(built, calibrate=images)
    image = quantize_input(graph, read_images(images, input_of(graph)))[0]
    compiled = run_compiled(graph, image, boards)
    assert set(compiled.network.given()) >= {compiled.network.places[part.value].storage for part in graph.parts}
    assert compiled.segments == 1  # what the host makes of an input alone, it makes before the boards begin
