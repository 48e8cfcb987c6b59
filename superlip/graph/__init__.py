"""From ONNX to a quantized graph."""

from superlip.graph.onnx.check import NodeVerdict, check, examine
from superlip.graph.onnx.load import load

from .errors import DataError, ModelError

__all__ = ["DataError", "ModelError", "NodeVerdict", "check", "examine", "load"]
