"""From ONNX to a quantized graph."""

from .check import Row, check, examine
from .errors import DataError, ModelError
from .load import load

__all__ = ["DataError", "ModelError", "Row", "check", "examine", "load"]
