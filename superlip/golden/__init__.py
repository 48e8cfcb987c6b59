"""The numpy golden: the arithmetic that the RTL must equal bit by bit."""

from .reference import Comparison, Difference, reference
from .run import dequantize, quantize_input, run

__all__ = ["Comparison", "Difference", "dequantize", "quantize_input", "reference", "run"]
