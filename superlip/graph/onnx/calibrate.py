"""What values the tensors of a float model take on calibration images: ranges, and histograms to choose them from."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from superlip.graph.apart import Weights
from superlip.graph.errors import ModelError

from .clipping import clipped_range
from .options import QuantizeOptions
from .stretches import images_by_input, run_tensors

__all__ = ["chosen_ranges", "observe_ranges"]

_BINS = 2048
"""Of a histogram: eight for each step of the widest range."""


def observe_ranges(
    model: onnx.ModelProto, images: NDArray[np.float32], weights: Weights | None = None
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every float tensor that a model computes, and of its inputs.

    Parameters
    ----------
    model : ModelProto
        All names unique.
    images : ndarray float32, shape (N, ...)
        Each is fed alone; of several inputs (N, elements), as ``ImageInput.joined`` gives them.
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only.

    Returns
    -------
    dict of str to (low, high), float

    Raises
    ------
    ModelError
        If ONNX Runtime can't run the model, or a value is not finite.
    """
    ranges = {n: (float(array.min()), float(array.max())) for n, array in images_by_input(model, images).items()}
    makers = {o: n for n in model.graph.node for o in n.output if o}

    def widen(name, array):
        ranges[name] = _wider(ranges.get(name), array, makers[name])

    run_tensors(model, makers, images, widen, weights)
    return ranges


def chosen_ranges(
    model: onnx.ModelProto,
    images: NDArray[np.float32],
    ranges: Mapping[str, tuple[float, float]],
    options: QuantizeOptions,
    weights: Weights | None = None,
) -> dict[str, tuple[float, float]]:
    """Ranges as the options have them, in a second pass over the images; input and outputs keep those that were seen.

    Parameters
    ----------
    model : ModelProto
    images : ndarray float32, shape (N, ...)
    ranges : dict of str to (low, high)
        ``observe_ranges`` of the same.
    options : QuantizeOptions
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only.

    Returns
    -------
    dict of str to (low, high)
    """
    kept = {info.name for info in (*model.graph.input, *model.graph.output)}
    names = [name for name, (low, high) in ranges.items() if name not in kept and low < high]
    counts = {name: np.zeros(_BINS) for name in names}

    def count(name, array):
        low, high = ranges[name]
        counts[name] += np.histogram(array, _BINS, (low, high))[0]

    run_tensors(model, names, images, count, weights)
    method, percentile = options.calibration, options.percentile
    return {**ranges, **{n: clipped_range(counts[n], ranges[n], method, percentile) for n in names}}


def _wider(known, array, node):
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):  # NaN makes both NaN
        raise ModelError(
            f"{node.op_type} {node.name!r} gives numbers that are not finite on the calibration images: "
            f"look at its weights and at the range of the images"
        )
    return (low, high) if known is None else (min(low, known[0]), max(high, known[1]))
