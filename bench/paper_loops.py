"""The published equations and their exhaustive search as plain loops: what superlip.plan.paper is held against.

Nothing of ``superlip.plan.paper`` but its data is used: the equations are written down a second time, as they stand.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from superlip.plan.paper import Design, Fpga, Layer, Partition, Precision, Rates

__all__ = ["cycles_of", "search_by_loops"]


def cycles_of(layer: Layer, tile: Sequence[int], rates: Rates, partition: Partition, *, fill: bool = False) -> float:
    """Lat of a layer, for a tile (Tm, Tn, Tr, Tc) that is no larger than what a board has of it."""
    tm, tn, tr, tc = tile
    m, n, taps = layer.m // layer.groups, layer.n // layer.groups, layer.taps
    s, pm = partition.pb * partition.pr * partition.pc, partition.pm
    weights_memory, ifm_memory = tm * tn * taps / rates.wp, tn * (tr * tc) / rates.ip
    weights_link, ifm_link = tm * tn * taps / rates.ap, tn * (tr * tc) / rates.ap
    ofm_memory, compute = tm * (tr * tc) / rates.op, taps * (tr * tc)
    if s == 1 and pm == 1:
        lat1 = max(ifm_memory, weights_memory, compute)
    elif pm == 1:
        lat1 = max(ifm_memory, weights_memory / s, weights_link / s, compute)
    elif s == 1:
        lat1 = max(ifm_memory / pm, ifm_link / pm, weights_memory, compute)
    else:
        lat1 = max(ifm_memory / pm, ifm_link / pm, weights_memory / s, weights_link / s, compute)
    lat2 = max(ceil(n / tn) * lat1, ofm_memory)
    rows, columns = ceil(ceil(layer.r / partition.pr) / tr), ceil(ceil(layer.c / partition.pc) / tc)
    lat = layer.groups * ceil(layer.b / partition.pb) * rows * columns * ceil(ceil(m / partition.pm) / tm) * lat2
    return lat + (ofm_memory + lat1) if fill else lat


def search_by_loops(
    layers: Sequence[Layer],
    fpga: Fpga,
    partitions: Iterable[Partition],
    precision: Precision,
    rates: Iterable[Rates],
    *,
    fill: bool = False,
    tm: Iterable[int] = (),
    tn: Iterable[int] = (),
    tr: Iterable[int] = (),
    tc: Iterable[int] = (),
) -> tuple[tuple | None, Partition | None, Design | None, int]:
    """The best of all tiles up to the largest layer, one after the other.

    Returns
    -------
    (cycles, DSPs, BRAM18), partition, design: the best, None each where nothing fits; and how many tiles fit.
    """
    taps = max(layer.taps for layer in layers)
    best, found, fitting, order = None, (None, None), 0, 0
    for rate in rates:
        for partition in partitions:
            order += 1
            parts = [(layer, ceil(layer.r / partition.pr), ceil(layer.c / partition.pc)) for layer in layers]
            for m in tm or range(1, max(layer.m for layer in layers) + 1):
                for n in tn or range(1, max(layer.n for layer in layers) + 1):
                    dsp = m * n * precision.dsp
                    if dsp > fpga.dsp:
                        continue
                    if precision.pairs_weights:
                        weights = m * n * ceil(4 * taps * precision.bits / 18000)
                    else:
                        weights = 2 * m * n * ceil(taps * precision.bits / 18000)
                    for r in tr or range(1, max(layer.r for layer in layers) + 1):
                        for c in tc or range(1, max(layer.c for layer in layers) + 1):
                            bram = 2 * (m + n) * ceil(r * c * precision.bits / 18000) + weights
                            if bram > fpga.bram18:
                                continue
                            fitting += 1
                            cycles = 0.0
                            for layer, rows, columns in parts:
                                tile = m, n, min(r, rows), min(c, columns)
                                cycles += cycles_of(layer, tile, rate, partition, fill=fill)
                            key = cycles, dsp, bram, order, m, n, r, c
                            if best is None or key < best:
                                best, found = key, (partition, Design(m, n, r, c, rates=rate, precision=precision))
    return (None if best is None else best[:3]), *found, fitting
