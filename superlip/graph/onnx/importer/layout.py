"""Operators that only move elements, on a view."""

from typing import Any

import numpy as np
from onnx import NodeProto

from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import View, move

from .importer import Importer
from .states import Unsupported
from .weights import dequantized, real_constant

__all__ = ["layout", "moved"]


def layout(importer: Importer, node: NodeProto, view: View) -> None:
    """Give each result of a layout node, whose operand is ``view``, the view that it is."""
    is_int = node.input[0] in importer.views
    results = moved(importer, node, view, is_int=is_int)
    known: dict[str, Any] = importer.views if is_int else importer.floats
    known.update(zip([o for o in node.output if o], results, strict=False))
    importer.done(node)


def moved(importer: Importer, node: NodeProto, view: View, *, is_int: bool) -> list[View]:
    """Results of a layout node on ``view``, an integer tensor of the model or a dequantized one."""
    if node.op_type in ("Resize", "Upsample"):
        mode = attributes(node).get("mode", b"nearest")
        if mode != b"nearest":
            raise Unsupported(
                f"mode={mode.decode()!r} of integers: only 'nearest' moves elements; dequantize them before"
            )
    fill = _pad_value(importer, node, view, is_int) if node.op_type == "Pad" else None
    if fill is not None and view.fill not in (None, fill):  # a view knows one number for all that was added
        view = View(importer.materialize(view), view.shape)
    missing = [i for i in node.input[1:] if i and i not in importer.consts and i not in importer.dq_consts]
    if missing:
        raise Unsupported(f"operand {missing[0]!r} must be a constant")
    consts = dict(importer.consts)
    for name in node.input[1:]:
        if name in importer.dq_consts:
            consts[name] = dequantized(importer.dq_consts[name])
    return move(node, view, consts, importer.opsets, fill)


def _pad_value(importer: Importer, node: NodeProto, view: View, is_int: bool) -> int:
    """The element that Pad adds to a view."""
    params = importer.params_of(view)
    name = node.input[2] if len(node.input) > 2 else ""
    number = real_constant(importer, name) if name else np.array(attributes(node).get("value", 0.0))
    if number is None or number.size != 1:
        raise Unsupported("the padding value must be one constant number")
    if is_int:
        return int(number.reshape(())) - params.offset
    real = float(number.reshape(()))
    fill = params.bound(real)
    saturates = abs((fill - params.zero_point) * float(params.scale) - real) > params.scale
    users = {n.op_type for n in importer.model.graph.node if node.output[0] in n.input}
    if saturates and not users <= {"MaxPool", "QuantizeLinear"}:
        raise Unsupported(f"the padding value {real} is outside of the range of the tensor that is padded")
    return fill
