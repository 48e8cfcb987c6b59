"""Operators of float models that compute element by element: tables, additions, products, 1x1 convolutions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from superlip.graph.onnx.functions import affine_factors, norm_factors
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import View, of_value

from . import emit
from .constant_tensors import constant_tensor, is_tensor
from .importer import Importer
from .states import Params, Pending, Unsupported
from .unrounded import function_of_pending
from .weights import real_constant

__all__ = ["affine", "batch_norm", "binary", "elementwise", "prelu", "sum_of_two"]


def binary(importer: Importer, node: NodeProto) -> Pending | None:
    """Add, Sub and Mul of two tensors, Max and Min of several; everything else of their kind is element-wise."""
    if len(node.input) == 2 and node.op_type in ("Add", "Sub", "Sum", "Mul"):
        first, second = (importer.view(name) for name in node.input)
        if first is not None and second is not None and first is not second:
            return _of_two_tensors(importer, node, first, second)
    state = elementwise(importer, node)
    if state is None and node.op_type in ("Max", "Min"):
        views = [view for name in node.input if (view := importer.view(name)) is not None]
        return _extreme(importer, node, views) if len(views) == len(node.input) else None
    if state is None and len(node.input) == 2:
        for position, name in enumerate(node.input):
            value, view = real_constant(importer, name), importer.view(node.input[1 - position])
            if value is not None and view is not None:
                factors = _affine_of_constant(importer, node, view, value, position == 0)
                return factors or _of_constant_tensor(importer, node, view, name, position)
    return state


def _of_constant_tensor(importer: Importer, node: NodeProto, view: View, name: str, position: int) -> Pending | None:
    """Pending Add, Sub or Mul of a view and a constant, at an input, with a number for each element; None of others."""
    constant = importer.dq_consts.get(name)
    if constant is None or node.op_type not in ("Add", "Sub", "Mul") or not is_tensor(importer, constant):
        return None
    whole = tuple(np.broadcast_shapes(view.shape, constant.integers.shape))

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        other = constant_tensor(importer, names, constant, whole, f"{tensor}/constant")
        operands = (view, other) if position else (other, view)
        return _of_two_tensors(importer, node, *operands).finish(params, tensor, low, high, names)

    return Pending(finish, whole, (node.name,))


def _extreme(importer: Importer, node: NodeProto, views: list[View]) -> Pending:
    """Pending Max or Min of tensors."""

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        is_maximum = node.op_type == "Max"
        return emit.extreme(importer, names, views, params, tensor, (low, high), is_maximum=is_maximum)

    return Pending(finish, tuple(np.broadcast_shapes(*(view.shape for view in views))), (node.name,))


def _of_two_tensors(importer: Importer, node: NodeProto, first: View, second: View) -> Pending:
    function = emit.mul if node.op_type == "Mul" else emit.add

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        other = _negative(importer, second, f"{tensor}/negative", names) if node.op_type == "Sub" else second
        return function(importer, names, first, other, params, tensor, (low, high))

    larger = max(first, second, key=lambda v: int(np.prod(v.shape)))
    return Pending(finish, larger.shape, (node.name,))


def _affine_of_constant(
    importer: Importer, node: NodeProto, view: View, value: NDArray, is_first: bool
) -> Pending | None:
    """Pending of ``node`` on a view and a constant with one number a channel; None where it is of another kind."""
    factors = affine_factors(node.op_type, value, len(view.shape), is_first)
    if factors is not None:
        return affine(importer, node, view, *factors)
    by_channel = _by_channel(importer, view, value)
    factors = None if by_channel is None else affine_factors(node.op_type, by_channel, 4, is_first)
    if factors is None:
        return None
    whole = View(view.value, (1, *importer.values[view.value].shape))
    pending = affine(importer, node, whole, *factors)

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        return of_value(view, pending.finish(params, f"{tensor}/moved", low, high, names).value, view.fill)

    return replace(pending, finish=finish, shape=view.shape)


def _by_channel(importer: Importer, view: View, value: NDArray) -> NDArray | None:
    """A constant that is broadcast to a moved view, as (1, C, 1, 1) of the value below; None where it is none such."""
    channels, rows, cols = importer.values[view.value].shape
    numbers = view.numbers().reshape(-1)
    if value.ndim > len(view.shape) or np.broadcast_shapes(value.shape, view.shape) != tuple(view.shape):
        return None
    if not np.array_equal(np.sort(numbers), np.arange(channels * rows * cols)):
        return None
    moved = np.empty(numbers.size, value.dtype)
    moved[numbers] = np.broadcast_to(value, view.shape).reshape(-1)
    moved = moved.reshape(channels, -1)
    return moved[None, :, :1, None] if (moved == moved[:, :1]).all() else None


def _negative(importer: Importer, view: View, tensor: str, names: Sequence[str]) -> View:
    """The negative of a view, exactly: each element has its counterpart, -1 less the number, about the zero point's."""
    params = importer.params_of(view)
    table, negative = ~params.element.by_pattern(), replace(params, zero_point=-1 - params.zero_point)
    return importer.apply_table(view, table, negative, tensor, names)


def sum_of_two(importer: Importer, node: NodeProto) -> Pending | None:
    """Sum of two tensors is an addition; one of more rounds between them, where the model says no scale."""
    if len(node.input) != 2:
        raise Unsupported(
            f"Sum of {len(node.input)} tensors: write it as Adds, with QuantizeLinear and DequantizeLinear between them"
        )
    return binary(importer, node)


def elementwise(importer: Importer, node: NodeProto) -> Pending | None:
    """A function of one number: starts or continues a chain, or clips what is pending."""
    roots: list[View | Pending] = []
    chain: list[NodeProto] = []
    operands: dict[str, NDArray] = {}
    shape: tuple[int, ...] = ()
    shapes = []
    for name in node.input:
        if not name:
            continue
        state = importer.floats.get(name)
        if isinstance(state, Pending) and state.chain is not None:
            roots.append(state.chain[0])
            chain += [n for n in state.chain[1] if n not in chain]
            operands |= state.chain[2]
            shape = state.shape
        elif isinstance(state, Pending) and node.op_type in ("Relu", "Clip"):
            return state.clipped(importer.clip_range(node), node.name)
        elif isinstance(state, View | Pending):
            roots.append(state)
            shape = state.shape
        else:
            number = real_constant(importer, name)
            if number is None or not number.size or (number != number.reshape(-1)[0]).any():
                return None
            operands[name] = number.reshape(-1)[:1]  # one number, however many times it was written down
            shapes.append(number.shape)
    if not roots or not all(_same(root, roots[0]) for root in roots):
        return None
    if np.broadcast_shapes(shape, *shapes) != tuple(shape):
        return None  # the constant makes the tensor larger
    names = {n.name for n in chain}
    ordered = [n for n in importer.model.graph.node if n.name in names] + [node]
    root = roots[0]
    if isinstance(root, Pending):
        return function_of_pending(importer, root, ordered, operands, shape, node.output[0])
    return importer.elementwise(root, ordered, operands, shape, node.output[0])


def _same(a: View | Pending, b: View | Pending) -> bool:
    if not isinstance(a, View) or not isinstance(b, View):
        return a is b
    return a is b or (a.value == b.value and a.shape == b.shape and np.array_equal(a.numbers(), b.numbers()))


def batch_norm(importer: Importer, node: NodeProto) -> Pending | None:
    """BatchNormalization that no Conv has taken in."""
    view = importer.view(node.input[0])
    gamma, beta, mean, variance = (real_constant(importer, name) for name in node.input[1:5])
    if view is None or gamma is None or beta is None or mean is None or variance is None:
        return None
    epsilon = attributes(node).get("epsilon", 1e-5)
    return affine(importer, node, view, *norm_factors(gamma, beta, mean, variance, epsilon))


def affine(importer: Importer, node: NodeProto, view: View, scale: NDArray, shift: NDArray) -> Pending:
    """x * scale + shift by channel: a 1x1 Conv of each channel, Pending."""

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        importer.notes.append(f"{node.op_type} {node.name!r} became a 1x1 convolution: it may differ by one step")
        return emit.channel_affine(importer, names, view, scale, shift, params, tensor, (low, high))

    return Pending(finish, view.shape, (node.name,))


def prelu(importer: Importer, node: NodeProto) -> Pending | None:
    """PRelu with one slope a channel: what is above 0, plus what is below times the slope."""
    state = elementwise(importer, node)
    view, slopes = importer.view(node.input[0]), real_constant(importer, node.input[1])
    if state is not None or view is None or slopes is None:
        return state
    factors = affine_factors("Mul", slopes, len(view.shape), False)
    if factors is None:
        raise Unsupported(f"slopes of shape {slopes.shape} for a tensor of {view.shape}: one number, or one a channel")
    scale, shift = factors

    def finish(params: Params, tensor: str, low: int, high: int, names: Sequence[str]) -> View:
        source = importer.params_of(view)
        numbers, zero = source.element.by_pattern(), source.element.dtype.type(source.zero_point)
        parts = []
        for part, function in (("above", np.maximum), ("below", np.minimum)):
            parts.append(importer.apply_table(view, function(numbers, zero), source, f"{tensor}/{part}", names))
        # what is below is all of the result where it is not 0, and so may be rounded as the result is
        bounds = source.element.bounds
        below = emit.channel_affine(importer, names, parts[1], scale, shift, params, f"{tensor}/scaled", bounds)
        importer.notes.append(f"PRelu {node.name!r} became an addition: it may differ by one step")
        return emit.add(importer, names, parts[0], below, params, tensor, (low, high))

    return Pending(finish, view.shape, (node.name,))
