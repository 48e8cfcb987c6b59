"""Operators of float models that compute element by element: tables, additions, products, 1x1 convolutions."""

from dataclasses import replace

import numpy as np

from superlip.graph.onnx.functions import affine_factors, norm_factors
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import View

from . import emit
from .states import Pending, Unsupported
from .weights import real_constant

__all__ = ["affine", "batch_norm", "binary", "elementwise", "prelu", "sum_of_two"]


def binary(importer, node):
    """Add, Sub and Mul of two tensors; everything else of their kind is element-wise."""
    if len(node.input) == 2:
        views = [importer.view(name) for name in node.input]
        if None not in views and views[0] is not views[1] and node.op_type in ("Add", "Sub", "Sum", "Mul"):
            function = emit.mul if node.op_type == "Mul" else emit.add

            def finish(params, tensor, low, high, names):
                first, second = views
                if node.op_type == "Sub":
                    second = _negative(importer, second, f"{tensor}/negative", names)
                return function(importer, names, first, second, params, tensor, (low, high))

            larger = max(views, key=lambda v: int(np.prod(v.shape)))
            return Pending(finish, larger.shape, (node.name,))
    state = elementwise(importer, node)
    if state is None and len(node.input) == 2:
        for position, name in enumerate(node.input):
            value, view = real_constant(importer, name), importer.view(node.input[1 - position])
            if value is not None and view is not None:
                return _affine_of_constant(importer, node, view, value, position == 0)
    return state


def _affine_of_constant(importer, node, view, value, is_first):
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

    def finish(params, tensor, low, high, names):
        return replace(view, value=pending.finish(params, f"{tensor}/moved", low, high, names).value)

    return replace(pending, finish=finish, shape=view.shape)


def _by_channel(importer, view, value):
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


def _negative(importer, view, tensor, names):
    """The negative of a view, exactly: every int8 has its counterpart, -1 less the number, about the zero point's."""
    params = importer.params_of(view)
    numbers = np.arange(256, dtype=np.uint8).view(np.int8)
    return importer.apply_table(view, ~numbers, replace(params, zero_point=-1 - params.zero_point), tensor, names)


def sum_of_two(importer, node):
    """Sum of two tensors is an addition; one of more rounds between them, where the model says no scale."""
    if len(node.input) != 2:
        raise Unsupported(
            f"Sum of {len(node.input)} tensors: write it as Adds, with QuantizeLinear and DequantizeLinear between them"
        )
    return binary(importer, node)


def elementwise(importer, node):
    """A function of one number: starts or continues a chain, or clips what is pending."""
    roots, chain, operands, shape, shapes = [], [], {}, None, []
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
        elif isinstance(state, View):
            roots.append(state)
            shape = state.shape
        else:
            number = real_constant(importer, name)
            if number is None or not number.size or (number != number.reshape(-1)[0]).any():
                return None
            operands[name] = number.reshape(-1)[:1]  # one number, however many times it was written down
            shapes.append(number.shape)
    if not roots or any(r.value != roots[0].value or not _same(r, roots[0]) for r in roots):
        return None
    if np.broadcast_shapes(shape, *shapes) != tuple(shape):
        return None  # the constant makes the tensor larger
    names = {n.name for n in chain}
    ordered = [n for n in importer.model.graph.node if n.name in names] + [node]
    return importer.elementwise(roots[0], ordered, operands, shape, node.output[0])


def _same(a, b):
    return a is b or (a.shape == b.shape and np.array_equal(a.numbers(), b.numbers()))


def batch_norm(importer, node):
    """BatchNormalization that no Conv has taken in."""
    view = importer.view(node.input[0])
    params = [real_constant(importer, name) for name in node.input[1:5]]
    if view is None or any(p is None for p in params):
        return None
    return affine(importer, node, view, *norm_factors(*params, attributes(node).get("epsilon", 1e-5)))


def affine(importer, node, view, scale, shift):
    """x * scale + shift by channel: a 1x1 Conv of each channel, Pending."""

    def finish(params, tensor, low, high, names):
        importer.notes.append(f"{node.op_type} {node.name!r} became a 1x1 convolution: it may differ by one step")
        return emit.channel_affine(importer, names, view, scale, shift, params, tensor, (low, high))

    return Pending(finish, view.shape, (node.name,))


def prelu(importer, node):
    """PRelu with one slope a channel: what is above 0, plus what is below times the slope."""
    state = elementwise(importer, node)
    view, slopes = importer.view(node.input[0]), real_constant(importer, node.input[1])
    if state is not None or view is None or slopes is None:
        return state
    factors = affine_factors("Mul", slopes, len(view.shape), False)
    if factors is None:
        raise Unsupported(f"slopes of shape {slopes.shape} for a tensor of {view.shape}: one number, or one a channel")

    def finish(params, tensor, low, high, names):
        source, numbers = importer.params_of(view), np.arange(256, dtype=np.uint8).view(np.int8)
        parts = []
        for part, function in (("above", np.maximum), ("below", np.minimum)):
            table = function(numbers, np.int8(source.zero_point))
            parts.append(importer.apply_table(view, table, source, f"{tensor}/{part}", names))
        # what is below is all of the result where it is not 0, and so may be rounded as the result is
        below = emit.channel_affine(importer, names, parts[1], *factors, params, f"{tensor}/scaled", (-128, 127))
        importer.notes.append(f"PRelu {node.name!r} became an addition: it may differ by one step")
        return emit.add(importer, names, parts[0], below, params, tensor, (low, high))

    return Pending(finish, view.shape, (node.name,))
