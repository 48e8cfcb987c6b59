"""Functions of one number, in real numbers: which operators they are, what they clip, scale and shift."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from superlip.graph.onnx.onnxtools import attributes

__all__ = ["BOOLEAN", "ELEMENTWISE", "affine_factors", "clip_range", "clip_together", "norm_factors"]


ELEMENTWISE = frozenset(
    [
        "Relu",
        "Clip",
        "LeakyRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "ThresholdedRelu",
        "PRelu",
        "Gelu",
        "Erf",
        "Abs",
        "Neg",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Mish",
        "Sin",
        "Cos",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Min",
        "Max",
        "Where",
    ]
)
"""Functions of one number, or of one number and constants: any chain of them is one table."""

BOOLEAN = frozenset(["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or"])
"""Those whose result is no number: they may stand inside such a chain, and not at its end."""


def clip_range(node: NodeProto, constants: Mapping[str, NDArray]) -> tuple[float, float] | None:
    """(low, high) of Relu or Clip as real numbers; None where a bound is no constant number.

    Where low > high, ONNX's Clip gives high everywhere, and so does this range.
    """
    if node.op_type == "Relu":
        return 0.0, np.inf
    given = attributes(node)
    bounds = [given.get("min", -np.inf), given.get("max", np.inf)]
    for position, name in enumerate(node.input[1:3]):
        if name:
            if name not in constants or constants[name].size != 1:
                return None
            bounds[position] = float(constants[name].reshape(()))
    low, high = bounds
    return min(low, high), high


def clip_together(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """(low, high) of Clip ``second`` behind Clip ``first``. As ONNX has it, low > high leaves high only."""
    low, high = min(second[0], second[1]), second[1]
    return min(max(min(first), low), high), min(max(first[1], low), high)


def norm_factors(
    gamma: NDArray, beta: NDArray, mean: NDArray, variance: NDArray, epsilon: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(scale, shift), float64: BatchNormalization at inference is x * scale + shift."""
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return scale, beta.astype(np.float64) - mean.astype(np.float64) * scale


def affine_factors(
    op: str, value: NDArray, rank: int, is_first: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(scale, shift) by channel where ``op`` of a tensor and the constant ``value`` is x * scale + shift, or None.

    ``is_first``: the constant is the first operand.
    """
    if value.ndim > rank or (op in ("Sub", "Div") and is_first) or op not in ("Add", "Sub", "Mul", "Div"):
        return None
    full = value.reshape((1,) * (rank - value.ndim) + value.shape)
    if any(size != 1 for i, size in enumerate(full.shape) if i != 1):
        return None
    number = full.reshape(-1).astype(np.float64)
    one, zero = np.ones_like(number), np.zeros_like(number)
    with np.errstate(divide="ignore"):
        return {"Add": (one, number), "Sub": (one, -number), "Mul": (number, zero), "Div": (one / number, zero)}[op]
