"""The published equations, each of them once: cycles, DSPs and block RAMs.

The functions of numbers take arrays of numpy as well, which is how the search asks them. Sizes are integers, and so is
what the paper rounds up; cycles are float64, as words need not come a whole number a cycle.

Symbols as in the paper, in lower case: tile (tm, tn, tr, tc), rates in words a cycle (ip, wp, op from and to memory, ap
over the links), partition (pb, pr, pc, pm), S = pb * pr * pc boards that need the same weights.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .shapes import ONE_BOARD, Design, Layer, PaperError, Partition, Precision, Rates

__all__ = [
    "Integers", "LayerTime", "Reals", "Usage", "bram18", "ceil_div", "compute_cycles", "dsp", "ifm_cycles", "latency",
    "ofm_cycles", "tile_terms", "trips", "usage", "weight_bram18", "weight_cycles",
]  # fmt: skip

Integers: TypeAlias = Any
"""int, or ndarray int64."""
Reals: TypeAlias = Any
"""float, or ndarray float64."""

BRAM_BITS = 18_000
"""Of a block RAM, as the paper counts them."""


def ceil_div(size: Integers, part: Integers) -> Integers:
    """ceil(size / part), in integers."""
    return -(-size // part)


# -- a tile -----------------------------------------------------------------------------------------------------------


def weight_cycles(tm: Integers, tn: Integers, taps: int, words: float) -> Reals:
    """Cycles in which a tile's weights come: tW = Tm * Tn * K * K / Wp from memory, / Ap over the links.

    ``taps`` is K * K, ``words`` the rate in words a cycle.
    """
    return tm * tn * taps / words


def ifm_cycles(tn: Integers, pixels: Integers, words: float) -> Reals:
    """Cycles in which a tile's IFM comes: tI = Tn * Tr * Tc / Ip from memory, / Ap over the links.

    ``pixels`` is Tr * Tc, ``words`` the rate in words a cycle.
    """
    return tn * pixels / words


def ofm_cycles(tm: Integers, pixels: Integers, words: float) -> Reals:
    """Cycles in which a tile's results go to memory: tO = Tm * Tr * Tc / Op.

    ``pixels`` is Tr * Tc, ``words`` the rate in words a cycle.
    """
    return tm * pixels / words


def compute_cycles(pixels: Integers, taps: int) -> Integers:
    """Cycles in which the array computes a tile: tComp = K * K * Tr * Tc."""
    return pixels * taps


def tile_terms(
    tm: Integers, tn: Integers, pixels: Integers, taps: int, rates: Rates, partition: Partition
) -> dict[str, Reals]:
    """What Lat1 is the largest of, in cycles, by what bounds.

    - one board: max(tComp, tW_mem, tI_mem)
    - weight-shared (S > 1): max(tComp, tW_mem / S, tI_mem, tW_net / S)
    - IFM-shared (Pm > 1): max(tComp, tW_mem, tI_mem / Pm, tI_net / Pm)
    - hybrid (both): max(tComp, tW_mem / S, tI_mem / Pm, tW_net / S, tI_net / Pm)
    """
    sharers, pm = partition.weight_sharers, partition.pm
    terms: dict[str, Reals] = {
        "compute": compute_cycles(pixels, taps),
        "weights": weight_cycles(tm, tn, taps, rates.wp) / sharers,
        "ifm": ifm_cycles(tn, pixels, rates.ip) / pm,
    }
    if sharers > 1:
        terms["link weights"] = weight_cycles(tm, tn, taps, rates.ap) / sharers
    if pm > 1:
        terms["link ifm"] = ifm_cycles(tn, pixels, rates.ap) / pm
    return terms


# -- a layer ----------------------------------------------------------------------------------------------------------


def trips(layer: Layer, tm: Integers, tr: Integers, tc: Integers, partition: Partition = ONE_BOARD) -> Integers:
    """Tiles of results that a board computes of each group: what Lat multiplies Lat2 with.

    ceil(B / Pb) * ceil(ceil(R / Pr) / Tr) * ceil(ceil(C / Pc) / Tc) * ceil(ceil(M / Pm) / Tm)
    """
    b, r, c, m, _ = extents(layer, partition)
    return b * ceil_div(r, tr) * ceil_div(c, tc) * ceil_div(m, tm)


def extents(layer: Layer, partition: Partition) -> tuple[int, int, int, int, int]:
    """A board's part of a layer: (images, rows, columns, output channels of a group, input channels of a group)."""
    return (
        ceil_div(layer.b, partition.pb), ceil_div(layer.r, partition.pr), ceil_div(layer.c, partition.pc),
        ceil_div(layer.m // layer.groups, partition.pm), layer.n // layer.groups,
    )  # fmt: skip


@dataclass(frozen=True)
class LayerTime:
    """How long a layer takes on each board, in cycles.

    Parameters
    ----------
    layer : Layer
    tile : (int, int)
        Rows and columns: the design's, or what a board has of a layer that is smaller.
    terms : mapping of str to float
        Of a tile of inputs: "compute", "weights" and "ifm" from memory, "link weights" and "link ifm" where boards
        share them.
    passes : int
        Tiles of inputs for one of results: ceil(N / Tn).
    ofm : float
        Of a tile of results, to memory: tO.
    trips : int
        Tiles of results, of all groups.
    fill : float
        What the pipeline takes to fill, where that is counted.
    """

    layer: Layer
    tile: tuple[int, int]
    terms: Mapping[str, float]
    passes: int
    ofm: float
    trips: int
    fill: float = 0.0

    @property
    def lat1(self) -> float:
        """Of a tile of inputs: the slowest of ``terms``."""
        return float(max(self.terms.values()))

    @property
    def lat2(self) -> float:
        """Of a tile of results: max(ceil(N / Tn) * Lat1, tO)."""
        return max(self.passes * self.lat1, self.ofm)

    @property
    def cycles(self) -> float:
        """Of the layer: trips * Lat2, and what fills the pipeline."""
        return self.trips * self.lat2 + self.fill

    @property
    def bound(self) -> str:
        """What limits: one of ``terms``, or "ofm"; of several that are equal the first in that order."""
        if self.ofm > self.passes * self.lat1:
            return "ofm"
        return max(self.terms, key=lambda name: self.terms[name])


def latency(layer: Layer, design: Design, partition: Partition = ONE_BOARD, *, fill: bool = False) -> LayerTime:
    """Lat = trips * max(ceil(N / Tn) * Lat1, tO).

    A tile with more rows or columns than a board has of the layer is as small as that.

    Parameters
    ----------
    layer : Layer
    design : Design
        Of every board.
    partition : Partition
    fill : bool
        Add tO + Lat1, in which the pipeline fills, once a layer: the paper does, its authors' code does not.

    >>> from superlip.plan.paper import Design, Layer, Partition, Rates
    >>> layer, design = Layer(m=128, n=192, r=13, c=13, k=3), Design(64, 7, 13, 13, rates=Rates.each(2))
    >>> latency(layer, design).cycles, latency(layer, design, Partition(pr=2)).cycles
    (112896.0, 56448.0)
    """
    _, r, c, _, n = extents(layer, partition)
    tr, tc = min(design.tr, r), min(design.tc, c)
    pixels, rates = tr * tc, design.rates
    terms = tile_terms(design.tm, design.tn, pixels, layer.taps, rates, partition)
    ofm = ofm_cycles(design.tm, pixels, rates.op)
    filling = ofm + max(terms.values()) if fill else 0.0
    count = layer.groups * trips(layer, design.tm, tr, tc, partition)
    return LayerTime(layer, (tr, tc), terms, ceil_div(n, design.tn), ofm, count, filling)


# -- an FPGA ----------------------------------------------------------------------------------------------------------


def dsp(tm: Integers, tn: Integers, precision: Precision) -> Integers:
    """DSPs of the array: Tm * Tn in 16 bits, 5 * Tm * Tn in floating point."""
    return tm * tn * precision.dsp


def weight_bram18(tm: Integers, tn: Integers, taps: int, precision: Precision) -> Integers:
    """Block RAMs (18 kbit) of the weights.

    bW = 2 * Tm * Tn * ceil(K * K * bits / 18000) in floating point;
    bW = Tm * Tn * ceil(4 * K * K * bits / 18000) in 16 bits.
    """
    if precision.pairs_weights:
        return tm * tn * ceil_div(4 * taps * precision.bits, BRAM_BITS)
    return tm * tn * 2 * ceil_div(taps * precision.bits, BRAM_BITS)


def bram18(tm: Integers, tn: Integers, pixels: Integers, taps: int, precision: Precision) -> Integers:
    """Block RAMs (18 kbit): 2 * Tn * ceil(Tr * Tc * bits / 18000) + 2 * Tm * ceil(Tr * Tc * bits / 18000) + bW.

    ``pixels`` is Tr * Tc; ``taps`` is K * K of the layer with the largest kernel.
    """
    return (tm + tn) * (2 * ceil_div(pixels * precision.bits, BRAM_BITS)) + weight_bram18(tm, tn, taps, precision)


@dataclass(frozen=True)
class Usage:
    """What a design takes of each FPGA: DSPs, and block RAMs of 18 kbit."""

    dsp: int
    bram18: int


def usage(design: Design, layers: Iterable[Layer]) -> Usage:
    """What a design that runs the layers takes of an FPGA: the tile's buffers, with room for the largest kernel.

    >>> from superlip.plan.paper import Design, Layer, Rates
    >>> usage(Design(64, 7, 13, 13, rates=Rates.each(2)), [Layer(m=128, n=192, r=13, c=13, k=3)])
    Usage(dsp=2240, bram18=1038)
    """
    taps = max((layer.taps for layer in layers), default=0)
    if not taps:
        raise PaperError("no layers: a design is for at least one, of which it takes the kernel")
    return Usage(
        dsp(design.tm, design.tn, design.precision),
        bram18(design.tm, design.tn, design.tr * design.tc, taps, design.precision),
    )
