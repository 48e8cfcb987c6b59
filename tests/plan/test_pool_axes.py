"""Maximum poolings over rows and columns, one axis after the other."""

import numpy as np
import pytest
from functional import run_compiled
from lowered import check_lowered
from nets import Builder

from superlip.plan.pool_axes import LEAST_GAIN, pool_axis_by_axis


def pooled(kernel, *, kind="max", size=(20, 18), in_front=None, **fields):
    net = Builder(np.random.default_rng(2), (11, *size))
    x = "image" if in_front is None else in_front(net)
    return net, net.graph(net.pool(x, kind, kernel, **fields))


def kernels(network):
    return [op.window.kernel for op in network.ops if not op.is_conv]


@pytest.mark.parametrize(
    "kernel, fields, found",
    [
        ((5, 5), {"pads": (2, 2, 2, 2)}, [(1, 5), (5, 1)]),
        ((3, 4), {"pads": (0, 1, 2, 3)}, [(1, 4), (3, 1)]),
        ((5, 3), {"strides": (1, 2), "pads": (4, 0, 0, 1)}, [(1, 3), (5, 1)]),
        ((9, 3), {"strides": (2, 1), "pads": (1, 1, 1, 1)}, [(1, 3), (9, 1)]),
        ((2, 2), {"strides": (2, 2)}, [(2, 2)]),  # no pixel is read twice
        ((1, 7), {}, [(1, 7)]),
        ((5, 5), {"kind": "average"}, [(5, 5)]),
    ],
)
def test_which_and_the_same_bits(kernel, fields, found):
    net, graph = pooled(kernel, **fields)
    assert kernels(check_lowered(graph, net.image())) == found


def test_not_one_that_is_fused():
    net, graph = pooled((3, 3), in_front=lambda net: net.conv("image", 8, (1, 1)), strides=(3, 3))
    assert check_lowered(graph, net.image()).ops[0].pool is not None


def test_not_for_a_few_cycles():
    """3 x 3 over n x n pixels of one word reads 9n^2 words, or 6n^2 + 2n * 3."""
    for side, divided in ((8, False), (10, True)):
        net = Builder(np.random.default_rng(2), (8, side + 2, side + 2))
        graph = net.graph(net.pool("image", "max", (3, 3)))
        assert (3 * side**2 - 6 * side > LEAST_GAIN) == divided
        assert (len(pool_axis_by_axis(graph, 8).nodes) == 2) == divided


@pytest.mark.parametrize("boards", [1, 2])
def test_the_nodes_compute_them(boards):
    net, graph = pooled((5, 3), pads=(2, 1, 2, 1))
    run_compiled(graph, net.image(), boards)
