"""Ranges narrower than what was seen: fewer values saturate than are rounded better.

A range is chosen from a tensor's histogram, which is all that is kept of the images.
"""

import numpy as np
from numpy.typing import NDArray

from .scales import LARGEST, Params

__all__ = ["clipped_range"]

_FRACTIONS = np.linspace(1.0, 0.1, 46)
"""Of the range that was seen, from all of it on: the first of equals is taken."""
_LEAST_SEEN = 4096
"""Values of a tensor on all images: fewer have no distribution to choose by, and all of them are kept."""


def clipped_range(
    counts: NDArray[np.float64], span: tuple[float, float], method: str, percentile: float
) -> tuple[float, float]:
    """The range to quantize a tensor for.

    Parameters
    ----------
    counts : ndarray float64, shape (bins,)
        How many values lie in each of so many equal parts of ``span``.
    span : (low, high)
        Smallest and largest value.
    method : str
        ``percentile``, ``entropy`` or ``mse``.
    percentile : float
        Percent of the values that a range by percentile holds.

    Returns
    -------
    (low, high): within ``span`` and widened to hold 0, as all ranges are
    """
    low, high = span
    if high <= low or counts.sum() < _LEAST_SEEN:
        return span
    edges = np.linspace(low, high, len(counts) + 1)
    low, high = min(low, 0.0), max(high, 0.0)
    if method == "percentile":
        return _by_percentile(counts, edges, percentile)
    numbers, weights = (edges[1:] + edges[:-1])[counts > 0] / 2, counts[counts > 0] / counts.sum()
    cost = {"entropy": _divergence, "mse": _error}[method]
    bottom, top = low, high
    for _ in range(2):  # one end, then the other: a far value at one says nothing of the other
        top = high * _FRACTIONS[int(np.argmin([cost(numbers, weights, bottom, high * f) for f in _FRACTIONS]))]
        bottom = low * _FRACTIONS[int(np.argmin([cost(numbers, weights, low * f, top) for f in _FRACTIONS]))]
    return bottom, top


def _by_percentile(counts, edges, percentile):
    """As many values are left out at each end."""
    outside = (100.0 - percentile) / 200.0 * counts.sum()
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])
    first = int(np.searchsorted(below, outside, side="right"))
    last = len(counts) - int(np.searchsorted(above, outside, side="right"))
    return min(float(edges[min(first, len(counts))]), 0.0), max(float(edges[max(last, 0)]), 0.0)


def _error(numbers, weights, low, high):
    """Mean squared error of quantized numbers; of those in range that of a step's."""
    params = Params.of(low, high)
    step = float(params.scale)
    inside = (numbers >= low) & (numbers <= high)
    beyond = np.clip(numbers, low, high) - numbers
    return float((weights * np.where(inside, step**2 / 12, beyond**2)).sum())


def _divergence(numbers, weights, low, high):
    """Kullback-Leibler divergence of the distribution, saturated at the ends, from what steps leave of it."""
    params = Params.of(low, high)
    steps = np.clip(np.rint(numbers / float(params.scale)) + params.zero, 0, LARGEST).astype(int)
    inside = (numbers >= low) & (numbers <= high)
    if not inside.any():
        return np.inf
    kept = np.where(inside, weights, 0.0)
    reference = kept.copy()  # what saturates counts at the outermost numbers that don't
    positions = np.flatnonzero(inside)
    reference[positions[0]] += weights[numbers < low].sum()
    reference[positions[-1]] += weights[numbers > high].sum()
    mass, places = np.bincount(steps, kept, LARGEST + 1), np.bincount(steps, inside, LARGEST + 1)
    left = np.where(inside, mass[steps] / np.maximum(places[steps], 1), 0.0)
    p, q = reference[inside], left[inside] / left.sum()
    return float((p * np.log(p / q)).sum())
