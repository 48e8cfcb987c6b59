"""A matrix product of many rows as a convolution of 1 x 1: rows are pixels, and what is multiplied are channels."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

__all__ = ["LEAST_MACS", "pointwise"]

LEAST_MACS = 1 << 22
"""Products of fewer multiplications stay on the host where it works on the rows around them: a stop of the boards costs
more."""


class _Constants(Protocol):
    def constant(self, base: str, array: NDArray) -> str: ...


def pointwise(
    state: _Constants, name: str, source: str, shape: Sequence[int], weights: NDArray, bias: NDArray | None, output: str
) -> list[NodeProto] | None:
    """Nodes in the place of a product.

    Parameters
    ----------
    state : Prepared
        Takes constants.
    name : str
        Of the node: what constants and tensors between are named after.
    source, shape
        The operand, (..., F).
    weights : ndarray float32, shape (M, F)
    bias : ndarray float32, shape (M,), or None
    output : str
        The result, (..., M).

    Returns
    -------
    list of NodeProto, or None where there is too little to multiply, or a single row
    """
    rows, (outputs, inputs) = int(np.prod(shape[:-1])), weights.shape
    if rows == 1 or rows * outputs * inputs < LEAST_MACS:
        return None
    is_image = len(shape) == 4 and shape[0] == 1
    own = tuple(shape) if is_image or (len(shape) == 3 and shape[0] == 1) else (1, rows, inputs)
    nodes = []
    if own != tuple(shape):
        nodes.append(_reshape(state, source, own, f"{name}/rows"))
        source = f"{name}/rows"
    first, last = ([0, 3, 1, 2], [0, 2, 3, 1]) if is_image else ([0, 2, 1], [0, 2, 1])
    kernel = [1] * (len(own) - 2)
    operands = [f"{name}/channels", state.constant(f"{name}/weights", weights.reshape(outputs, inputs, *kernel))]
    if bias is not None:
        operands.append(state.constant(f"{name}/bias", bias))
    result = output if own == tuple(shape) else f"{name}/results"
    nodes += [
        helper.make_node("Transpose", [source], [f"{name}/channels"], perm=first),
        helper.make_node("Conv", operands, [f"{name}/pixels"], kernel_shape=kernel),
        helper.make_node("Transpose", [f"{name}/pixels"], [result], perm=last),
    ]
    if result != output:
        nodes.append(_reshape(state, result, (*shape[:-1], outputs), output))
    return nodes


def _reshape(state: _Constants, source: str, shape: Sequence[int], result: str) -> NodeProto:
    return helper.make_node("Reshape", [source, state.constant(f"{result}/shape", np.array(shape, np.int64))], [result])
