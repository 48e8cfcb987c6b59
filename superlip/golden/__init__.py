"""The numpy golden: the arithmetic that the RTL must equal bit by bit."""

from .agreement import AccuracyError, Agreement, agree
from .predict import own_outputs, predict_graph
from .reference import Comparison, Difference, reference
from .run import dequantize, quantize_input, run

__all__ = [
    "AccuracyError", "Agreement", "Comparison", "Difference", "agree", "dequantize", "own_outputs", "predict_graph",
    "quantize_input", "reference", "run",
]  # fmt: skip
