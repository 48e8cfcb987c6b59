"""Any node that node files accept computes right on one and on two boards, or the network is refused by name."""

import numpy as np
import pytest
from nets import random_graph
from nodes import draw_target

from superlip.api import plan, run
from superlip.compile.errors import CompileError
from superlip.plan.planner import PlanError
from superlip.run.images import Images
from superlip.sim.build import OPTIMIZE

FAST, ALL = 10, 200
"""Targets in the fast tests, and in all."""
NODES = (3, 10, 12)
"""Seeds of the nodes of the fast tests, a build each, with room for their networks: both MACs, one and two ports, 1 and
128 reads in flight, bursts of one beat, frames of 1 and 64 slots, 4 to 64 banks. All others have a node each."""


@pytest.fixture(autouse=True)
def compiled_at_once(monkeypatch):
    """What takes time is the compiler: these networks are small."""
    for name in OPTIMIZE:
        monkeypatch.setitem(OPTIMIZE, name, "-O0")


def targets(number):
    """Some that have room for a network, perhaps: small arrays in the fast tests, all sizes in the slow ones."""
    for attempt in range(50):
        seed = number + ALL * attempt
        if number < FAST:
            yield draw_target(seed, largest=8, node=NODES[(number + attempt) % len(NODES)])
        else:
            yield draw_target(seed)


@pytest.mark.parametrize("number", [*range(FAST), *(pytest.param(n, marks=pytest.mark.slow) for n in range(FAST, ALL))])
def test_it_computes_right(number):
    """The network is another one each time, and so are rates and latencies of DRAM and link."""
    graph, image = random_graph(np.random.default_rng(number), size=7)
    for target in targets(number):
        try:
            design = plan(graph, boards=2, node=target)
        except (PlanError, CompileError) as error:  # its buffers are too small for this network
            assert graph.name in str(error) or target.name in str(error)
            print(f"refused: {error}")
            continue
        print(target)
        report = run(design, images=Images(image[None], None, "random"))
        assert report.bit_exact, report.first_difference
        return
    pytest.fail("no node has room for the network")
