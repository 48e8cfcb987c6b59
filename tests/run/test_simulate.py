"""A design on images: what the simulator is told, and what its result is compared with."""

from types import SimpleNamespace

import numpy as np
from functional import traced
from nets import Builder

from superlip import api, golden
from superlip.boards import TARGETS
from superlip.run.simulate import compare, finish, simulate


def network():
    """With a host operation in the middle and one at the end."""
    net = Builder(np.random.default_rng(8), (8, 6, 6))
    x = net.conv(net.host(net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1))), 8, (1, 1))
    return net.graph(net.host(x, "Softmax")), np.stack([net.image(), net.image()])


GRAPH, IMAGES = network()
GOLDEN = golden.run(GRAPH, IMAGES)
DESIGN = api.plan(GRAPH, boards=2, node=TARGETS["tiny"])


def told(**options):
    """Arguments that a simulator is given."""
    return simulate(SimpleNamespace(run=lambda **arguments: arguments), DESIGN, IMAGES, **options)


def test_the_simulator_is_told_all():
    arguments, compiled = told(watchdog=7), DESIGN.compiled
    assert arguments["boards"] == 2 and arguments["watchdog"] == 7 and arguments["trace_images"] == "all"
    assert arguments["dram"] == [board.dram.extents for board in compiled.boards]
    assert arguments["outputs"] == compiled.output_ranges()
    assert [sorted(piece[:2] for piece in image) for image in arguments["inputs"]] == [
        sorted(piece[:2] for piece in compiled.input_writes(image)) for image in IMAGES
    ]
    (stop,) = arguments["host"]
    assert [arguments["programs"], list(stop.programs)] == [[b.programs[s] for b in compiled.boards] for s in (0, 1)]
    assert list(stop.reads) == list(compiled.host_ranges(1)) and len(stop.key) == 64


def test_other_contents_of_dram_are_taken():
    contents = [[(0, b"x")], [(0, b"y")]]
    assert told(dram=contents)["dram"] is contents


def test_each_image_has_its_own_host_work():
    (stop,) = told()["host"]
    raw = [np.zeros(length, np.uint8) for _, _, length in stop.reads]
    first, second = (list(stop.compute(image, raw)) for image in (0, 1))
    assert [piece[:2] for piece in first] == [piece[:2] for piece in second]
    assert [bytes(piece[2]) for piece in first] == [bytes(piece[2]) for piece in second]


def test_a_right_run_equals_the_golden():
    found = compare(DESIGN, traced(DESIGN, IMAGES), GOLDEN)
    assert found.comparison.total == 0
    for name in DESIGN.network.outputs:
        np.testing.assert_array_equal(found.outputs[name], GOLDEN[name])
    outputs = finish(GRAPH, DESIGN, found.outputs)
    for name, values in golden.own_outputs(GRAPH, GOLDEN).items():
        np.testing.assert_array_equal(outputs[name], values)


def test_an_output_that_is_wrong_in_dram_counts():
    result = traced(DESIGN, IMAGES)
    wrong = bytearray(result.outputs[1][0])
    wrong[0] ^= 1
    result.outputs[1][0] = bytes(wrong)
    assert compare(DESIGN, result, GOLDEN).comparison.missing == 1


def test_a_trace_in_any_order_of_images():
    result = traced(DESIGN, IMAGES)
    result.trace = np.concatenate([result.trace[result.trace["image"] == 1], result.trace[result.trace["image"] == 0]])
    assert compare(DESIGN, result, GOLDEN).comparison.total == 0
