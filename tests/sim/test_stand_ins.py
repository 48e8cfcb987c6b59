"""Whole nodes with the C++ stand-ins and without: the same bits in the same cycles, everywhere."""

import dataclasses

import numpy as np
import pytest
from nets import Builder, few_channels, random_graph

from superlip import api
from superlip.boards import TARGETS
from superlip.run.simulate import simulate
from superlip.sim.cluster import Flip, Simulator
from superlip.tools.toolchain import MissingToolError

TINY = TARGETS["tiny"]
TINY = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, depthwise_rows=16))


@pytest.fixture(scope="module")
def simulators():
    """With stand-ins, and without."""
    try:
        found = [Simulator.build(TINY, pure_rtl=pure) for pure in (False, True)]
    except MissingToolError as error:
        pytest.skip(str(error))
    assert found[0].executable != found[1].executable
    return found


def both(simulators, design, images, **options):
    """Results of a design with stand-ins and without, which must not differ in anything but the speed."""
    fast, pure = (simulate(simulator, design, images, watchdog=5000, **options) for simulator in simulators)
    for field in dataclasses.fields(fast):
        if field.name not in ("seconds", "runs"):
            np.testing.assert_equal(getattr(fast, field.name), getattr(pure, field.name), err_msg=field.name)
    np.testing.assert_equal(fast.runs.keys(), pure.runs.keys())
    return fast


@pytest.mark.parametrize("boards", [1, 2])
def test_random_networks(simulators, boards, seed):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        graph, image = random_graph(rng)
        images = [image, rng.permutation(image.ravel()).reshape(image.shape)]
        result = both(simulators, api.plan(graph, boards=boards, node=TINY), images).check()
        assert len(result.trace) and len(result.profile) and len(result.cycles) == 2


def test_the_largest_of_lane_groups(simulators):
    """Halves and quarters of a word, behind tables and without."""
    graph, image = few_channels(np.random.default_rng(7), (1, 2, 4), size=(25, 17))
    both(simulators, api.plan(graph, boards=2, node=TINY), [image]).check()


@pytest.mark.parametrize("boards", [1, 2])
def test_every_kind_of_operation(simulators, boards, seed):
    """Not left to chance: convolutions of all kinds, poolings, sums, products, tables, concatenation, the host."""
    rng = np.random.default_rng(seed)
    net = Builder(rng, (9, 12, 11))
    x = net.conv("image", 24, (3, 3), pads=(1, 1, 1, 1), table=True)
    x = net.conv(x, 24, (3, 2), groups=24, pads=(1, 0, 1, 1))
    x = net.conv(x, 24, (3, 3), groups=24, pads=(1, 1, 1, 1), table=True)
    y = net.conv(x, 24, (1, 1), dilations=(2, 2))
    x = net.add(x, y)
    x = net.pool(x, "max", (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    x = net.table(net.mul(net.conv(x, 24, (1, 1)), x))
    x = net.concat(x, net.pool(x, "average", (3, 3), strides=(1, 1), pads=(1, 1, 1, 1)), tables=True)
    x = net.conv(net.host(x), 10, (3, 3), strides=(2, 1))
    design = api.plan(net.graph(x), boards=boards, node=TINY)
    both(simulators, design, [net.image(), net.image()]).check()


def test_a_node_that_stops(simulators, seed):
    """A flipped bit on the link: both stop in the same cycle, in the same state."""
    rng = np.random.default_rng(seed)
    net = Builder(rng, (16, 12, 12))
    x = net.conv(net.conv("image", 40, (3, 3), pads=(1, 1, 1, 1)), 40, (3, 3), pads=(1, 1, 1, 1))
    design = api.plan(net.graph(x), boards=2, node=TINY)
    result = both(simulators, design, [net.image()], faults=[Flip(0, 40, 17)])
    assert result.errors and result.states
