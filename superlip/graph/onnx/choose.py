"""Which calibration does best on images that it was not made from."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .calibrate import chosen_ranges, observe_ranges
from .options import QuantizeOptions
from .quantize import quantize
from .rewrite import Prepared
from .stretches import run_tensors

__all__ = ["choose_calibration"]

_CANDIDATES = ("minmax", "mse", "percentile", "entropy")
"""In this order: the first of equals is taken."""
_EVERY = 4
"""One image in so many judges; the others calibrate."""
_MOST_JUDGES = 16


def choose_calibration(prepared: Prepared, images: NDArray[np.float32], options: QuantizeOptions) -> QuantizeOptions:
    """Options with the calibration whose outputs are nearest to the float model's on images that it has not seen.

    Parameters
    ----------
    prepared : Prepared
    images : ndarray float32, shape (N, ...)
        Every fourth judges calibrations made from the others. Of fewer than four, ``minmax`` is chosen.
    options : QuantizeOptions

    Returns
    -------
    QuantizeOptions
    """
    if len(images) < _EVERY:
        return replace(options, calibration="minmax")
    is_judge = np.arange(len(images)) % _EVERY == _EVERY - 1
    judges, others = images[is_judge][:_MOST_JUDGES], images[~is_judge]
    seen = observe_ranges(prepared.model, others, prepared.consts)
    expected = _outputs(prepared, prepared.model, prepared.consts, judges)
    best, least = options, np.inf
    for name in _CANDIDATES:
        trial = replace(options, calibration=name)
        ranges = seen if name == "minmax" else chosen_ranges(prepared.model, others, seen, trial, prepared.consts)
        found = _outputs(prepared, *quantize(prepared, ranges), judges)
        error = max(_error(expected[output], found[output]) for output in expected)
        if error < least:
            best, least = trial, error
    return best


def _outputs(prepared, model, weights, images):
    """The model's outputs for all images, by name."""
    found: dict[str, list] = {name: [] for name in sorted(prepared.outputs)}
    run_tensors(model, found, images, lambda name, array: found[name].append(array), weights)
    return {name: np.stack(arrays) for name, arrays in found.items() if arrays}


def _error(expected, found):
    """Power of the error by that of what was expected."""
    power = float(np.square(expected, dtype=np.float64).sum())
    return float(np.square(expected - found, dtype=np.float64).sum()) / max(power, 1e-300)
