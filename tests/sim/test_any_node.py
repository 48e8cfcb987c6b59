"""Any node that node files accept computes right on one and on two boards, or the network is refused by name."""

import numpy as np
import pytest
from nets import random_graph
from nodes import draw_target

from superlip.api import plan, run
from superlip.compile.errors import CompileError
from superlip.plan.planner import PlanError
from superlip.run.images import Images

FAST, ALL = 4, 200


@pytest.mark.parametrize("number", [*range(FAST), *(pytest.param(n, marks=pytest.mark.slow) for n in range(FAST, ALL))])
def test_it_computes_right(number):
    """Small arrays in the fast tests, all sizes in the slow ones; the network is another one each time."""
    graph, image = random_graph(np.random.default_rng(number), size=7)
    for attempt in range(50):
        target = draw_target(number + ALL * attempt, largest=8 if number < FAST else 128)
        try:
            plan(graph, boards=2, node=target)
        except (PlanError, CompileError) as error:  # its buffers are too small for this network
            assert graph.name in str(error) or target.name in str(error)
            print(f"refused: {error}")
            continue
        print(target)
        report = run(graph, boards=2, node=target, images=Images(image[None], None, "random"))
        assert report.bit_exact, report.first_difference
        return
    pytest.fail("no node has room for the network")
