"""Attributes and constants of nodes."""

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto

from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import label

from .sizes import Shapes

__all__ = ["SCALES", "check_node"]

_WINDOWS = {
    "Conv": 1, "ConvTranspose": 1, "QLinearConv": 3, "MaxPool": None, "AveragePool": None, "LpPool": None,
    "QLinearAveragePool": None,
}  # fmt: skip
"""Operators with a sliding window, and the operand that holds the weights."""
SCALES = {
    "QuantizeLinear": [(1, 2)],
    "DequantizeLinear": [(1, 2)],
    "QLinearConv": [(1, 2), (4, 5), (6, 7)],
    "QLinearMatMul": [(1, 2), (4, 5), (6, 7)],
    "QLinearAdd": [(1, 2), (4, 5), (6, 7)],
    "QLinearMul": [(1, 2), (4, 5), (6, 7)],
    "QGemm": [(1, 2), (4, 5), (7, 8)],
    "QLinearSigmoid": [(1, 2), (3, 4)],
    "QLinearLeakyRelu": [(1, 2), (3, 4)],
    "QLinearSoftmax": [(1, 2), (3, 4)],
    "QLinearAveragePool": [(1, 2), (3, 4)],
    "QLinearGlobalAveragePool": [(1, 2), (3, 4)],
    "QLinearReduceMean": [(1, 2), (3, 4)],
}
"""Positions of (scale, zero point) among the operands; QLinearConcat has any number of them."""
_UNBOUNDED = frozenset(["Clip", "Min", "Max", "Where"])
"""Operators to which an infinite constant means that there is no bound."""


def check_node(node: NodeProto, constants: dict[str, NDArray], shapes: Shapes) -> None:
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return
    if node.op_type in _WINDOWS:
        _check_window(node, shapes)
    pairs = SCALES.get(node.op_type, [])
    if node.op_type == "QLinearConcat":
        pairs = [(0, 1), *((i, i + 1) for i in range(3, len(node.input), 3))]
    for scale, zero in pairs:
        _check_scale(node, constants, *(node.input[i] if i < len(node.input) else "" for i in (scale, zero)))
    for name in node.input:
        _check_numbers(node, name, constants.get(name))


def _check_window(node, shapes):
    """Attributes of a sliding window have its number of axes, and sizes that there can be."""
    given = {a.name: tuple(a.ints) for a in node.attribute if a.type == AttributeProto.INTS}
    at = _WINDOWS[node.op_type]
    weights = shapes.get(node.input[at], ()) if at is not None and at < len(node.input) else ()
    weights = weights if all(isinstance(size, int) for size in weights) else ()
    kernel = given.get("kernel_shape", weights[2:])
    if weights:
        group = next((a.i for a in node.attribute if a.name == "group" and a.type == AttributeProto.INT), 1)
        _check_weights(node, weights, kernel, group)
    for name, count in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2)):
        value = given.get(name, ())
        if value and kernel and len(value) != count * len(kernel):
            raise ModelError(
                f"{label(node)}: {name}={list(value)} has {len(value)} numbers, a window of {len(kernel)} axes "
                f"takes {count * len(kernel)}"
            )
        least = 0 if name == "pads" else 1
        if any(number < least for number in value):
            raise ModelError(f"{label(node)}: {name}={list(value)} must be numbers of at least {least}")


def _check_weights(node, shape, kernel, group):
    if 0 in shape:
        raise ModelError(f"{label(node)}: its weights have no elements: shape {shape}")
    if shape[2:] != kernel:
        raise ModelError(f"{label(node)}: kernel_shape={list(kernel)}, but its weights have shape {shape}")
    if group < 1 or (shape[0] % group and not node.op_type.endswith("Transpose")):
        raise ModelError(f"{label(node)}: group={group} does not divide its {shape[0]} filters")


def _check_scale(node, constants, scale_name, zero_name):
    scale, zero = constants.get(scale_name), constants.get(zero_name)
    if scale is None:
        return
    if scale.dtype.kind != "f" or not scale.size:
        raise ModelError(f"{label(node)}: scale {scale_name!r} must be floating point, not {scale.dtype} {scale.shape}")
    bad = scale[~(np.isfinite(scale) & (scale > 0))]
    if bad.size:
        raise ModelError(
            f"{label(node)}: scale {scale_name!r} holds {bad.reshape(-1)[0]}: scales must be positive numbers"
        )
    if zero is None:
        return
    if zero.dtype.kind in "fbc" or zero.size not in (1, scale.size):
        raise ModelError(
            f"{label(node)}: zero point {zero_name!r} is {zero.dtype} of shape {zero.shape}; it must be integers, "
            f"as many as scale {scale_name!r} of shape {scale.shape} has"
        )


def _check_numbers(node, name, constant):
    if constant is None or constant.dtype.kind != "f" or np.isfinite(constant).all():
        return
    if np.isnan(constant).any() or node.op_type not in _UNBOUNDED:
        bad = constant[~np.isfinite(constant)].reshape(-1)
        raise ModelError(
            f"{label(node)}: constant {name!r} holds {bad[0]} in {bad.size:,} of {constant.size:,} places: it must be "
            f"finite numbers"
        )
