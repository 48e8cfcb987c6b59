"""Which nodes the host can run, as far as that is known without running them."""

import onnx
from onnx import NodeProto

from .validate.runtime import may_abort

__all__ = ["why_not_on_host"]

_DATA_DEPENDENT = frozenset(["NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit", "StringNormalizer"])
"""Operators whose result has a size that depends on what they are given."""
_RANDOM = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"]
)


def why_not_on_host(node: NodeProto) -> str | None:
    """Why the host can't run a node; None where it may."""
    if node.op_type in _DATA_DEPENDENT:
        return "the size of its result depends on the image: sizes must be known when the accelerator is planned"
    if node.op_type in _RANDOM:
        return "it gives other numbers each time: there is nothing that its results could be compared with"
    if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
        return "control flow is not supported"
    if may_abort(node):
        return "a zero point is missing; write it, even where it is 0: it says which type is meant"
    return None
