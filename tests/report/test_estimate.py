"""`superlip plan`: totals, against one board, and a node that can't fit."""

import dataclasses
import json

import numpy as np
import pytest
from nets import Builder

from superlip import api, cli
from superlip.boards import TARGETS, Resources
from superlip.compile import design as designs
from superlip.report.estimate import Estimate, misfits

TINY = TARGETS["tiny"]


def graph(size=12, channels=16):
    net = Builder(np.random.default_rng(1), (8, size, size))
    x = net.conv("image", channels, (3, 3), pads=(1, 1, 1, 1))
    return net.graph(net.host(net.conv(x, 8, (1, 1)), "Softmax"))


def estimate(boards, size=12, target=TINY):
    return Estimate.of(api.plan(graph(size), boards=boards, node=target))


def test_totals_are_those_of_the_plans():
    found = estimate(2)
    content = json.loads(found.to_json())
    one, two = (api.plan(graph(), boards=boards, node=TINY).cycles for boards in (1, 2))
    totals = content["totals"]
    assert (totals["cycles_one_board"], totals["cycles"]) == (one, two)
    assert totals["microseconds"] == pytest.approx(two / 200) and totals["speedup"] == one / two
    assert totals["macs"] == sum(layer["macs"] for layer in content["layers"]) > 0
    assert content["boards"] == 2 and content["target"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    text = found.summary()
    for shown in (f"{one:,} cycles", f"{two:,} cycles", f"speed-up {found.speedup:.2f}", "200 MHz"):
        assert shown in text
    assert "slower" not in text


def test_one_board_is_compared_with_nothing():
    found = estimate(1)
    assert found.speedup == 1 and "speed-up" not in found.summary() and "links" not in found.summary()


def test_json_has_nothing_that_was_not_measured():
    content = json.loads(estimate(2).to_json())
    assert {"conv0", "conv1"} <= {layer["name"] for layer in content["layers"]}
    for layer in content["layers"]:
        assert not {"mismatches", "busy", "weights", "ifm", "link", "share_of_peak", "fill_drain"} & set(layer)
        assert None not in layer.values()


def test_boards_that_would_make_it_slower_are_idle():
    slow = dataclasses.replace(TINY, link=dataclasses.replace(TINY.link, bytes_per_cycle=0.01))
    net = Builder(np.random.default_rng(1), (8, 6, 6))
    halo = net.conv(net.conv("image", 8, (3, 3), pads=(1, 1, 1, 1)), 8, (3, 3), pads=(1, 1, 1, 1))
    graph = net.graph(net.conv(halo, 8, (6, 6)))
    design, alone = (api.plan(graph, boards=boards, node=slow) for boards in (2, 1))
    found = Estimate.of(design)
    assert design.idle == 1 and design.cycles == alone.cycles <= design.cycles_of_all
    assert len(design.compiled.boards) == 1 and found.boards == 2 and found.speedup == 1
    assert f"warning      1 of 2 boards is idle: {design.why_idle.split(': ')[1]}" in found.summary()
    assert alone.why_idle is None and alone.idle == 0


def test_boards_are_at_work_where_the_network_does_not_fit_one(monkeypatch):
    def best(graph, target, boards, plan=designs.best_plan):
        if boards == 1:
            raise api.PlanError("it does not fit")
        return plan(graph, target, boards)

    monkeypatch.setattr(designs, "best_plan", best)
    net = Builder(np.random.default_rng(1), (8, 2, 2))
    design = api.plan(net.graph(net.conv("image", 8, (1, 1))), boards=2, node=TINY)
    assert design.idle == 0 and design.alone is None and len(design.compiled.boards) == 2
    found = Estimate.of(design)
    assert found.cycles == design.cycles and found.cycles_one_board > 0
    assert [text for text in found.warnings if text.startswith("it does not fit one board")]


def test_one_board_is_planned_once():
    """What several boards are compared with is what one board does."""
    net = Builder(np.random.default_rng(1), (8, 12, 12))
    graph = net.graph(net.conv(net.conv("image", 32, (3, 3)), 32, (3, 3)))
    design = api.plan(graph, boards=2, node=TINY)
    assert design.idle == 0 and design.alone is design.alone and design.alone.alone is design.alone
    assert Estimate.of(design).cycles_one_board == design.alone.cycles == api.plan(graph, node=TINY).cycles


@pytest.mark.parametrize(
    "resources, node, said",
    [
        (Resources(dsp=32, bram36=912), {}, None),
        (Resources(dsp=31, bram36=912), {}, "at least 32 DSPs for 8x8 MACs, and the FPGA has 31"),
        (Resources(dsp=63, bram36=912), {"mac": "single"}, "at least 64 DSPs"),
        (Resources(dsp=900, bram36=15), {}, None),
        (Resources(dsp=900, bram36=14), {}, "at least 64 KiB for the buffers (act_words, weight_words), and"),
        (Resources(dsp=900, bram36=0, uram=2), {}, None),
    ],
)
def test_a_node_that_can_not_fit_is_named(resources, node, said):
    target = dataclasses.replace(TINY, name="small", resources=resources, node=dataclasses.replace(TINY.node, **node))
    found = misfits(target)
    assert not found if said is None else "node small can't fit" in found[0] and said in found[0]
    assert [text for text in estimate(1, target=target).warnings if "fit" in text] == found


def test_presets_fit():
    assert not [text for target in TARGETS.values() for text in misfits(target)]


def test_the_command_writes_and_shows_it(tmp_path, capsys):
    model = "examples/digits/digits.onnx"
    path, csv = tmp_path / "plan.json", tmp_path / "plan.csv"
    assert cli.main(["plan", model, "--node", "tiny", "--boards", "2", "--json", str(path), "--csv", str(csv)]) == 0
    out = capsys.readouterr().out
    content = json.loads(path.read_text())
    assert f"speed-up {content['totals']['speedup']:.2f}" in out and "digits on 2 boards, node tiny" in out
    assert len(csv.read_text().splitlines()) == len(content["layers"]) + 1
