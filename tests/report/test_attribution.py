"""Every cycle of an image is explained: the columns of the report add up to its latency."""

import numpy as np
import pytest
from nets import Builder
from paths import DIGITS

from superlip import api, golden
from superlip.boards import TARGETS
from superlip.report import Report
from superlip.report.attribution import COLUMNS, attribute
from superlip.report.bound import Bound
from superlip.report.measured import measure
from superlip.rtl.isa import INSTRUCTION_BYTES, Opcode, decode
from superlip.run.images import load_images
from superlip.run.simulate import finish, simulate

TINY = TARGETS["tiny"]


@pytest.fixture(scope="module")
def digits():
    graph = api.load(DIGITS)
    return graph, load_images(DIGITS, graph, limit=2)


def measured(tiny, graph, quantized, boards):
    design = api.plan(graph, boards=boards, node=TINY)
    result = simulate(tiny, design, quantized).check()
    simulated = measure(design, result, golden.run(graph, quantized))
    assert not simulated.comparison.total
    return design, simulated


def pixels(board):
    """Pixels of each MATMUL instruction, by segment: what the program says."""
    starts = {offset: data for offset, data in board.dram.extents}
    found = []
    for address in board.programs:
        program = bytes(starts[address])
        parts = [program[at : at + INSTRUCTION_BYTES] for at in range(0, len(program), INSTRUCTION_BYTES)]
        bodies = [body for opcode, _, body in map(decode, parts) if opcode is Opcode.MATMUL]
        found.append(
            [b["n_tiles"] * b["kh"] * b["kw"] * b["rows"] * (b["cols"] + (1 << b["fold"]) - 1) for b in bodies]
        )
    return found


def check(design, simulated):
    """Cycles, columns and pixels of all images and boards."""
    result = simulated.result
    for image, cycles in enumerate(result.cycles):
        table = attribute(design, result, image)
        assert table.shape == (len(design.network.ops) + 1, len(COLUMNS)) and (table >= 0).all()
        assert table.sum() == cycles
        for number, board in enumerate(design.compiled.boards):
            lost = result.lost[(result.lost["image"] == image) & (result.lost["node"] == number)]
            assert lost["cycles"].sum() == cycles
            for segment, counts in enumerate(pixels(board)):
                assert len(board.for_input[segment]) == len(counts)
                sent = np.zeros(len(counts), int)
                mine = lost[(lost["segment"] == segment) & (lost["cause"] == 0)]
                np.add.at(sent, mine["instruction"], mine["cycles"])
                np.testing.assert_array_equal(sent, counts)
    rows = simulated.layers
    assert sum(row.cycles for row in rows) == result.cycles.max()
    assert all(row.cycles == sum(getattr(row, column) for column in COLUMNS) for row in rows)
    return {row.name: row for row in rows}


@pytest.mark.parametrize("boards", [1, 2])
def test_digits(tiny, digits, boards):
    graph, images = digits
    rows = check(*measured(tiny, graph, golden.quantize_input(graph, images.images), boards))
    assert rows["input"].ifm > 0 and rows["input"].busy == rows["add1"].busy == 0
    assert rows["add1"].cycles > 0  # MATMUL waits for it
    assert rows["conv3 + pool2"].busy > 0.8 * rows["conv3 + pool2"].cycles
    assert rows["conv3 + pool2"].share_of_peak == pytest.approx(
        rows["conv3 + pool2"].macs / rows["conv3 + pool2"].cycles / TINY.node.macs_per_cycle / boards
    )
    assert any(row.link for row in rows.values()) == (boards == 2)
    assert rows["dense"].fill_drain > 0


@pytest.mark.parametrize("boards", [1, 2])
def test_host_steps(tiny, boards):
    """Three segments, one of them without MATMUL."""
    net = Builder(np.random.default_rng(5), (3, 12, 12))
    a = net.conv("image", 24, (3, 3), pads=(1, 1, 1, 1))
    b = net.pool(net.host(a), "max", (2, 2), strides=(2, 2))
    graph = net.graph(net.conv(net.host(b), 10, (6, 6)))
    design, simulated = measured(tiny, graph, np.stack([net.image(), net.image()]), boards)
    assert design.compiled.segments == 3
    rows = check(design, simulated)
    assert rows["pool2"].fill_drain > 0  # nothing else happens in its segment


def test_what_vector_is_late_with(tiny):
    """Few channels: MATMUL is faster than VECTOR empties the accumulators. Dense: it needs all of its input."""
    net = Builder(np.random.default_rng(6), (8, 16, 16))
    graph = net.graph(net.conv("image", 64, (1, 1)))
    rows = check(*measured(tiny, graph, net.image()[None], 1))
    assert rows["conv0"].accumulators > 0 and rows["conv0"].ifm == 0
    net = Builder(np.random.default_rng(7), (8, 6, 6))
    graph = net.graph(net.conv(net.conv("image", 8, (1, 1)), 8, (6, 6)))
    rows = check(*measured(tiny, graph, net.image()[None], 1))
    assert rows["conv1"].ifm > 0 and rows["conv1"].accumulators == 0


def test_bound_and_first_image(tiny, digits):
    graph, images = digits
    design, simulated = measured(tiny, graph, golden.quantize_input(graph, images.images), 1)
    bound = Bound.of(design)
    weights = sum(node.weights.size for node in graph.nodes if hasattr(node, "weights"))
    assert bound.bytes_once == weights + images.images[0].size + 10
    assert bound.macs == sum(row.macs for row in simulated.layers)
    assert bound.cycles == max(-(-bound.macs // 64), -(-bound.bytes_once // TINY.dram.bytes_per_cycle))
    outputs = finish(graph, design, simulated.outputs)
    report = Report.make("digits", {1: design}, {1: simulated}, images, outputs, None, None)
    result = simulated.result
    assert report.first_image_cycles == result.init_cycles + result.cycles[0] > report.cycles
    assert report.share_of_peak == pytest.approx(bound.macs / 64 / report.cycles)
    assert report.over_bound == report.cycles / bound.cycles >= 1
    assert f"{100 * report.share_of_peak:.1f} % of 64 MACs" in report.summary()
