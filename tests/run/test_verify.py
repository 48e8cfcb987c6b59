"""Every word that VECTOR writes has its place in the golden, and a wrong one is found at it."""

import numpy as np
import pytest
from functional import traced
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder, straddling_groups

from superlip import api, golden
from superlip.boards import TARGETS
from superlip.run.verify import TraceChecker


def network():
    net = Builder(np.random.default_rng(6), (9, 7, 6))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    return net.graph(net.add(a, net.pool(a, "average", (3, 3), pads=(1, 1, 1, 1)))), net.image()


GRAPH, IMAGE = network()
GOLDEN = {name: values[0] for name, values in golden.run(GRAPH, IMAGE[None]).items()}


@pytest.fixture(scope="module", params=[1, 2])
def run(request):
    design = api.plan(GRAPH, boards=request.param, node=TARGETS["tiny"])
    return TraceChecker(design.compiled), traced(design, IMAGE[None]).trace


def compared(checker, trace):
    comparison = checker.start()
    checker.compare(0, trace, GOLDEN, comparison)
    return comparison


def test_a_right_run_has_no_difference(run):
    checker, trace = run
    comparison = compared(checker, trace)
    assert comparison.total == 0 and comparison.first is None
    sizes = [GOLDEN[op.node.output].size for op in checker.compiled.network.ops]
    assert (comparison.values >= sizes).all()  # more: what two boards compute, each for itself


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_wrong_value_is_named(run, data):
    checker, trace = run
    at = data.draw(st.integers(0, len(trace) - 1))
    board, number = int(trace["node"][at]), int(trace["cycle"][at])
    lane = data.draw(st.sampled_from(np.flatnonzero(checker.lane[board][number]).tolist()))
    wrong = trace.copy()
    wrong["data"][at, lane] ^= data.draw(st.integers(1, 127))
    comparison = compared(checker, wrong)
    first = comparison.first
    op = checker.compiled.network.ops[checker.op[board][number]]
    assert comparison.total == comparison.mismatches[checker.op[board][number]] == 1
    assert (first.board, first.cycle, first.layer) == (board, number, op.name)
    assert first.expected == GOLDEN[op.node.output][first.channel, first.row, first.col] == trace["data"][at, lane]
    assert first.got == wrong["data"][at, lane] and f"layer {op.name}" in str(first)


def test_the_earliest_difference_comes_first(run):
    checker, trace = run
    wrong = trace.copy()
    places = {}
    for at in (5, 2):
        lane = int(np.flatnonzero(checker.lane[int(trace["node"][at])][int(trace["cycle"][at])])[0])
        wrong["data"][at, lane] ^= 1
        places[at] = int(trace["cycle"][at])
    assert compared(checker, wrong).first.cycle == min(places.values())


def test_words_that_are_missing_are_counted(run):
    checker, trace = run
    assert compared(checker, trace[trace["cycle"] > 0]).missing == len(checker.compiled.boards)


def test_of_channels_in_sections_only_channels_are_compared():
    graph, image = straddling_groups(np.random.default_rng(2))
    design = api.plan(graph, boards=1, node=TARGETS["tiny"])
    checker, trace = TraceChecker(design.compiled), traced(design, image[None]).trace
    expected = {name: values[0] for name, values in golden.run(graph, image[None]).items()}
    (index,) = (i for i, op in enumerate(design.network.ops) if op.name == "pool2")
    at = [int(np.flatnonzero(checker.op[0] == index)[n]) for n in (0, -1)]
    comparison, other = checker.start(), trace.copy()
    checker.compare(0, trace, expected, comparison)
    assert comparison.total == 0
    assert comparison.values.tolist() == [expected[op.node.output].size for op in design.network.ops]
    other["data"][at, 6:] ^= 1  # no channel
    other["data"][at[1], 1] ^= 1
    checker.compare(0, other, expected, comparison)
    assert comparison.total == 1
    assert (comparison.first.channel, comparison.first.layer) == (7, "pool2")
