"""bench/paper.py, and what docs/paper.md shows of it."""

import sys

import pytest
from paths import ROOT

from superlip.boards import TARGETS
from superlip.plan.paper import FIXED16, FLOAT32, Layer, Partition, Rates, exhaustive, latency, search

sys.path.append(str(ROOT / "bench"))
import paper

PAGE = (ROOT / "docs/paper.md").read_text()
CASES = {
    "conv5, 32 bits, 2": ([paper.REFERENCE_LAYER], FLOAT32, 2),
    "conv5, 32 bits, 4": ([paper.REFERENCE_LAYER], FLOAT32, 4),
    "AlexNet's five, 32 bits, 4": (paper.ALEXNET, FLOAT32, 4),
    "AlexNet's five, 16 bits, 2": (paper.ALEXNET, FIXED16, 2),
    "AlexNet's five, 16 bits, 8": (paper.ALEXNET, FIXED16, 8),
}


def test_the_page_has_the_authors_numbers_and_ours(capsys):
    paper.print_reference()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(paper.REFERENCE) and "\n".join(table) in PAGE


@pytest.mark.parametrize("title", CASES)
def test_the_page_has_what_the_search_finds(title):
    layers, precision, lanes = CASES[title]
    one, two = (
        search(layers, paper.ZCU102, boards, precision=precision, rates=Rates.each(lanes)) for boards in (1, 2)
    )  # fmt: skip
    cells = f"{one.design}: {one.cycles:,.0f} | {two.partition}, {two.design}: {two.cycles:,.0f}"
    assert f"| {title} | {cells} | {one.cycles / two.cycles:.2f} |" in PAGE


def test_both_searches_are_measured(capsys):
    layer = Layer(m=6, n=5, r=4, c=3, k=3)
    paper.print_speed([paper.Space("small", (layer,), FIXED16, 2)])
    assert f"| small | {6 * 5 * 4 * 3 * 3:,} | " in (out := capsys.readouterr().out) and "| yes: <" in out


def test_how_few_tiles_are_tried(monkeypatch):
    tried, best = [], exhaustive._Space._best
    monkeypatch.setattr(
        exhaustive._Space, "_best", lambda self, *axes: tried.append(len(axes[0]) * len(axes[2])) or best(self, *axes)
    )
    for space, most in zip([*paper.SPACES, paper.NETWORK], (2500, 2500, 6500, 2500), strict=True):
        tried.clear()
        search(space.layers, paper.ZCU102, space.boards, precision=space.precision, partition=space.partitions)
        assert 1500 < sum(tried) < most


@pytest.mark.slow
def test_the_search_is_a_thousand_times_as_fast_as_loops():
    row = paper.measure(paper.SPACES[1])
    assert row.equal and row.times >= 1000 and row.tiles == 1_172_184


def test_a_layer_of_superlip_s_node():
    layer = Layer(m=384, n=256, r=12, c=12, k=3)
    case = paper.paper_case(layer, "Pm", 2, TARGETS["zcu102"])
    assert case[2] == Partition(pm=2) and latency(*case).cycles == 15_552
    assert latency(*paper.paper_case(layer, "all", 2, TARGETS["zcu102"])).cycles == 31_104
