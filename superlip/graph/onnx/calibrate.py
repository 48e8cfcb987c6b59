"""What values the tensors of a float model take on calibration images."""

import numpy as np
import onnx
from numpy.typing import NDArray

from superlip.graph.errors import ModelError, one_line
from superlip.graph.images import ImageInput, parts_of
from superlip.graph.session import open_session

from .onnxtools import fixed_shape

__all__ = ["observe_ranges"]


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
    inputs = [ImageInput(info.name, fixed_shape(info)[1:]) for info in model.graph.input]
    arrays = parts_of(images, inputs if len(inputs) > 1 else ())
    given = {part.name: array for part, array in zip(inputs, arrays, strict=True)}
    ranges = {name: (float(array.min()), float(array.max())) for name, array in given.items()}
    open_model = onnx.ModelProto.FromString(model.SerializeToString())
    names = [o for n in open_model.graph.node for o in n.output if o]
    del open_model.graph.output[:]
    open_model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    try:
        session = open_session(open_model.SerializeToString(), is_optimized=False)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise ModelError(f"ONNX Runtime cannot run the model: {one_line(error)}") from error
    makers = {o: n for n in model.graph.node for o in n.output}
    for number in range(len(images)):
        try:
            results = session.run(names, {name: array[number : number + 1] for name, array in given.items()})
        except Exception as error:
            raise ModelError(f"ONNX Runtime cannot run the model: {one_line(error)}") from error
        for name, array in zip(names, results, strict=True):
            if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size:
                ranges[name] = _wider(ranges.get(name), array, makers[name])
    return ranges


def _wider(known, array, node):
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):  # NaN makes both NaN
        raise ModelError(
            f"{node.op_type} {node.name!r} gives numbers that are not finite on the calibration images: "
            f"look at its weights and at the range of the images"
        )
    return (low, high) if known is None else (min(low, known[0]), max(high, known[1]))
