"""Float models to int8, with ONNX Runtime's own quantizer.

Format and types are chosen by measurement (docs/quantization.md): QOperator, because its integer operators are what
ONNX Runtime runs whatever its optimizer does, while a QDQ model may leave single layers in floating point; int8
activations, int8 weights with one scale an output channel.
"""

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from .errors import ModelError

__all__ = ["quantize"]

QUANTIZED_OPS = [
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
    "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze",
]  # fmt: skip
"""What the quantizer may make integer; Softmax and other tails stay in floating point, on the host."""


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
