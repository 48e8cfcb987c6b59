"""Float models to int8, with ONNX Runtime's own quantizer.

Format and types are chosen by measurement (docs/quantization.md): QOperator, because its integer operators are what
ONNX Runtime runs whatever its optimizer does, while a QDQ model may leave single layers in floating point; int8
activations, int8 weights with one scale an output channel.
"""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from .errors import ModelError

__all__ = ["quantize", "read_calibration"]

QUANTIZED_OPS = [
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
    "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze",
]  # fmt: skip
"""What the quantizer may make integer; Softmax and other tails stay in floating point, on the host."""


def read_calibration(path, name, shape):
    """Images to calibrate with.

    Parameters
    ----------
    path : path of a .npz
        One array (N, C, H, W), or one named as the model's input.
    name : str
        Of the model's input.
    shape : tuple of int
        Of the model's input; its first entry is the batch.

    Returns
    -------
    ndarray float32, shape (N, *shape[1:])
    """
    path = Path(path)
    try:
        with np.load(path) as archive:
            arrays = {k: archive[k] for k in archive.files}
    except FileNotFoundError:
        raise ModelError(f"calibration file {str(path)!r} does not exist") from None
    except Exception as error:  # zipfile, pickle and numpy each raise their own
        raise ModelError(f"{str(path)!r} is not a .npz file: {error}") from None
    if name in arrays:
        images = arrays[name]
    elif len(arrays) == 1:
        images = next(iter(arrays.values()))
    else:
        raise ModelError(f"{str(path)!r} holds {sorted(arrays)}, none is named as the input {name!r}")
    if images.shape == tuple(shape[1:]):
        images = images[None]
    if images.shape[1:] != tuple(shape[1:]) or not len(images):
        wanted = ", ".join(map(str, shape[1:]))
        raise ModelError(f"calibration images must have shape (N, {wanted}), not {images.shape}")
    images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise ModelError(f"{str(path)!r} holds numbers that are not finite")
    return images


def quantize(model, images, excluded):
    """Quantize a prepared float model.

    Parameters
    ----------
    model : ModelProto
    images : ndarray float32, shape (N, ...)
        Calibration; each is fed alone.
    excluded : list of str
        Nodes that stay in floating point.

    Returns
    -------
    ModelProto, QOperator format
    """
    name = model.graph.input[0].name

    class Images(CalibrationDataReader):
        def __init__(self):
            self.left = iter(images)

        def get_next(self):
            image = next(self.left, None)
            return None if image is None else {name: image[None]}

    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="superlip.") as folder:
            result = Path(folder) / "quantized.onnx"
            quantize_static(
                model,
                str(result),
                Images(),
                quant_format=QuantFormat.QOperator,
                op_types_to_quantize=QUANTIZED_OPS,
                nodes_to_exclude=excluded,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return onnx.load(str(result))
    except Exception as error:  # the quantizer raises whatever its parts raise
        raise ModelError(f"ONNX Runtime cannot quantize the model: {str(error).splitlines()[0][:300]}") from error
    finally:
        logger.setLevel(level)
