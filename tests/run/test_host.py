"""The host's part in an image: what it reads, computes and writes between segments."""

import numpy as np
from functional import started
from nets import Builder

from superlip import api, golden
from superlip.boards import TARGETS
from superlip.run.host import HostWork

TINY = TARGETS["tiny"]


def test_the_host_computes_what_the_golden_does():
    """LRN twice, between convolutions: two stops, each with what the boards made before it."""
    net = Builder(np.random.default_rng(4), (8, 6, 6))
    first = net.host(net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1)))
    second = net.host(net.conv(first, 8, (1, 1)))
    graph, image = net.graph(net.conv(second, 8, (1, 1))), net.image()
    expected = golden.run(graph, image[None])
    compiled = api.plan(graph, boards=2, node=TINY).compiled
    assert compiled.segments == 3
    cluster, work = started(compiled), HostWork(compiled, image)
    writes = work.begin()
    assert set(work.values) == {graph.input}
    for segment, made in enumerate([None, first, second]):
        if made is not None:
            writes = work.between(segment, [cluster.read(*piece) for piece in compiled.host_ranges(segment)])
            np.testing.assert_array_equal(work.values[made], expected[made][0])
        for board, offset, data in writes:
            cluster.write(board, offset, data)
        cluster.run([board.programs[segment] for board in compiled.boards], seed=segment)


def test_what_comes_before_the_boards_is_done_at_once():
    net = Builder(np.random.default_rng(5), (8, 6, 6))
    prepared = net.host("image")
    graph, image = net.graph(net.conv(prepared, 8, (1, 1))), net.image()
    work = HostWork(api.plan(graph, boards=1, node=TINY).compiled, image)
    work.begin()
    np.testing.assert_array_equal(work.values[prepared], golden.run(graph, image[None])[prepared][0])
