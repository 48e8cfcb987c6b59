"""Two halves of an image side by side: the same bits, where lanes were idle."""

from dataclasses import replace

import numpy as np
import pytest
from functional import TINY, run_compiled
from lowered import check_lowered, run_network
from nets import Builder, random_chain

from superlip.golden.run import run as run_golden
from superlip.plan.halving import halve
from superlip.plan.lower import lower

TN = 64
NODE = replace(TINY, node=replace(TINY.node, tm=TN, tn=TN, depthwise_rows=16, act_words=8192, weight_words=8192))


def depthwise(net, x, strides=(1, 1)):
    channels = net.values[x].shape[0]
    return net.conv(x, channels, (3, 3), strides=strides, pads=(1, 1, 1, 1), groups=channels)


def resting(net):
    """All values without a table whose zero point a sum of nothing gives, as it is behind Relu."""
    net.nodes[:] = [replace(node, low=-128, high=127) if hasattr(node, "low") else node for node in net.nodes]
    return net


def first_layers(rng, *, size=(16, 9), strides=(2, 2), channels=32, last=64, table=False, behind=1):
    """What networks for small processors begin with: a convolution, a depthwise one, one pixel by pixel."""
    net = Builder(rng, (3, *size))
    x = net.conv("image", channels, (3, 3), strides=strides, pads=(1, 1, 1, 1), table=table)
    for stride in (1, 2)[:behind]:
        x = depthwise(net, x, (stride, stride))
        x = net.conv(x, last, (1, 1))
    return resting(net)


def halves(network):
    """Names of the operations that work on halves, or put them together."""
    return [op.name for op in network.ops if "halves" in op.output.storage.name or op.origin != (0, 0)]


@pytest.mark.parametrize("has_depthwise", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {}, {"size": (32, 7)}, {"strides": (1, 1)}, {"size": (15, 8)}, {"channels": 20, "last": 3},
        {"channels": 24, "last": 100},
        {"size": (24, 24), "behind": 2, "last": 16}, {"size": (40, 11), "behind": 2, "last": 27},
    ],
)  # fmt: skip
def test_the_same_bits(fields, has_depthwise):
    net = first_layers(np.random.default_rng(4), **fields)
    graph = net.graph(net.nodes[-1].output)
    network = check_lowered(graph, net.image(), TN, depthwise=has_depthwise, halves=True)
    assert halves(network)
    plain = lower(graph, TN, depthwise=has_depthwise)
    assert sum(op.macs for op in network.ops) == sum(op.macs for op in plain.ops)
    words = [sum(op.output.storage.words for op in made.ops if op.origin == (0, 0)) for made in (network, plain)]
    assert words[0] < words[1]


@pytest.mark.parametrize("seed", range(6))
def test_the_node_computes_them(seed):
    rng = np.random.default_rng(seed)
    size = 16 * int(rng.integers(2, 4)), int(rng.integers(5, 12))
    behind = int(rng.integers(1, 3))
    net = first_layers(rng, size=size, channels=int(rng.integers(2, 33)), last=int(rng.integers(2, 33)), behind=behind)
    net.conv(net.nodes[-1].output, 8, (3, 3), pads=(1, 1, 1, 1))
    graph = net.graph(net.nodes[-1].output)
    assert halve(graph, graph.outputs, TN, depthwise=True) is not graph
    run_compiled(graph, net.image(), 1, target=NODE, halves=True)


def test_rows_outside_of_the_image_are_written_by_themselves():
    net = first_layers(np.random.default_rng(4))
    network = lower(net.graph(net.nodes[-1].output), TN, depthwise=True, halves=True)
    assert [op.name for op in network.ops] == ["conv0.above", "conv0", "conv0.below", "conv1", "conv2", "conv2.lower"]
    assert [op.grid[0] for op in network.ops] == [1, 4, 1, 4, 4, 4]
    assert [op.origin[0] for op in network.ops] == [0, 1, 5, 0, 0, 4]
    assert network.taps.first == (-3, 5) and network.input.size[0] == 6


def test_no_halves_where_a_row_outside_would_not_be_padding():
    """Behind a table that does not keep zero, or a clip, a sum of nothing is not the zero point."""
    rng = np.random.default_rng(4)
    net = first_layers(rng, table=True)
    first = net.nodes[0]
    keeps = first.table.copy()
    zero = np.int8(first.table_zero_point).view(np.uint8)
    for shift, found in ((0, True), (1, False)):
        keeps[zero] = net.values[first.output].zero_point + shift
        net.nodes[0] = replace(first, table=keeps)
        graph = net.graph(net.nodes[-1].output)
        assert (halve(graph, graph.outputs, TN, depthwise=True) is not graph) == found
    net = first_layers(rng)
    net.nodes[0] = replace(net.nodes[0], low=net.values[net.nodes[0].output].zero_point + 1)
    graph = net.graph(net.nodes[-1].output)
    assert halve(graph, [], TN, depthwise=True) is graph


@pytest.mark.parametrize(
    "fields",
    [
        {"size": (18, 9)},  # nine rows
        {"channels": 64},  # full words
        {"behind": 0},  # nothing behind it
    ],
)
def test_no_halves_where_they_do_not_go_or_save_nothing(fields):
    net = first_layers(np.random.default_rng(4), **fields)
    graph = net.graph(net.nodes[-1].output)
    assert halve(graph, [], TN, depthwise=True) is graph


@pytest.mark.parametrize("kernel, rows", [(5, 8), (7, 8), (7, 6), (9, 4), (9, 16)])
@pytest.mark.parametrize("groups", [1, 12])
def test_windows_that_are_large_beside_the_image(kernel, rows, groups):
    """A row that lies outside in both halves, or in the lower one above the image, leaves them as one image."""
    net = Builder(np.random.default_rng(4), (3, rows, 7))
    x = net.conv("image", 12, (1, 2), pads=(0, 0, 0, 1))
    x = net.conv(x, 12, (kernel, 1), pads=(kernel // 2, 0) * 2, groups=groups)
    graph = resting(net).graph(net.conv(x, 8, (1, 1)))
    network = check_lowered(resting(net).graph(graph.outputs[0]), net.image(), TN, halves=True)
    assert not halves(network) or rows // 2 >= kernel // 2


def test_no_halves_of_what_others_read():
    net = first_layers(np.random.default_rng(4))
    graph = net.graph(net.nodes[-1].output)
    assert halve(graph, [graph.input], TN, depthwise=True) is graph
    assert halve(graph, [graph.nodes[0].output], TN, depthwise=True) is graph
    net.conv(net.nodes[0].output, 3, (1, 1))
    graph = net.graph(net.nodes[-1].output)
    assert halve(graph, [], TN, depthwise=True) is graph


def test_not_before_a_pooling_that_is_fused():
    net = first_layers(np.random.default_rng(4), behind=2)
    y = net.pool(net.nodes[-1].output, "max", (2, 2), strides=(2, 2))
    network = check_lowered(net.graph(y), net.image(), TN, depthwise=True, halves=True)
    assert network.ops[-1].pool is not None and halves(network)[-1] == "conv2.lower"


@pytest.mark.parametrize("has_depthwise", [True, False])
def test_a_first_kernel_that_no_channels_are_made_of(has_depthwise):
    """The image itself lies in halves then."""
    net = Builder(np.random.default_rng(4), (8, 16, 9))
    x = net.conv(net.conv(depthwise(net, "image"), 8, (1, 1)), 8, (1, 1))
    network = check_lowered(net.graph(x), net.image(), TN, depthwise=has_depthwise, halves=True)
    assert network.input.channels == 16 and network.taps.window.kernel == (1, 1) and halves(network)


def test_any_chain_of_few_channels_has_the_same_bits():
    """Of any kernels, strides, paddings and sizes, also where halves or pairs of pixels do not go."""
    found = {"halves": 0, "pairs": 0}
    for seed in range(200):
        graph, image = random_chain(np.random.default_rng(seed))
        tn, has_depthwise = (8, 16, 32, 64)[seed % 4], seed % 3 == 0
        network = check_lowered(graph, image, tn, depthwise=has_depthwise, halves=True)
        for kind in found:
            found[kind] += any(f".{kind}" in op.output.storage.name for op in network.ops)
    assert min(found.values()) > 5, found


def test_what_the_golden_lacks_is_made():
    net = first_layers(np.random.default_rng(4))
    graph, image = net.graph(net.nodes[-1].output), net.image()
    network = lower(graph, TN, depthwise=True, halves=True)
    golden = run_golden(graph, image[None])
    values = network.complete(golden)
    assert values.keys() > golden.keys() and all(values[name] is golden[name] for name in golden)
    made = run_network(network, image)
    name = f"{graph.nodes[0].output}.halves"
    np.testing.assert_array_equal(values[name][0], made[name])
