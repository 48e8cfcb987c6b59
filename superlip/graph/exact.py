"""Products of int8 as products of uint8: ONNX Runtime multiplies the one exactly on every CPU, the other not on all."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["with_uint8_products"]

_OPERANDS = {"QLinearConv": (0, 2, 7), "QLinearMatMul": (0, 2, 7), "QGemm": (0, 2, 8)}
"""Positions of the operand, its zero point and the result's zero point."""


def with_uint8_products(model):
    """The model with 128 added to each int8 operand of a product and to its zero point, and taken off the result.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model.

    Returns
    -------
    bytes, or None where it has no such product
    """
    model = onnx.load_from_string(model)
    zeros = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes, found = [], False
    for node in model.graph.node:
        positions = _OPERANDS.get(node.op_type)
        zero = zeros.get(node.input[positions[1]]) if positions else None
        if zero is None or zero.dtype != np.int8:
            nodes.append(node)
            continue
        found = True
        nodes += _shifted(node, positions, zeros, model.graph)
    if not found:
        return None
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def _shifted(node, positions, zeros, graph):
    operand, zero, result_zero = positions
    base = f"{node.output[0]}/uint8"
    before, source = _moved(node.input[operand], f"{base}/operand", 128, TensorProto.UINT8, graph)
    node.input[operand] = source
    after = []
    for position in (zero, result_zero):
        if position < len(node.input) and node.input[position]:
            name = f"{base}/zero{position}"
            moved = (zeros[node.input[position]].astype(np.int32) + 128).astype(np.uint8)
            graph.initializer.append(numpy_helper.from_array(moved, name))
            node.input[position] = name
            if position == result_zero:
                after, _ = _moved(f"{base}/result", base, -128, TensorProto.INT8, graph)
                after[-1].output[0] = node.output[0]
                node.output[0] = f"{base}/result"
    return [*before, node, *after]


def _moved(source, base, offset, kind, graph):
    """Nodes that add an offset in int32 and give another type, and their result's name."""
    graph.initializer.append(numpy_helper.from_array(np.int32(offset), f"{base}/offset"))
    return [
        helper.make_node("Cast", [source], [f"{base}/int32"], to=TensorProto.INT32),
        helper.make_node("Add", [f"{base}/int32", f"{base}/offset"], [f"{base}/sum"]),
        helper.make_node("Cast", [f"{base}/sum"], [f"{base}/moved"], to=kind),
    ], f"{base}/moved"
