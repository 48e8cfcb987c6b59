"""ONNX Runtime's own quantizer on a float model: the measure of what int8 can do."""

import logging

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from superlip.golden.agreement import decibels
from superlip.graph.given import Given
from superlip.graph.onnx.load import upgrade


class Images(CalibrationDataReader):
    """Images, one at a time, as ONNX Runtime's quantizer asks for them."""

    def __init__(self, name, images):
        self.feeds = iter([{name: image[None]} for image in images])

    def get_next(self):
        return next(self.feeds, None)


def decibels_of_onnxruntime(model, calibration, images, folder, *, everywhere=False):
    """Signal to error by output of the Q/DQ model that ``quantize_static`` makes, a scale an output channel.

    Parameters
    ----------
    model : ModelProto
        Float, opset 11 or newer.
    calibration, images : ndarray, shape (N, ...)
        To quantize with, and to compare on.
    folder : Path
        For files.
    everywhere : bool
        Integers between all operators, as on the accelerator, also those that ONNX Runtime leaves in floating point.

    Returns
    -------
    dict of str to float, or None where ONNX Runtime's quantizer fails
    """
    name = model.graph.input[0].name
    whole = onnx.ModelProto.FromString(model.SerializeToString())
    whole.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    whole = onnx.shape_inference.infer_shapes(upgrade(whole))
    kinds = {n.op_type for n in whole.graph.node} - {"Constant"}
    onnx.save(whole, folder / "float.onnx")
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            folder / "float.onnx", folder / "qdq.onnx", Images(name, calibration), quant_format=QuantFormat.QDQ,
            per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=sorted(kinds) if everywhere else None,
        )  # fmt: skip
        ours = Given((folder / "qdq.onnx").read_bytes(), name).run(images)
    except Exception:  # it fails on many models, each time with another exception
        return None
    finally:
        logging.disable(logging.NOTSET)
    theirs = Given(model.SerializeToString(), name).run(images)
    return {o: decibels(theirs[o], theirs[o] - np.reshape(ours[o], theirs[o].shape)) for o in theirs}
