"""Layers, FPGAs, partitions and designs of the published model, and what of them is refused."""

import math

import numpy as np
import pytest

from superlip.boards.types import XCZU9EG
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
    Precision,
    Rates,
    partitions,
)

SIZES = {"m": 128, "n": 192, "r": 13, "c": 13, "k": 3}
BAD_SIZES = [0, -1, 1.5, 13.0, math.nan, math.inf, None, "13", True, (1 << 20) + 1, 10**30]
BAD_RATES = [0, -1.0, math.nan, math.inf, -math.inf, None, "4", True, 1e-9, 10**400, 1j]


def test_a_layer():
    layer = Layer(**SIZES, b=2)
    assert layer.taps == 9 and layer.macs == 2 * 128 * 192 * 13 * 13 * 9
    assert Layer(**SIZES | {"k": (1, 7)}).taps == 7
    assert Layer(**SIZES, groups=2).macs == 128 * 96 * 169 * 9


def test_sizes_of_numpy_become_integers():
    layer = Layer(**{name: np.int16(size) for name, size in SIZES.items()})
    assert layer == Layer(**SIZES) and {type(getattr(layer, name)) for name in SIZES} == {int}


@pytest.mark.parametrize("value", BAD_SIZES, ids=repr)
@pytest.mark.parametrize("name", [*SIZES, "b", "groups"])
def test_no_size_of_a_layer(name, value):
    with pytest.raises(PaperError, match=rf"^layer 'conv5': {name} must be an integer from 1 to 1,048,576, not "):
        Layer(**SIZES | {name: value}, name="conv5")


@pytest.mark.parametrize("kernel", [(3,), (3, 3, 3), (), (0, 3), (3, -3), [3, 3]])
def test_no_kernel(kernel):
    with pytest.raises(PaperError, match=r"^layer 'layer': k "):
        Layer(**SIZES | {"k": kernel})


@pytest.mark.parametrize("name", ["m", "n"])
def test_channels_are_of_whole_groups(name):
    with pytest.raises(PaperError, match=rf"^layer 'layer': {name} = 100 must be a multiple of its 64 groups"):
        Layer(**SIZES | {name: 100}, groups=64)


def test_no_more_work_than_is_counted_exactly():
    with pytest.raises(PaperError, match="MACs; up to 1,125,899,906,842,624 are counted exactly"):
        Layer(m=1 << 20, n=1 << 20, r=1 << 10, c=2, k=1)


@pytest.mark.parametrize("value", BAD_RATES, ids=repr)
@pytest.mark.parametrize("name", ["ip", "wp", "op", "ap"])
def test_no_rate(name, value):
    with pytest.raises(PaperError, match=rf"^rates: {name} is words a cycle, a number above 0 .*, not "):
        Rates(**{"ip": 2, "wp": 2, "op": 2, "ap": 2, name: value})


def test_rates():
    assert Rates.each(2) == Rates(ip=2, wp=2.0, op=np.float32(2), ap=2)
    fpga = Fpga(dsp=10, bram18=10, memory_bits=64, link_bits=200)
    assert fpga.rates(FLOAT32) == Rates(ip=2, wp=2, op=2, ap=6.25)
    assert fpga.rates(FIXED16) == Rates(ip=4, wp=4, op=4, ap=12.5)


@pytest.mark.parametrize("value", BAD_RATES, ids=repr)
@pytest.mark.parametrize("name", ["memory_bits", "link_bits"])
def test_no_rate_of_an_fpga(name, value):
    with pytest.raises(PaperError, match=rf"^toy: {name} is bits a cycle"):
        Fpga(**{"name": "toy", "dsp": 1, "bram18": 1, "memory_bits": 1, "link_bits": 1, name: value})


@pytest.mark.parametrize("value", BAD_SIZES, ids=repr)
def test_no_size_of_an_fpga_or_a_design_or_a_partition(value):
    with pytest.raises(PaperError, match=r"^toy: bram18 must be"):
        Fpga(name="toy", dsp=1, bram18=value, memory_bits=1, link_bits=1)
    with pytest.raises(PaperError, match=r"^design: tc must be"):
        Design(1, 1, 1, value, rates=Rates.each(1))
    with pytest.raises(PaperError, match=r"^partition: pm must be"):
        Partition(pm=value)
    with pytest.raises(PaperError, match=r"^boards must be an integer from 1 to 1,024"):
        partitions(value)
    with pytest.raises(PaperError, match=r"^precision 'x': bits must be an integer from 1 to 64"):
        Precision("x", bits=value, dsp=1, pairs_weights=False)


def test_the_board_of_the_paper_is_ours():
    assert (ZCU102.dsp, ZCU102.bram18) == (2520, 1824) == (XCZU9EG.dsp, 2 * XCZU9EG.bram36)
    assert ZCU102.rates(FLOAT32) == Rates.each(4)


def test_partitions():
    assert partitions(1) == [ONE_BOARD] and str(ONE_BOARD) == "one board"
    for boards in (2, 3, 4, 6, 12):
        some = partitions(boards)
        assert len(set(some)) == len(some) and {one.boards for one in some} == {boards}
        expected = sum(
            1
            for pb in range(1, boards + 1)
            for pr in range(1, boards + 1)
            for pc in range(1, boards + 1)
            for pm in range(1, boards + 1)
            if pb * pr * pc * pm == boards
        )
        assert len(some) == expected
    assert str(Partition(pr=2, pm=2)) == "Pr=2, Pm=2" and Partition(pb=2, pr=3, pm=4).weight_sharers == 6
    assert str(Design(64, 7, 13, 13, rates=Rates.each(2))) == "<64, 7, 13, 13>"
