"""The published equations: numbers that the authors' own function gives, and the equations written down again."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from superlip.plan.paper import (
    FIXED16,
    FLOAT32,
    ONE_BOARD,
    Design,
    Layer,
    PaperError,
    Partition,
    Rates,
    Usage,
    bram18,
    compute_cycles,
    dsp,
    ifm_cycles,
    latency,
    ofm_cycles,
    trips,
    usage,
    weight_bram18,
    weight_cycles,
)

sys.path.append(str(ROOT / "bench"))
from paper import REFERENCE, REFERENCE_LAYER
from paper_loops import cycles_of

sizes = st.integers(1, 40)
rates = st.floats(0.1, 64)
layers = st.builds(
    lambda m, n, groups, **others: Layer(m=m * groups, n=n * groups, groups=groups, **others),
    m=sizes, n=sizes, r=sizes, c=sizes, k=st.integers(1, 7), b=st.integers(1, 4), groups=st.integers(1, 3),
)  # fmt: skip
divisions = st.builds(
    Partition, pb=st.integers(1, 2), pr=st.integers(1, 3), pc=st.integers(1, 3), pm=st.integers(1, 3)
)  # fmt: skip
rated = st.builds(Rates, ip=rates, wp=rates, op=rates, ap=rates)


@pytest.mark.parametrize("row", REFERENCE, ids=str)
def test_the_authors_numbers(row):
    """Super-LIP, TECS 18(5s), 2019, and the function in its authors' XFER_FPGA: AlexNet's fifth layer, 32 bits."""
    one, several = row.computed()
    assert one == row.one_board and several == row.cycles
    assert row.ratio == pytest.approx(one / several, abs=0.005)


def test_the_authors_numbers_of_resources():
    for tile, expected in {(8, 32): Usage(1280, 592), (64, 7): Usage(2240, 1038)}.items():
        assert usage(Design(*tile, 13, 13, rates=Rates.each(2)), [REFERENCE_LAYER]) == expected


@pytest.mark.parametrize("row", REFERENCE, ids=str)
def test_what_the_links_must_bring(row):
    """The table does not say how fast links are: two words a cycle, as from memory, are enough for all of it."""
    least = row.least_link_rate()
    assert row.computed(ap=least)[1] == pytest.approx(row.cycles, rel=1e-12)
    assert row.computed(ap=least * 0.99)[1] > row.cycles
    assert least <= 2


def test_links_of_two_words_are_needed():
    assert max(row.least_link_rate() for row in REFERENCE) == 2


@settings(deadline=None, max_examples=200)
@given(layers, sizes, sizes, sizes, sizes, rated, divisions, st.booleans())
def test_a_layer_is_as_the_equations_written_again(layer, tm, tn, tr, tc, rates, partition, fill):
    found = latency(layer, Design(tm, tn, tr, tc, rates=rates), partition, fill=fill)
    tr, tc = min(tr, -(-layer.r // partition.pr)), min(tc, -(-layer.c // partition.pc))
    assert found.tile == (tr, tc)
    assert found.cycles == cycles_of(layer, (tm, tn, tr, tc), rates, partition, fill=fill)


def test_by_hand():
    """Every equation, with numbers that divide nowhere."""
    assert weight_cycles(8, 32, 9, 2.5) == 921.6
    assert ifm_cycles(32, 169, 2) == 2704 and ofm_cycles(8, 91, 0.5) == 1456 and compute_cycles(169, 9) == 1521
    layer = Layer(m=100, n=50, r=20, c=30, k=3, b=5, groups=2)
    partition = Partition(pb=2, pr=3, pc=4, pm=3)
    assert trips(layer, 8, 4, 3, partition) == 3 * 2 * 3 * 3  # images, rows of 7, columns of 8, channels of 17
    assert trips(layer, 8, 4, 3) == 5 * 5 * 10 * 7
    found = latency(layer, Design(8, 7, 4, 3, rates=Rates(ip=0.5, wp=1, op=4, ap=0.75)), partition)
    assert found.terms == {
        "compute": 108, "weights": 8 * 7 * 9 / 24, "ifm": 7 * 12 / 0.5 / 3,
        "link weights": 8 * 7 * 9 / 0.75 / 24, "link ifm": 7 * 12 / 0.75 / 3,
    }  # fmt: skip
    assert (found.passes, found.lat1, found.lat2, found.ofm, found.trips) == (4, 108, 432, 24, 108)
    assert found.cycles == 108 * 432 and found.bound == "compute"
    filled = latency(layer, Design(8, 7, 4, 3, rates=Rates.each(4)), partition, fill=True)
    assert filled.fill == 24 + 108 and filled.cycles == found.cycles + 132


def test_formulas_take_arrays():
    tm = np.array([8, 64])
    assert weight_cycles(tm, 7, 9, 2).tolist() == [252, 2016]
    assert trips(Layer(m=128, n=192, r=13, c=13, k=3), tm, 13, 13).tolist() == [16, 2]
    assert bram18(tm, 7, 169, 9, FLOAT32).tolist() == [2 * 7 + 2 * 8 + 2 * 56, 1038]


def test_resources_by_hand():
    assert dsp(8, 32, FLOAT32) == 1280 and dsp(8, 32, FIXED16) == 256
    assert weight_bram18(8, 32, 121, FLOAT32) == 2 * 256  # 3,872 bits in one
    assert weight_bram18(2, 3, 625, FLOAT32) == 2 * 6 * 2  # 20,000 bits in two
    assert weight_bram18(2, 3, 289, FIXED16) == 6 * 2  # 18,496 bits in two
    assert weight_bram18(2, 3, 281, FIXED16) == 6 * 1  # 17,984 in one
    assert bram18(2, 3, 563, 1, FLOAT32) == 2 * 2 * 2 + 2 * 3 * 2 + 2 * 6  # 18,016 bits in two
    small, large = (Layer(m=8, n=8, r=8, c=8, k=k) for k in (1, 25))
    design = Design(2, 3, 1, 1, rates=Rates.each(1))
    assert usage(design, [small]).bram18 == 2 * 5 + 12 and usage(design, [small, large]).bram18 == 2 * 5 + 24
    with pytest.raises(PaperError, match="no layers"):
        usage(design, [])


@pytest.mark.parametrize(
    "bound, partition, rates",
    [
        ("compute", ONE_BOARD, Rates.each(64)),
        ("weights", ONE_BOARD, Rates(ip=64, wp=0.5, op=64, ap=64)),
        ("ifm", ONE_BOARD, Rates(ip=0.5, wp=64, op=64, ap=64)),
        ("ofm", ONE_BOARD, Rates(ip=64, wp=64, op=0.01, ap=64)),
        ("link weights", Partition(pr=2), Rates(ip=64, wp=64, op=64, ap=0.5)),
        ("link ifm", Partition(pm=2), Rates(ip=64, wp=64, op=64, ap=0.1)),
        ("compute", ONE_BOARD, Rates(ip=64, wp=64, op=64, ap=0.1)),  # nothing crosses a link
    ],
)
def test_what_bounds_a_layer(bound, partition, rates):
    layer = Layer(m=128, n=192, r=13, c=13, k=3)
    found = latency(layer, Design(16, 16, 7, 7, rates=rates), partition)
    assert found.bound == bound
    faster = {"ip": rates.ip * 2, "wp": rates.wp * 2, "op": rates.op * 2, "ap": rates.ap * 2}
    name = {"weights": "wp", "ifm": "ip", "ofm": "op", "link weights": "ap", "link ifm": "ap"}.get(bound)
    for each, value in faster.items():  # only more of what bounds helps
        changed = Rates(**{"ip": rates.ip, "wp": rates.wp, "op": rates.op, "ap": rates.ap, each: value})
        better = latency(layer, Design(16, 16, 7, 7, rates=changed), partition).cycles < found.cycles
        assert better == (each == name)


def test_groups_are_layers_one_after_another():
    half, design = Layer(m=128, n=192, r=13, c=13, k=3), Design(64, 7, 13, 13, rates=Rates.each(2))
    whole = Layer(m=256, n=384, r=13, c=13, k=3, groups=2)
    assert latency(whole, design).cycles == 2 * latency(half, design).cycles == 225_792
