"""The search of the whole space of designs and partitions, in numpy.

The result is that of trying every point; three things make it quick. Of the sizes that cut all layers in equally many
tiles only the smallest is tried: every term of the model grows with the tile. Pairs <Tm, Tn> come in the order of a
lower bound on their cycles, and end where it passes the best that was found. What is tried, numpy tries many at a time,
with the functions of ``model.py``.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import shapes
from .model import LayerTime, Usage, bram18, ceil_div, dsp, extents, latency, ofm_cycles, tile_terms, trips, usage
from .shapes import FLOAT32, Design, Fpga, Layer, PaperError, Partition, Precision, Rates

__all__ = ["Found", "search", "search_each"]

Sizes = NDArray[np.int64]
T = TypeVar("T")

AT_ONCE = 1 << 11, 1 << 16
"""Points that numpy tries at a time: few at first, as the best is often among them, then what a core's cache holds."""
ROUNDING = 1e-9
"""Part of a lower bound: more than sums of float64 are rounded by."""


@dataclass(frozen=True)
class Found:
    """The best design for some layers.

    Parameters
    ----------
    design : Design
        Of every board, for all layers.
    partition : Partition
        Of all layers.
    times : tuple of LayerTime
        Of each layer.
    usage : Usage
        Of each FPGA.
    """

    design: Design
    partition: Partition
    times: tuple[LayerTime, ...]
    usage: Usage

    @property
    def cycles(self) -> float:
        """Of all layers, one after the other."""
        return sum((time.cycles for time in self.times), 0.0)

    def __str__(self) -> str:
        taken = f"{self.usage.dsp:,} DSP, {self.usage.bram18:,} BRAM18"
        return f"{self.design} on {self.partition}: {self.cycles:,.0f} cycles, {taken}"


def search(
    layers: Iterable[Layer],
    fpga: Fpga,
    boards: int = 1,
    *,
    precision: Precision = FLOAT32,
    rates: Rates | Sequence[Rates] | None = None,
    partition: Partition | Sequence[Partition] | None = None,
    tm: int | Sequence[int] | None = None,
    tn: int | Sequence[int] | None = None,
    tr: int | Sequence[int] | None = None,
    tc: int | Sequence[int] | None = None,
    fill: bool = False,
) -> Found:
    """The design and the partition with the fewest cycles, both the same for all layers.

    Every tile that can be is tried, with every partition, where nothing else is asked for. Of designs that take equally
    many cycles it is the one with the fewest DSPs, then block RAMs, then the first in the order of ``rates``, of
    ``partition`` and of Tm, Tn, Tr, Tc.

    Parameters
    ----------
    layers : list of Layer
        Computed one after the other.
    fpga : Fpga
        Of every board.
    boards : int
    precision : Precision
    rates : Rates, or several to choose from
        By default what the FPGA has for each stream.
    partition : Partition, or several to choose from
        By default all of so many boards (`partitions`) that give each board some of the layer with the most images,
        rows, columns and output channels.
    tm, tn, tr, tc : int, or several to choose from
        By default from 1 to the largest that a layer has.
    fill : bool
        See `latency`.

    Raises
    ------
    PaperError
        If there is no layer, a size is impossible, or no design fits the FPGA.
    """
    layers = _layers(layers)
    given = {"tm": tm, "tn": tn, "tr": tr, "tc": tc}
    sizes = {name: None if some is None else _sizes(some, name) for name, some in given.items()}
    divisions = _divisions(layers, boards, partition)
    choices = _several(rates, Rates, "rates") or [fpga.rates(precision)]
    best: _Point | None = None
    for order, (rate, division) in enumerate(itertools.product(choices, divisions)):
        space = _Space(layers, fpga, precision, rate, division, fill, order)
        best = space.search([space.choices(name, some) for name, some in sizes.items()], best)
    if best is None:
        raise PaperError(
            f"no {precision.name} design of these sizes fits {fpga.name} ({fpga.dsp:,} DSP, {fpga.bram18:,} BRAM18): "
            "it takes smaller tiles, or a larger FPGA"
        )
    rate, division = list(itertools.product(choices, divisions))[best.order]
    design = Design(*best.tile, rates=rate, precision=precision)
    times = tuple(latency(layer, design, division, fill=fill) for layer in layers)
    return Found(design, division, times, usage(design, layers))


def search_each(layers: Iterable[Layer], fpga: Fpga, boards: int = 1, **options: Any) -> list[Found]:
    """The best design for each layer by itself: what one design for all of them can't be better than.

    Parameters and errors are those of `search`.
    """
    return [search([layer], fpga, boards, **options) for layer in _layers(layers)]


@dataclass(frozen=True, order=True)
class _Point:
    """A design that fits; the smallest is the best."""

    cycles: float
    dsp: int
    bram18: int
    order: int
    tile: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Space:
    """Tiles for given rates and a given partition, which are number ``order`` of those to try."""

    layers: Sequence[Layer]
    fpga: Fpga
    precision: Precision
    rates: Rates
    partition: Partition
    fill: bool
    order: int

    def choices(self, name: str, given: Sizes | None) -> Sizes:
        """Sizes of a tile worth trying: the smallest of those that cut every layer in equally many."""
        axis = {"tr": 1, "tc": 2, "tm": 3, "tn": 4}[name]
        sizes = sorted({extents(layer, self.partition)[axis] for layer in self.layers})
        values = np.arange(1, sizes[-1] + 1) if given is None else given
        values = values[: self._most(name, values)]
        counts = ceil_div(np.array(sizes)[:, None], values)
        return values[(counts != np.roll(counts, 1, axis=1)).any(axis=0) | (np.arange(len(values)) == 0)]

    def _most(self, name: str, values: Sizes) -> int:
        """How many of some sizes, which rise, an FPGA may have room for, all others being 1."""
        if name in ("tm", "tn"):
            room = dsp(values, 1, self.precision) <= self.fpga.dsp
        else:
            room = bram18(1, 1, values, 1, self.precision) <= self.fpga.bram18
        return int(room.sum())

    def search(self, choices: Sequence[Sizes], best: _Point | None) -> _Point | None:
        """The best of all tiles of these Tm, Tn, Tr, Tc, or ``best`` where that is better."""
        (tm, tn), (tr, tc) = _pairs(*choices[:2]), _pairs(*choices[2:])
        room = dsp(tm, tn, self.precision) <= self.fpga.dsp
        tm, tn = tm[room, None], tn[room, None]
        if not len(tm) or not len(tr):
            return best
        # No tile of (tm, tn) is better than one that has all rows and columns at once, and fits.
        bound = self.cycles(tm, tn, *(np.array([shapes.MOST]),) * 2, fill=False)[:, 0] * (1 - ROUNDING)
        by_bound = np.argsort(bound, kind="stable")
        first, points = 0, AT_ONCE[0]
        while first < len(by_bound) and (best is None or bound[by_bound[first]] <= best.cycles):
            some = by_bound[first : first + max(1, points // len(tr))]
            found = self._best(tm[some], tn[some], tr, tc)
            best = min((point for point in (best, found) if point is not None), default=None)
            first, points = first + len(some), min(2 * points, AT_ONCE[1])
        return best

    def _best(self, tm: Sizes, tn: Sizes, tr: Sizes, tc: Sizes) -> _Point | None:
        """The best that fits of tiles with any of (tm, tn), each of shape (P, 1), and any of (tr, tc), shape (A,)."""
        taps = max(layer.taps for layer in self.layers)
        rams = bram18(tm, tn, tr * tc, taps, self.precision)
        cycles = np.where(rams <= self.fpga.bram18, self.cycles(tm, tn, tr, tc, fill=self.fill), np.inf)
        least = cycles.min()
        if least == np.inf:
            return None
        pairs, areas = np.nonzero(cycles == least)
        m, n, r, c, ram = tm[pairs, 0], tn[pairs, 0], tr[areas], tc[areas], rams[pairs, areas]
        dsps = dsp(m, n, self.precision)
        first = np.lexsort((c, r, n, m, ram, dsps))[0]
        tile = int(m[first]), int(n[first]), int(r[first]), int(c[first])
        return _Point(float(least), int(dsps[first]), int(ram[first]), self.order, tile)

    def cycles(self, tm: Sizes, tn: Sizes, tr: Sizes, tc: Sizes, *, fill: bool) -> NDArray[np.float64]:
        """Cycles of all layers, shape (P, A), for (tm, tn), shape (P, 1), and (tr, tc), shape (A,): as `latency`."""
        total = np.zeros((len(tm), len(tr)))
        for layer in self.layers:
            _, r, c, _, n = extents(layer, self.partition)
            rows, cols = np.minimum(tr, r), np.minimum(tc, c)
            pixels = rows * cols
            lat1, *others = tile_terms(tm, tn, pixels, layer.taps, self.rates, self.partition).values()
            for term in others:
                lat1 = np.maximum(lat1, term)
            ofm = ofm_cycles(tm, pixels, self.rates.op)
            lat2 = np.maximum(ceil_div(n, tn) * lat1, ofm)
            layer_cycles = layer.groups * trips(layer, tm, rows, cols, self.partition) * lat2
            total += layer_cycles + (ofm + lat1) if fill else layer_cycles
        return total


def _pairs(first: Sizes, second: Sizes) -> tuple[Sizes, Sizes]:
    """All pairs of one of each."""
    return np.repeat(first, len(second)), np.tile(second, len(first))


def _layers(layers: Iterable[Layer]) -> list[Layer]:
    some = _several(layers, Layer, "layers")
    if not some:
        raise PaperError("no layers: a design is searched for one or more")
    return some


def _several(given: T | Iterable[T] | None, kind: type[T], what: str) -> list[T]:
    """One or several as a list; [] for None."""
    if isinstance(given, kind):
        return [given]
    some = list(given) if isinstance(given, Iterable) else [given] if given is not None else []
    for each in some:
        if not isinstance(each, kind):
            raise PaperError(f"{what}: one {kind.__name__}, or several, not {each!r}")
    return some


def _sizes(given: int | Iterable[int], name: str) -> Sizes:
    """Sizes to choose from, rising."""
    some = given if isinstance(given, Iterable) else [given]
    sizes = sorted({shapes.integer(size, name) for size in some})
    if not sizes:
        raise PaperError(f"{name} has nothing to choose from: it is one size or several, or None for all")
    return np.array(sizes)


def _divisions(layers: Sequence[Layer], boards: int, given: Partition | Sequence[Partition] | None) -> list[Partition]:
    every = shapes.partitions(boards)
    some = _several(given, Partition, "partition")
    for one in some:
        if one.boards != boards:
            raise PaperError(f"partition {one} is of {one.boards} boards, not of the {boards} asked for")
    if some:
        return some
    most = {
        "images": (max(layer.b for layer in layers), "pb"),
        "rows": (max(layer.r for layer in layers), "pr"),
        "columns": (max(layer.c for layer in layers), "pc"),
        "output channels": (max(layer.m // layer.groups for layer in layers), "pm"),
    }
    fitting = [one for one in every if all(getattr(one, name) <= size for size, name in most.values())]
    if not fitting:
        sizes = ", ".join(f"{size} {what}" for what, (size, _) in most.items())
        raise PaperError(f"{boards} boards are more than can divide {sizes}: take fewer, or say which partition")
    return fitting
