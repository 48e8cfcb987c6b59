"""The numpy golden: the arithmetic that the RTL must equal bit by bit."""

from .agreement import AccuracyError, Agreement, agree, agreement_of
from .predict import own_outputs, predict_graph
from .reference import Comparison, Difference, reference
from .run import dequantize, quantize_input, run, work_of

__all__ = [
    "AccuracyError", "Agreement", "Comparison", "Difference", "agree", "agreement_of", "dequantize", "own_outputs",
    "predict_graph", "quantize_input", "reference", "run", "work_of",
]  # fmt: skip
