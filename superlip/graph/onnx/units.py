"""A float model cut into units: nodes that are quantized as one, with nothing rounded between them."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from .functions import BOOLEAN, ELEMENTWISE, clip_range, clip_together
from .importer.float_ops import FLOAT_OPS
from .onnxtools import attributes
from .rewrite import Prepared
from .views import LAYOUT_OPS

__all__ = ["ANY", "Unit", "find_units"]

ANY = (-np.inf, np.inf)
_MOVERS = LAYOUT_OPS | {"MaxPool", "GlobalMaxPool"}
_CLIPS = ("Relu", "Clip")


@dataclass(frozen=True, eq=False)
class Unit:
    """Nodes that are quantized as one.

    Parameters
    ----------
    kind : str
        ``integer``: ONNX Runtime has it for integers; ``real``: between DequantizeLinear and QuantizeLinear;
        ``mover``: its result holds values of its first operand only, and is quantized as that; ``clip``: Relu or Clip
        that no operator took in; ``host``: in floating point.
    members : tuple of NodeProto
        In order. Behind the first of ``integer`` and ``real`` may stand Relu and Clip that it took in.
    sources : tuple of str
        Tensors that it takes, without constants.
    clip : (low, high), real numbers
        What those Relu and Clip together, or the ``clip`` itself, leave of all numbers.
    """

    kind: str
    members: tuple[NodeProto, ...]
    sources: tuple[str, ...]
    clip: tuple[float, float] = ANY

    @property
    def node(self) -> NodeProto:
        return self.members[0]

    @property
    def op(self) -> str:
        return self.members[0].op_type

    @property
    def results(self) -> list[str]:
        return [o for o in self.members[-1].output if o]

    @property
    def output(self) -> str:
        return self.members[-1].output[0]

    @property
    def is_mover(self) -> bool:
        """Whether its result holds values of its operand only, wherever it runs."""
        if self.kind == "host":
            return self.op in _MOVERS and self.node.input[0] in self.sources
        return self.kind == "mover"

    @property
    def is_function(self) -> bool:
        """Whether its result is a function of one number, element by element."""
        is_quantized = self.kind in ("integer", "real") and len(self.sources) == 1
        return is_quantized and all(node.op_type in ELEMENTWISE | BOOLEAN for node in self.members)

    @property
    def interpolates(self) -> bool:
        """Whether its result holds numbers between those of its operand."""
        return self.op == "Resize" and attributes(self.node).get("mode", b"nearest") != b"nearest"

    @property
    def on_accelerator(self) -> bool:
        return self.kind != "host"


def find_units(prepared: Prepared, hosted: Collection[str] = ()) -> list[Unit]:
    """The nodes of a ``Prepared`` model as units, each behind those that it takes from.

    ``hosted`` has the names of nodes that the host is to run.
    """
    users = prepared.users()
    functions = {id(members[-1]): members for members in prepared.functions}
    taken = {id(n) for members in prepared.functions for n in members}
    units = []
    for node in prepared.nodes:
        if id(node) in functions:
            members = functions[id(node)]
            units.append(_unit(prepared, "host" if any(n.name in hosted for n in members) else "real", members))
        elif id(node) not in taken:
            kind = "host" if node.name in hosted else _kind(prepared, node)
            clips: list = []
            clip: tuple[float, float] | None = ANY
            if kind in ("integer", "real"):
                clips, clip = _clips_behind(prepared, users, taken, hosted, node)
            if kind == "clip":
                clip = clip_range(node, prepared.consts)
            taken.update(id(n) for n in clips)
            units.append(_unit(prepared, kind, [node, *clips], clip))
    return units


def _unit(prepared, kind, members, clip=ANY):
    made = {o for n in members for o in n.output}
    operands = members[0].input[:1] if kind in ("mover", "clip") else [i for n in members for i in n.input]
    sources = [i for i in dict.fromkeys(operands) if i and i not in prepared.consts and i not in made]
    return Unit(kind, tuple(members), tuple(sources), clip)


def _clips_behind(prepared, users, taken, hosted, node):
    """Relu and Clip, of no other unit, that alone take what is before them, and what they leave."""
    members, clip = [], ANY
    last = node
    while True:
        behind = users.get(last.output[0], [])
        if len(behind) != 1 or last.output[0] in prepared.outputs or behind[0].op_type not in _CLIPS:
            return members, clip
        bounds = clip_range(behind[0], prepared.consts)
        if bounds is None or id(behind[0]) in taken or behind[0].name in hosted:
            return members, clip
        last = behind[0]
        members.append(last)
        clip = clip_together(clip, bounds)


def _kind(prepared, node):
    op = node.op_type
    if op in _CLIPS:
        return "host" if clip_range(node, prepared.consts) is None else "clip"
    if op in _MOVERS:
        return "host" if node.input[0] in prepared.consts else "mover"
    if op in BOOLEAN:
        return "host"
    applies = _INTEGER.get(op)
    if applies is not None and applies(prepared, node):
        return "integer"
    return "real" if op in FLOAT_OPS else "host"


def _weighted(prepared, node):
    """Conv, Gemm and MatMul with constant weights, as ``rewrite`` leaves them."""
    weights = prepared.consts.get(node.input[1])
    if weights is None or node.input[0] in prepared.consts:
        return False
    given = attributes(node)
    if node.op_type == "Gemm":
        plain = given.get("transB", 0) and not given.get("transA", 0)
        if not plain or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
            return False
    if node.op_type != "Conv" and weights.ndim != 2:
        return False
    bias = node.input[2] if len(node.input) > 2 else ""
    outputs = weights.shape[1] if node.op_type == "MatMul" else len(weights)
    return not bias or (bias in prepared.consts and prepared.consts[bias].size == outputs)


def _of_two_tensors(prepared, node):
    return len(set(node.input)) == 2 and not any(i in prepared.consts for i in node.input)


def _of_tensors(prepared, node):
    return len(node.input) > 1 and not any(i in prepared.consts for i in node.input)


def _without_dilations(prepared, node):
    return all(d == 1 for d in attributes(node).get("dilations", ()))


def _always(prepared, node):
    return True


_INTEGER = {
    "Conv": _weighted,
    "Gemm": _weighted,
    "MatMul": _weighted,
    "Add": _of_two_tensors,
    "Mul": _of_two_tensors,
    "Concat": _of_tensors,
    "AveragePool": _without_dilations,
    "GlobalAveragePool": _always,
    "LeakyRelu": _always,
    "Sigmoid": _always,
}
"""Operators with an exact integer kernel in ONNX Runtime, and when."""
