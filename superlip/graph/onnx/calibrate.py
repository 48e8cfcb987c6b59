"""What values the tensors of a float model take on calibration images: ranges, and histograms to choose them from."""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from superlip.graph.errors import ModelError, one_line
from superlip.graph.images import ImageInput, parts_of
from superlip.graph.session import open_session

from .clipping import clipped_range
from .onnxtools import fixed_shape
from .options import QuantizeOptions

__all__ = ["chosen_ranges", "observe_ranges", "run_tensors"]

_BINS = 2048
"""Of a histogram: eight for each step of the widest range."""


def observe_ranges(model: onnx.ModelProto, images: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every float tensor that a model computes, and of its inputs.

    Parameters
    ----------
    model : ModelProto
        All names unique.
    images : ndarray float32, shape (N, ...)
        Each is fed alone; of several inputs (N, elements), as ``ImageInput.joined`` gives them.

    Returns
    -------
    dict of str to (low, high), float

    Raises
    ------
    ModelError
        If ONNX Runtime can't run the model, or a value is not finite.
    """
    ranges = {n: (float(array.min()), float(array.max())) for n, array in _given(model, images).items()}
    makers = {o: n for n in model.graph.node for o in n.output if o}

    def widen(name, array):
        ranges[name] = _wider(ranges.get(name), array, makers[name])

    run_tensors(model, makers, images, widen)
    return ranges


def chosen_ranges(
    model: onnx.ModelProto,
    images: NDArray[np.float32],
    ranges: Mapping[str, tuple[float, float]],
    options: QuantizeOptions,
) -> dict[str, tuple[float, float]]:
    """Ranges as the options have them, in a second pass over the images; input and outputs keep those that were seen.

    Parameters
    ----------
    model : ModelProto
    images : ndarray float32, shape (N, ...)
    ranges : dict of str to (low, high)
        ``observe_ranges`` of the same.
    options : QuantizeOptions

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

    run_tensors(model, names, images, count)
    method, percentile = options.calibration, options.percentile
    return {**ranges, **{n: clipped_range(counts[n], ranges[n], method, percentile) for n in names}}


def run_tensors(
    model: onnx.ModelProto,
    names: Collection[str],
    images: NDArray[np.float32],
    see: Callable[[str, NDArray[np.float32]], None],
) -> None:
    """Call ``see`` with each of some float tensors of a model, image by image: nothing else of them is kept.

    Raises
    ------
    ModelError
        If ONNX Runtime can't run the model.
    """
    names = list(names)
    given = _given(model, images)
    open_model = onnx.ModelProto.FromString(model.SerializeToString())
    del open_model.graph.output[:]
    open_model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    try:
        session = open_session(open_model.SerializeToString(), is_optimized=False)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise ModelError(f"ONNX Runtime cannot run the model: {one_line(error)}") from error
    for number in range(len(images)):
        try:
            results = session.run(names, {name: array[number : number + 1] for name, array in given.items()})
        except Exception as error:
            raise ModelError(f"ONNX Runtime cannot run the model: {one_line(error)}") from error
        for name, array in zip(names, results, strict=True):
            if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size:
                see(name, array)


def _given(model, images):
    """Arrays of all images by the name of the input that takes them."""
    if len(model.graph.input) == 1:
        return {model.graph.input[0].name: images}
    inputs = [ImageInput(info.name, fixed_shape(info)[1:]) for info in model.graph.input]
    return {part.name: array for part, array in zip(inputs, parts_of(images, inputs), strict=True)}


def _wider(known, array, node):
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):  # NaN makes both NaN
        raise ModelError(
            f"{node.op_type} {node.name!r} gives numbers that are not finite on the calibration images: "
            f"look at its weights and at the range of the images"
        )
    return (low, high) if known is None else (min(low, known[0]), max(high, known[1]))
