"""Which channels of a model's tensors may be scaled together, with the network's result the same in real numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from .functions import clip_range
from .onnxtools import attributes
from .rewrite import Prepared

__all__ = ["FIXED", "Channels", "is_weighted", "weights_by_output"]

FIXED = 0
"""The class of channels whose scale must stay 1."""
_KEPT = frozenset(
    ["Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Dropout"]
)
"""Operators that scale with what they take, channel by channel."""
_RESHAPES = frozenset(["Flatten", "Reshape", "Squeeze", "Unsqueeze"])


class Channels:
    """Classes of channels: all of a class have one scale.

    ``of`` has for each tensor the class of each channel (axis 1), shape (C,), ``weighted`` the nodes with weights that
    give or take channels of a class, ``clips`` (tensor, upper bound) of what passes a Clip from 0.

    Parameters
    ----------
    prepared : Prepared
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._parents = [FIXED]
        self.of: dict[str, NDArray[np.int64]] = {}
        self.weighted: list[NodeProto] = []
        self.clips: list[tuple[str, float]] = []
        for node in prepared.nodes:
            self._visit(node)
        for name in prepared.outputs:
            self._fix(name)
        roots = np.asarray(self._parents)
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
        self.of = {name: roots[classes] for name, classes in self.of.items()}

    # ---- sets

    def _root(self, one):
        while self._parents[one] != one:
            self._parents[one] = one = self._parents[self._parents[one]]
        return one

    def _join(self, first, second):
        for a, b in zip(first, second, strict=True):
            low, high = sorted((self._root(a), self._root(b)))
            self._parents[high] = low  # FIXED is the lowest of all

    def _fix(self, name):
        if name in self.of:
            self._join(self.of[name], np.full(len(self.of[name]), FIXED))

    def _new(self, count):
        begin = len(self._parents)
        self._parents.extend(range(begin, begin + count))
        return np.arange(begin, begin + count)

    def _is_fixed(self, name):
        return name not in self.of or all(self._root(one) == FIXED for one in self.of[name])

    # ---- nodes

    def _visit(self, node):
        consts = self._prepared.consts
        sources = [i for i in node.input if i and i not in consts]
        classes = self._classes(node, sources)
        if classes is None:
            for name in sources:
                self._fix(name)
            self.of.update({name: np.full(self._channels(name), FIXED) for name in node.output if self._channels(name)})
        elif node.output:
            self.of[node.output[0]] = classes

    def _classes(self, node: NodeProto, sources: Sequence[str]) -> NDArray[np.int64] | None:
        """Classes of a node's result; None where its operands must stay as they are."""
        op = node.op_type
        if is_weighted(node, self._prepared.consts) and len(sources) == 1:
            self.weighted.append(node)
            bias = node.input[2] if len(node.input) > 2 else ""
            outputs = len(self._prepared.consts[node.input[1]])
            if bias and self._prepared.consts[bias].size != outputs:
                return None
            return self._new(outputs)
        if not sources or any(name not in self.of for name in sources):
            return None
        first = self.of[sources[0]]
        if op in _KEPT or (op == "PRelu" and len(sources) == 1):
            return first
        if op in ("Pad", "Resize"):
            return first if self._keeps_channels(node) else None
        if op == "Clip":
            bounds = clip_range(node, self._prepared.consts)
            if bounds is None or bounds[0] != 0:
                return None
            self.clips.append((sources[0], bounds[1]))
            return first
        if op in _RESHAPES:
            return self._reshaped(node, first)
        if op in ("Mul", "Div") and len(sources) == 1 and node.input[0] == sources[0]:
            return first if self._channels(node.output[0]) == len(first) else None
        if len(sources) != len(node.input):
            return None
        if op == "Concat" and self._axis(node) == 1:
            return np.concatenate([self.of[name] for name in sources])
        if len(sources) != 2 or len(first) != len(self.of[sources[1]]):
            return None
        if op == "Add":
            self._join(first, self.of[sources[1]])
            return first
        if op == "Mul":
            gate = next((i for i in (1, 0) if self._is_fixed(sources[i])), None)
            return None if gate is None else self.of[sources[1 - gate]]
        return None

    def _channels(self, name):
        shape = self._prepared.shapes.get(name, ())
        return shape[1] if len(shape) > 1 else 0

    def _keeps_channels(self, node):
        """Whether Pad and Resize leave the channels alone, and put nothing but zeros beside them."""
        if self._channels(node.input[0]) != self._channels(node.output[0]):
            return False
        if node.op_type == "Resize":
            return True
        fill = self._prepared.consts.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        return fill is None or not fill.any()

    def _reshaped(self, node, classes):
        shapes = self._prepared.shapes
        before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
        if len(after) < 2 or len(before) < 2 or before[0] != 1 or after[0] != 1 or after[1] % len(classes):
            return None
        return np.repeat(classes, after[1] // len(classes))

    def _axis(self, node):
        rank = len(self._prepared.shapes.get(node.output[0], ()))
        axis = attributes(node).get("axis", 0)
        return axis % rank if rank else axis


def is_weighted(node: NodeProto, consts: Mapping[str, NDArray]) -> bool:
    """Whether a node is Conv, or Gemm as ``rewrite`` leaves it, with constant weights."""
    weights = consts.get(node.input[1]) if len(node.input) > 1 else None
    if weights is None or node.input[0] in consts or weights.dtype != np.float32:
        return False
    given = attributes(node)
    is_plain = given.get("transB", 0) and not given.get("transA", 0)
    return node.op_type == "Conv" or (
        node.op_type == "Gemm" and is_plain and given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0
    )


def weights_by_output(node: NodeProto, consts: Mapping[str, NDArray]) -> tuple[NDArray, NDArray[np.int64]]:
    """Of a weighted node: weights, shape (M, N / groups, taps), and each one's input channel, shape (M, N / groups)."""
    weights = consts[node.input[1]]
    flat = weights.reshape(*weights.shape[:2], -1)
    groups = attributes(node).get("group", 1)
    first = np.arange(len(flat)) // (len(flat) // groups) * flat.shape[1]
    return flat, first[:, None] + np.arange(flat.shape[1])
