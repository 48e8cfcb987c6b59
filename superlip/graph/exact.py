"""Products of int8 as products of uint8: ONNX Runtime multiplies the one exactly on every CPU, the other not on all.

It can do so by itself (``session.x64quantprecision``), but opens no model then in which two products share weights.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from superlip.element import INT8
from superlip.graph.onnx.onnxtools import constants

__all__ = ["has_products", "with_uint8_products"]

_OPERANDS = {"QLinearConv": (0, 2, 3, 5, 7), "QLinearMatMul": (0, 2, 3, 5, 7), "QGemm": (0, 2, 3, 5, 8)}
"""Positions of the operand, its zero point, the weights, their zero point and the result's zero point."""


def has_products(model: bytes) -> bool:
    """Whether a serialized model may hold products of integers: those that do name their operator."""
    return any(op.encode() in model for op in _OPERANDS)


def with_uint8_products(model: bytes) -> bytes | None:
    """The model with 128 added to each int8 operand of a product and to its zero point, and taken off the result.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model.

    Returns
    -------
    bytes, or None where it has no such product
    """
    if not has_products(model):
        return None
    changed = onnx.load_from_string(model)
    graph = changed.graph
    known = constants(graph)
    nodes, found = [], False
    for node in graph.node:
        before, after = [], []
        if node.op_type in _OPERANDS:
            operand, zero, weights, weights_zero, result_zero = _OPERANDS[node.op_type]
            base = f"{node.output[0]}/uint8"
            for position, its_zero in ((operand, zero), (weights, weights_zero)):
                if _is_int8(node, its_zero, known):
                    before += _operand(node, position, its_zero, f"{base}/operand{position}", known, graph)
                    found = True
            if _is_int8(node, result_zero, known):
                after = _result(node, result_zero, base, known, graph)
        nodes += [*before, node, *after]
    if not found:
        return None
    del graph.node[:]
    graph.node.extend(nodes)
    return changed.SerializeToString()


def _is_int8(node, position, known):
    name = node.input[position] if position < len(node.input) else ""
    return name in known and known[name].dtype == INT8.dtype


def _operand(node, position, zero, base, known, graph):
    """Let a node take an operand and its zero point as uint8; the nodes that this needs in front of it."""
    node.input[zero] = _shifted_constant(known[node.input[zero]], f"{base}/zero", graph)
    if node.input[position] in known:
        node.input[position] = _shifted_constant(known[node.input[position]], f"{base}/moved", graph)
        return []
    moving, node.input[position] = _moved(node.input[position], base, INT8.offset, TensorProto.UINT8, graph)
    return moving


def _result(node, zero, base, known, graph):
    """Let a node give its result as uint8; the nodes behind it that give what it gave."""
    node.input[zero] = _shifted_constant(known[node.input[zero]], f"{base}/result/zero", graph)
    moving, _ = _moved(f"{base}/result/uint8", f"{base}/result", -INT8.offset, TensorProto.INT8, graph)
    moving[-1].output[0] = node.output[0]
    node.output[0] = f"{base}/result/uint8"
    return moving


def _shifted_constant(array, name, graph):
    shifted = array.astype(np.int32) + INT8.offset
    graph.initializer.append(numpy_helper.from_array(shifted.astype(INT8.unsigned), name))
    return name


def _moved(source, base, offset, kind, graph):
    """Nodes that add an offset in int32 and give another type, and their result's name."""
    graph.initializer.append(numpy_helper.from_array(np.int32(offset), f"{base}/offset"))
    return [
        helper.make_node("Cast", [source], [f"{base}/int32"], to=TensorProto.INT32),
        helper.make_node("Add", [f"{base}/int32", f"{base}/offset"], [f"{base}/sum"]),
        helper.make_node("Cast", [f"{base}/sum"], [f"{base}/moved"], to=kind),
    ], f"{base}/moved"
