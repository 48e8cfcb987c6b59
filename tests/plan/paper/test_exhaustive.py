"""The search finds what plain loops find, which try every point."""

import sys
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from superlip.plan.paper import (
    FIXED16,
    FLOAT32,
    ONE_BOARD,
    ZCU102,
    Design,
    Fpga,
    Layer,
    PaperError,
    Partition,
    Rates,
    exhaustive,
    latency,
    partitions,
    search,
    search_each,
    usage,
)

sys.path.append(str(ROOT / "bench"))
from paper_loops import search_by_loops

LAYER = Layer(m=128, n=192, r=13, c=13, k=3, name="conv5")
sizes = st.integers(1, 6)
layers = st.builds(
    lambda m, n, groups, **others: Layer(m=m * groups, n=n * groups, groups=groups, **others),
    m=sizes, n=sizes, r=sizes, c=sizes, k=st.integers(1, 3), b=st.integers(1, 3), groups=st.integers(1, 2),
)  # fmt: skip
rates = st.sampled_from([0.1, 0.3, 1 / 3, 0.7, 1, 2, 8])
rated = st.lists(st.builds(Rates, ip=rates, wp=rates, op=rates, ap=rates), min_size=1, max_size=2)
fpgas = st.builds(
    Fpga, dsp=st.integers(1, 200), bram18=st.integers(1, 200), memory_bits=st.just(64), link_bits=st.just(64)
)  # fmt: skip


def check(layers, fpga, boards, precision, rates, fill, **asked):
    """Both searches over the same space."""
    divisions = partitions(boards)
    options = {name: [size] if isinstance(size, int) else size for name, size in asked.items()}
    key, partition, design, fitting = search_by_loops(
        layers, fpga, divisions, precision, rates, fill=fill, **options
    )  # fmt: skip
    try:
        found = search(
            layers, fpga, boards, precision=precision, rates=rates, partition=divisions, fill=fill, **asked
        )  # fmt: skip
    except PaperError as error:
        assert key is None and fitting == 0 and "fits FPGA" in str(error)
        return None
    assert (found.cycles, found.usage.dsp, found.usage.bram18) == key
    assert (found.partition, found.design) == (partition, design)
    assert found.usage == usage(design, layers) and found.usage.dsp <= fpga.dsp and found.usage.bram18 <= fpga.bram18
    assert found.times == tuple(latency(layer, design, partition, fill=fill) for layer in layers)
    return found


@settings(deadline=None, max_examples=40)
@given(
    st.lists(layers, min_size=1, max_size=3),
    fpgas,
    st.integers(1, 3),
    st.sampled_from([FLOAT32, FIXED16]),
    rated,
    st.booleans(),
    st.sampled_from([(1, 1), (20, 500), exhaustive.AT_ONCE]),
)
def test_it_finds_what_loops_find(layers, fpga, boards, precision, rates, fill, at_once):
    with mock.patch.object(exhaustive, "AT_ONCE", at_once):
        check(layers, fpga, boards, precision, rates, fill)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(layers, min_size=1, max_size=2),
    fpgas,
    st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True),
    st.integers(1, 12),
)
def test_of_some_sizes_too(layers, fpga, tm, tr, tc):
    check(layers, fpga, 2, FLOAT32, [Rates.each(0.7)], False, tm=tm, tr=tr, tc=tc)


def test_fewer_dsps_count_more_than_fewer_block_rams():
    fpga = Fpga(dsp=80, bram18=100, memory_bits=6400, link_bits=64)
    layer = Layer(m=3, n=12, r=1, c=1, k=3)
    found = check([layer], fpga, 1, FLOAT32, [Rates.each(200)], False, tm=[1, 4], tn=[4, 12])
    assert (found.design.tm, found.design.tn, found.usage.dsp, found.usage.bram18) == (1, 12, 60, 50)
    other = usage(Design(4, 4, 1, 1, rates=found.design.rates), [layer])
    assert latency(layer, Design(4, 4, 1, 1, rates=found.design.rates)).cycles == found.cycles == 27
    assert (other.dsp, other.bram18) == (80, 48)


def test_the_paper_s_layer_on_a_small_fpga():
    """A space of the size of the paper's, with an optimum that memory decides."""
    fpga = Fpga(dsp=600, bram18=400, memory_bits=48, link_bits=32)
    for boards, bounds in (1, {"weights", "ifm", "compute"}), (2, {"weights", "link weights", "ifm", "compute"}):
        found = check([LAYER], fpga, boards, FLOAT32, [fpga.rates(FLOAT32)], False, tr=[5, 7, 13], tc=13)
        assert found.times[0].bound in bounds


def test_the_authors_best_tile():
    """Of <Tm, Tn> at Tr = Tc = 13, 4 lanes, 2520 DSPs and 1824 block RAMs (Super-LIP's XFER_FPGA)."""
    found = search([LAYER], ZCU102, tr=13, tc=13)
    assert (found.design.tm, found.design.tn) == (32, 15) and found.cycles == 79_092
    assert search([LAYER], ZCU102).cycles == 79_092  # no other tile is better
    assert str(found) == "<32, 15, 13, 13> on one board: 79,092 cycles, 2,400 DSP, 1,054 BRAM18"


def test_one_design_for_all_is_never_better_than_each_by_itself():
    layers = [LAYER, Layer(m=96, n=3, r=55, c=55, k=11), Layer(m=384, n=256, r=13, c=13, k=3)]
    for boards in (1, 2):
        each = search_each(layers, ZCU102, boards, precision=FIXED16)
        assert [found.times[0].layer for found in each] == layers
        together = search(layers, ZCU102, boards, precision=FIXED16)
        assert sum(found.cycles for found in each) < together.cycles
        assert all(best.cycles <= time.cycles for best, time in zip(each, together.times, strict=True))
    assert search(iter(layers), ZCU102, 2) == search(layers, ZCU102, 2) == search(layers, ZCU102, boards=np.int8(2))


def test_several_rates_to_choose_from():
    few, many = Rates.each(1), Rates.each(4)
    assert search([LAYER], ZCU102, rates=[few, many]).design.rates == many
    assert search([LAYER], ZCU102, rates=[many, replace(many, ap=9)]).design.rates == many  # the first of equals
    assert search([LAYER], ZCU102, rates=few).design.rates == few


def test_which_partitions_are_tried():
    """No batch of one is divided, but where it is asked for; nor more than there is of anything."""
    assert search([LAYER], ZCU102, 2, partition=Partition(pb=2)).partition == Partition(pb=2)
    dense = Layer(m=64, n=64, r=1, c=1, k=1)
    assert search([dense], ZCU102, 2).partition == Partition(pm=2)
    narrow = Layer(m=1, n=64, r=1, c=13, k=3)
    assert (
        search([narrow], ZCU102, 2).partition == search([narrow, dense], ZCU102, 2, tm=64).partition == Partition(pc=2)
    )
    with pytest.raises(PaperError, match="128 boards are more than can divide 1 images, 1 rows, 1 columns, 64 output"):
        search([dense], ZCU102, 128)


@pytest.mark.parametrize(
    "arguments, options, text",
    [
        (([],), {}, "no layers: a design is searched for one or more"),
        ((None,), {}, "no layers"),
        (([LAYER, 3],), {}, "layers: one Layer, or several, not 3"),
        (([LAYER],), {"boards": 0}, "boards must be an integer from 1 to 1,024, not 0"),
        (([LAYER],), {"boards": 1.0}, "boards must be an integer from 1 to 1,024, not 1.0"),
        (([LAYER],), {"rates": 4.0}, "rates: one Rates, or several, not 4.0"),
        (([LAYER],), {"partition": ["Pm=2"]}, "partition: one Partition, or several, not 'Pm=2'"),
        (([LAYER],), {"partition": Partition(pm=2)}, "partition Pm=2 is of 2 boards, not of the 1 asked for"),
        (([LAYER],), {"partition": ONE_BOARD, "boards": 2}, "partition one board is of 1 boards, not of the 2"),
        (([LAYER],), {"tm": 0}, "tm must be an integer from 1 to 1,048,576, not 0"),
        (([LAYER],), {"tn": [1, -2]}, "tn must be an integer from 1 to 1,048,576, not -2"),
        (([LAYER],), {"tr": 6.5}, "tr must be an integer from 1 to 1,048,576, not 6.5"),
        (([LAYER],), {"tc": []}, "tc has nothing to choose from: it is one size or several, or None for all"),
        (([LAYER],), {"tm": 64, "tn": 64}, r"no float32 design of these sizes fits ZCU102 \(2,520 DSP, 1,824 BRAM18\)"),
        (([LAYER],), {"tr": 1 << 20}, "it takes smaller tiles, or a larger FPGA"),
    ],
)
def test_what_is_refused(arguments, options, text):
    with pytest.raises(PaperError, match=text):
        search(*arguments, ZCU102, **options)
    assert issubclass(PaperError, ValueError)


def test_an_fpga_that_holds_nothing():
    with pytest.raises(PaperError, match="fits FPGA"):
        search([LAYER], Fpga(dsp=4, bram18=1824, memory_bits=64, link_bits=64))
    with pytest.raises(PaperError, match="fits FPGA"):
        search([LAYER], Fpga(dsp=2520, bram18=5, memory_bits=64, link_bits=64))
    smallest = search([LAYER], Fpga(dsp=5, bram18=6, memory_bits=64, link_bits=64))
    assert smallest.design.tm == smallest.design.tn == 1 and smallest.usage.bram18 == 6


def test_the_largest_sizes_there_are():
    """Numbers stay integers of 64 bits."""
    wide = Layer(m=1 << 20, n=1 << 20, r=1 << 10, c=1, k=1)
    found = search([wide], Fpga(dsp=1 << 20, bram18=1 << 20, memory_bits=64, link_bits=1))
    assert found.cycles > wide.macs / (1 << 20) and found.usage.dsp <= 1 << 20
    high, some = Layer(m=1, n=1, r=1 << 20, c=1 << 20, k=1), [1, 1000, 1 << 20]
    found = search([high], Fpga(dsp=1 << 20, bram18=1 << 20, memory_bits=64, link_bits=1), tr=some, tc=some)
    assert found.design == Design(1, 1, 1, 1, rates=Rates(ip=2, wp=2, op=2, ap=1 / 32)) and found.cycles == high.macs
    deep = Layer(m=1 << 20, n=1 << 20, r=1, c=1, k=1)
    assert search([deep], Fpga(dsp=1 << 20, bram18=1 << 20, memory_bits=64, link_bits=1), 4).partition == Partition(
        pm=4
    )
