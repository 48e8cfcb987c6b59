"""Random small networks, compiled and run on the RTL of one and two tiny nodes, against the golden."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import Builder, random_graph
from superlip.boards import TARGETS
from superlip.sim.cluster import Simulator

from superlip.data import Images
from superlip.flow import run

TINY = TARGETS["tiny"]


@pytest.fixture(scope="module", autouse=True)
def simulator():
    """Built once; every run then finds it in the cache."""
    return Simulator.build(TINY)


def check(graph, images, boards):
    report = run(graph, boards=boards, node=TINY, images=Images(np.asarray(images), None, "random"))
    assert report.bit_exact, report.first_difference
    return report


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_random_networks(seed):
    """Shapes, strides, padding, groups, pooling, additions, tables; values at the corners of int8."""
    graph, image = random_graph(np.random.default_rng(seed), size=9)
    check(graph, [image, np.full_like(image, -128), np.full_like(image, 127)], 2)


def test_largest_sums():
    """-128 * -128 in every product of a long sum, at every position of the packed multipliers."""
    net = Builder(np.random.default_rng(0), (64, 4, 4))
    x = net.conv("image", 24, (3, 3))
    conv = net.nodes[0]
    weights = np.full_like(conv.weights, -128)
    weights[::3] = 127
    weights[1::3, ::2] = 127
    net.nodes[0] = dataclasses.replace(conv, weights=weights, scale=np.full(24, 1e-5, np.float32))
    graph = net.graph(x)
    images = np.stack([np.full((64, 4, 4), v, np.int8) for v in (-128, 127)] + [net.image()])
    check(graph, images, 2)


def test_weights_through_the_link():
    """Weight-shared layers: each board loads a part and sends it on."""
    net = Builder(np.random.default_rng(3), (40, 6, 6))
    x = net.conv("image", 64, (3, 3), pads=(1, 1, 1, 1))
    x = net.conv(x, 72, (3, 3), pads=(1, 1, 1, 1))
    report = check(net.graph(net.conv(x, 64, (3, 3))), [net.image()], 2)
    assert sum(row.link_bytes for row in report.layers) > 0
