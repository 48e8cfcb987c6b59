"""What a node has otherwise when its tensors have channels first instead of last: attributes, constants."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from .functions import BOOLEAN, ELEMENTWISE
from .onnxtools import attributes

if TYPE_CHECKING:
    from .rewrite import Prepared

__all__ = ["Change", "Operands", "Order", "change_of"]


@dataclass(frozen=True)
class Order:
    """The axes of tensors of one rank, with channels last and first."""

    rank: int

    @property
    def to_last(self) -> tuple[int, ...]:
        return 0, *range(2, self.rank), 1

    @property
    def to_first(self) -> tuple[int, ...]:
        return 0, self.rank - 1, *range(1, self.rank - 1)

    def axis(self, axis: int) -> int:
        """Where an axis of a tensor with channels last is when they are first."""
        return self.to_first.index(axis % self.rank)

    def turned(self, array: NDArray) -> NDArray:
        """A constant that is broadcast to a tensor with channels last, for channels first."""
        if array.size == 1:
            return array
        full = array.reshape((1,) * (self.rank - array.ndim) + array.shape)
        return np.ascontiguousarray(full.transpose(self.to_first))

    def places(self, numbers: Iterable[int], fill: int) -> list[int]:
        """Numbers of the axes, aligned with the last ones, in the order with channels first."""
        given = [int(n) for n in numbers]
        full = [fill] * (self.rank - len(given)) + given
        return [full[axis] for axis in self.to_first]


@dataclass
class Change:
    """What a node has otherwise when its tensors are turned: attributes, constants by position, those behind a
    DequantizeLinear likewise."""

    attributes: dict[str, Any] = field(default_factory=dict)
    operands: dict[int, NDArray] = field(default_factory=dict)
    dequantized: dict[int, NodeProto] = field(default_factory=dict)


class Operands:
    """What is constant in a model as it is now, for tensors of one order.

    ``dequantized`` are the DequantizeLinear of constants, by what they give.
    """

    def __init__(self, state: "Prepared", order: Order) -> None:
        self.order, self.opsets = order, state.opsets
        self._state = state
        self.dequantized = {
            name: node
            for name, node in state.makers().items()
            if node.op_type == "DequantizeLinear" and node.input[0] in state.consts
        }

    def constant(self, name: str) -> NDArray | None:
        """A constant operand, or None."""
        return self._state.consts.get(name) if name else None

    def turned_dequantize(self, name: str, base: str) -> NodeProto | None:
        """DequantizeLinear named ``base``, of the constant that ``name`` is dequantized from, turned."""
        node = self.dequantized[name]
        integers, scale = self._state.consts[node.input[0]], self.constant(node.input[1])
        if scale is None or integers.ndim > self.order.rank or attributes(node).get("block_size", 0):
            return None
        given = {}
        if scale.size > 1:
            axis = attributes(node).get("axis", 1) % integers.ndim
            given["axis"] = self.order.axis(axis + self.order.rank - integers.ndim)
        return helper.make_node("DequantizeLinear", [*node.input], [f"{base}/real"], name=base, **given)


def change_of(operands: Operands, node: NodeProto) -> Change | None:
    """What a node has otherwise when its tensors are turned; None where it can't be turned."""
    function = _CHANGES.get(node.op_type)
    return None if function is None or node.domain else function(operands, node)


def _same(operands: Operands, node: NodeProto) -> Change | None:
    """An element-wise operator: its constants are turned."""
    change = Change()
    for position, name in enumerate(node.input):
        array = operands.constant(name)
        if array is not None and array.ndim > operands.order.rank:
            return None
        if array is not None and array.size != 1:
            change.operands[position] = operands.order.turned(array)
        if name in operands.dequantized:
            dequantize = operands.turned_dequantize(name, f"{node.name}/operand{position}")
            if dequantize is None:
                return None
            change.dequantized[position] = dequantize
    return change


def _scaled(operands: Operands, node: NodeProto) -> Change | None:
    """QuantizeLinear and DequantizeLinear: one scale, or one along an axis."""
    given, scale = attributes(node), operands.constant(node.input[1])
    if scale is None or given.get("block_size", 0):
        return None
    return Change() if scale.size == 1 else Change({"axis": operands.order.axis(given.get("axis", 1))})


def _along(operands: Operands, node: NodeProto) -> Change | None:
    """An operator with an axis, whose constants, if any, have the whole size."""
    change = _same(operands, node)
    if change is not None:
        change.attributes["axis"] = operands.order.axis(attributes(node).get("axis", 0))
    return change


def _split(operands: Operands, node: NodeProto) -> Change | None:
    return Change({"axis": operands.order.axis(attributes(node).get("axis", 0))})


def _gather(operands: Operands, node: NodeProto) -> Change | None:
    index = operands.constant(node.input[1])
    return _split(operands, node) if index is not None and index.ndim == 1 else None


def _softmax(operands: Operands, node: NodeProto) -> Change | None:
    if operands.opsets.get("", 0) < 13:  # it takes all axes from there on as one
        return None
    return Change({"axis": operands.order.axis(attributes(node).get("axis", -1))})


def _axes_of(operands: Operands, node: NodeProto, position: int) -> list[int] | None:
    """Axes, by an attribute or a constant operand."""
    given = attributes(node).get("axes")
    if given is None and len(node.input) > position:
        given = operands.constant(node.input[position])
    return None if given is None or not np.size(given) else [int(axis) for axis in np.ravel(given)]


def _with_axes(operands: Operands, node: NodeProto, position: int, axes: list[int]) -> Change:
    moved = [operands.order.axis(axis) for axis in axes]
    if "axes" in attributes(node):
        return Change({"axes": moved})
    return Change({}, {position: np.array(moved, np.int64)})


def _reduced(operands: Operands, node: NodeProto) -> Change | None:
    order, axes = operands.order, _axes_of(operands, node, 1)
    if axes is None:
        return None
    left = [axis for axis in range(order.rank) if axis not in {a % order.rank for a in axes}]
    moved = [order.axis(axis) for axis in left]
    if not attributes(node).get("keepdims", 1) and moved != sorted(moved):
        return None
    return _with_axes(operands, node, 1, axes)


def _slice(operands: Operands, node: NodeProto) -> Change | None:
    if any(name and operands.constant(name) is None for name in node.input[1:]):
        return None
    axes = _axes_of(operands, node, 3)
    return None if axes is None else _with_axes(operands, node, 3, axes)


def _pad(operands: Operands, node: NodeProto) -> Change | None:
    if any(name and operands.constant(name) is None for name in node.input[1:]):
        return None
    axes = _axes_of(operands, node, 3)
    if axes is not None:
        return _with_axes(operands, node, 3, axes)
    order, given = operands.order, attributes(node).get("pads")
    pads = operands.constant(node.input[1]) if given is None and len(node.input) > 1 else np.array(given or ())
    if pads is None or pads.size != 2 * order.rank:
        return None
    turned = [*order.places(pads[: order.rank], 0), *order.places(pads[order.rank :], 0)]
    return Change({"pads": turned}) if given is not None else Change({}, {1: np.array(turned, np.int64)})


def _resize(operands: Operands, node: NodeProto) -> Change | None:
    order, constants = operands.order, [operands.constant(name) for name in node.input]
    if any(name and constant is None for name, constant in list(zip(node.input, constants, strict=True))[1:]):
        return None
    if "axes" in attributes(node):
        return Change({"axes": [order.axis(axis) for axis in attributes(node)["axes"]]})
    change = Change()
    for position, constant in enumerate(constants):
        if constant is not None and constant.size == order.rank:
            change.operands[position] = constant[list(order.to_first)]
        elif constant is not None and constant.size:  # such as a region of interest
            return None
    return change


def _repeated(operands: Operands, node: NodeProto) -> Change | None:
    """Expand and Tile."""
    sizes = operands.constant(node.input[1])
    if sizes is None or sizes.size > operands.order.rank:
        return None
    return Change({}, {1: np.array(operands.order.places(sizes, 1), np.int64)})


_CHANGES: dict[str, Callable[[Operands, NodeProto], Change | None]] = {
    **dict.fromkeys((*ELEMENTWISE, *BOOLEAN, "Cast", "Identity", "Dropout", "Sum"), _same),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _scaled),
    "Concat": _along,
    "Split": _split,
    "Gather": _gather,
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduced),
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    **dict.fromkeys(("Expand", "Tile"), _repeated),
}
