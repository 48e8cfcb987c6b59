"""From ONNX to a quantized graph."""

from .check import Row, check, examine
from .errors import ModelError
from .load import load

__all__ = ["ModelError", "Row", "check", "examine", "load"]
