"""Element-wise functions as tables, one entry a bit pattern, computed by ONNX Runtime itself."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from superlip.element import ElementType
from superlip.graph.onnx.onnxtools import small_model, tensor_type
from superlip.graph.session import open_session

from .states import Params

__all__ = ["clamp_of", "float_table", "operator_table"]


def float_table(
    nodes: Sequence[NodeProto],
    operands: dict[str, NDArray],
    source: tuple[str, Params],
    result: tuple[str, Params],
    opsets: dict[str, int],
) -> NDArray:
    """Table of DequantizeLinear -> ``nodes`` -> QuantizeLinear.

    Parameters
    ----------
    nodes : sequence of NodeProto
        From the tensor ``source[0]`` to the tensor ``result[0]``; none: a change of scale.
    operands : dict of str to ndarray
        Constants they take.
    source, result : (tensor name, Params)

    Returns
    -------
    ndarray of elements, shape (patterns,)
    """
    if not nodes:
        return _change_of_scale(source[1], result[1])
    return _float_table(nodes, operands, source, result, opsets)


@functools.lru_cache(maxsize=4096)
def _change_of_scale(source: Params, result: Params) -> NDArray:
    return _float_table((), {}, ("superlip_x", source), ("", result), {})


def _float_table(nodes, operands, source, result, opsets):
    element = source[1].element
    scales = {
        "superlip_in_scale": source[1].scale,
        "superlip_in_zero": element.dtype.type(source[1].zero_point),
        "superlip_out_scale": result[1].scale,
        "superlip_out_zero": result[1].element.dtype.type(result[1].zero_point),
    }
    last = result[0] if nodes else source[0]
    model = small_model(
        [
            helper.make_node("DequantizeLinear", ["superlip_in", "superlip_in_scale", "superlip_in_zero"], [source[0]]),
            *nodes,
            helper.make_node("QuantizeLinear", [last, "superlip_out_scale", "superlip_out_zero"], ["superlip_out"]),
        ],
        [("superlip_in", tensor_type(element.dtype), [1, 1, 1, element.patterns])],
        ["superlip_out"],
        {k: np.asarray(v) for k, v in (operands | scales).items()},
        {"": 17} | opsets,
    )
    return _run(model, element, False)


def operator_table(node: NodeProto, operands: dict[str, NDArray], source: Params, opsets: dict[str, int]) -> NDArray:
    """Table of one quantized operator (QLinearSigmoid, QLinearLeakyRelu) whose other inputs are constants."""
    element = source.element
    model = small_model(
        [node],
        [(node.input[0], tensor_type(element.own_type(source.is_unsigned)), [1, 1, 1, element.patterns])],
        [node.output[0]],
        {name: operands[name] for name in node.input[1:] if name},
        {"": 17, "com.microsoft": 1} | opsets,
    )
    return _run(model, element, source.is_unsigned)


@functools.lru_cache(maxsize=4096)
def _run(model: bytes, element: ElementType, is_unsigned: bool) -> NDArray:
    """Run a model of integers, signed or not, for all elements in the order of their bit patterns: read-only.

    It is kept: a network has the same tables many times, and is imported again where the host takes a node.
    """
    numbers = element.to_own(element.by_pattern(), is_unsigned)
    session = open_session(model)
    result = session.run(None, {session.get_inputs()[0].name: numbers.reshape(1, 1, 1, -1)})[0].reshape(-1)
    table = element.from_own(result).copy()
    table.flags.writeable = False
    return table


def clamp_of(table: NDArray, element: ElementType) -> tuple[int, int] | None:
    """(low, high) where the table only clips, or None."""
    low, high = int(table.min()), int(table.max())
    return (low, high) if np.array_equal(np.clip(element.by_pattern(), low, high), table) else None
