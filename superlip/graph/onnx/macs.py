"""Multiplications of what the host computes."""

import math

import onnx

from .onnxtools import attributes, static_shape

__all__ = ["host_macs"]


def host_macs(model: bytes) -> int:
    """Multiply-accumulates of the matrix products and convolutions in a model of the host's.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model with static inputs (``ir.Host.model``).

    Returns
    -------
    int
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model), data_prop=True).graph
    shapes: dict[str, tuple[int | None, ...] | None] = {i.name: tuple(i.dims) for i in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        shapes[info.name] = static_shape(info)
    return sum(_macs(node, shapes) for node in graph.node)


def _macs(node, shapes):
    """Results, times the products in each."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    result, weights = shapes.get(node.output[0]), shapes.get(node.input[1])
    if not result or not weights or None in (*result, *weights):
        return 0
    if node.op_type == "ConvTranspose":  # each number of the operand with all weights of its channel
        source = shapes.get(node.input[0])
        return math.prod(source) * math.prod(weights[1:]) if source and None not in source else 0
    if node.op_type == "Conv":
        return math.prod(result) * math.prod(weights[1:])
    transposed = node.op_type == "Gemm" and attributes(node).get("transB", 0)
    return math.prod(result) * (weights[-1] if transposed else weights[-2] if len(weights) > 1 else weights[0])
