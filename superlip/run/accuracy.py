"""Whether a quantized network does what the model as the user gave it does: judged before anything is built on it."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from superlip import golden
from superlip.graph import ModelError, ir
from superlip.graph.errors import one_line
from superlip.graph.given import Given, GivenError
from superlip.graph.images import input_of
from superlip.graph.onnx.load import upgrade
from superlip.graph.onnx.onnxtools import name_nodes
from superlip.tools.terminal import counted

__all__ = ["judge", "judge_calibration", "onnxruntime_quantized"]

_WORK = 4e9
"""Multiplications that a judgement at loading may take: a second or two of the golden."""
_MOST = 64


def judge(
    graph: ir.Graph,
    images: np.ndarray,
    *,
    results: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray | None = None,
    source: str = "images",
    progress: Callable[[float], None] | None = None,
) -> golden.Agreement | None:
    """``golden.agree``, with what ONNX Runtime refuses as the user's error.

    Raises
    ------
    ModelError
        If ONNX Runtime can't run the model as given.
    """
    if results is None and graph.given is not None:
        results = golden.run(graph, golden.quantize_input(graph, images), progress=progress)
    try:
        return golden.agree(graph, images, results=results, labels=labels, source=source)
    except GivenError as error:
        raise ModelError(f"{graph.name}: {error}") from error


def judge_calibration(graph: ir.Graph, progress: Callable[[float], None] | None = None) -> golden.Agreement | None:
    """Agreement on as many of the calibration images as take a second or two; None where there are none."""
    if graph.calibration is None or graph.given is None:
        return None
    count = int(np.clip(_WORK / max(1.0, golden.work_of(graph)), 1, _MOST))
    images = graph.calibration[:count]
    source = counted(len(images), "calibration image")
    return judge(graph, images, source=source, progress=progress)


def onnxruntime_quantized(
    graph: ir.Graph, images: np.ndarray, *, labels: np.ndarray | None = None, source: str = "images"
) -> golden.Agreement:
    """Agreement of ONNX Runtime's own quantizer (Q/DQ, a scale for each output channel) on the same calibration images.

    What integers can be expected to do with a float model. Its result runs as it is written, without fusion.

    Parameters
    ----------
    graph : ir.Graph
        Loaded from a float model.
    images : ndarray float32, shape (B, ...)

    Returns
    -------
    Agreement

    Raises
    ------
    ModelError
        If ONNX Runtime can't quantize the model.
    """
    if graph.given is None:
        raise ModelError(f"{graph.name} was not loaded from a model that ONNX Runtime could quantize")
    try:
        quantized = Given(_quantize(graph), input_of(graph).name, input_of(graph).parts)
        theirs = quantized.run(images)
        given = graph.given.run(images)
    except Exception as error:  # the quantizer raises whatever its parts raise
        raise ModelError(f"ONNX Runtime's quantizer can't take the model: {one_line(error)}") from error
    return golden.agreement_of(graph, theirs, given, labels=labels, source=source)


def _quantize(graph):
    model = upgrade(onnx.load_from_string(graph.given.model))  # a scale a channel takes opset 13
    name_nodes(model.graph)  # the conversion may have given a name twice
    takes = input_of(graph)
    names = [part.name for part in takes.parts or (takes,)]
    rows = zip(*takes.split(graph.calibration), strict=True)

    class Images(CalibrationDataReader):
        def get_next(self):
            images = next(rows, None)
            if images is None:
                return None
            return {name: np.ascontiguousarray(image[None]) for name, image in zip(names, images, strict=True)}

    for info in model.graph.input:
        if info.name in names:
            info.type.tensor_type.shape.dim[0].dim_value = 1
    with tempfile.TemporaryDirectory(prefix="superlip.") as folder, _silent():
        result = Path(folder) / "quantized.onnx"
        quantize_static(
            model, str(result), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return result.read_bytes()


@contextlib.contextmanager
def _silent():
    """Without the quantizer's advice on the root logger, which is not about what its user asked."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
