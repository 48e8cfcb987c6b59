"""Operators of float models between DequantizeLinear and QuantizeLinear."""

from dataclasses import replace

import numpy as np

from superlip.graph import ir

from . import emit
from .onnxtools import attributes
from .states import Pending, Unsupported
from .tables import float_table
from .views import View, image_shape

__all__ = ["ELEMENTWISE", "FLOAT_OPS", "affine_factors", "clip_range", "norm_factors", "real_constant"]

ELEMENTWISE = frozenset(
    [
        "Relu",
        "Clip",
        "LeakyRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "ThresholdedRelu",
        "PRelu",
        "Gelu",
        "Erf",
        "Abs",
        "Neg",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Mish",
        "Sin",
        "Cos",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Min",
        "Max",
    ]
)
"""Functions of one number, or of one number and constants: any chain of them is one table."""


def real_constant(importer, name):
    """float32 of a constant, dequantized where it is stored as integers; None where it is no constant."""
    if name in importer.dq_consts:
        q, scale, zero, axis = importer.dq_consts[name]
        zero = np.zeros((), np.int64) if zero is None else zero.astype(np.int64)
        if scale.size > 1:
            along = [-1 if i == axis % q.ndim else 1 for i in range(q.ndim)]
            scale, zero = scale.reshape(along), np.broadcast_to(zero.reshape(-1), scale.shape).reshape(along)
        else:
            scale, zero = scale.reshape(()), zero.reshape(())
        return ((q.astype(np.int64) - zero).astype(np.float32) * scale.astype(np.float32)).astype(np.float32)
    return importer.const(name)


def quantized_weights(importer, name):
    """(int8 weights, scale) of a dequantized constant, or None where the operand is another thing."""
    if name not in importer.dq_consts:
        return None
    weights, scale, zero, axis = importer.dq_consts[name]
    if weights.dtype not in (np.int8, np.uint8):
        raise Unsupported(f"weights must be int8 or uint8, not {weights.dtype}; quantize them to one of the two")
    return weights, scale.reshape(-1), zero, axis


LARGEST_BIAS = float(1 << 30)
"""In steps of the products; the other half of int32 is theirs."""


def biased(importer, name, source, weights, weight_scale, factor=1.0):
    """Weights and the bias beside them, in units that hold both.

    Where a bias in floating point leaves int32 in steps of the products (a quantizer gives weights that are all 0 any
    scale, however small), the channel's weights get a wider scale: what they lose is nothing beside the bias.

    Parameters
    ----------
    name : str
        Of the bias; "" where there is none.
    source : ir.Value
        The operand.
    weights : ndarray int8, shape (M, ...)
    weight_scale : ndarray float32, shape (1,) or (M,)
    factor : float
        Of the bias.

    Returns
    -------
    (weights, scale, bias int64 shape (M,) or None)
    """
    if not name:
        return weights, weight_scale, None
    channels = len(weights)
    scale = np.broadcast_to(weight_scale.astype(np.float64), (channels,))
    exact = np.float64(source.scale) * scale
    if name in importer.dq_consts:
        q, bias_scale, zero, _ = importer.dq_consts[name]
        q = q.astype(np.int64).reshape(-1) - (0 if zero is None else np.asarray(zero, np.int64).reshape(-1))
        bias_scale = bias_scale.reshape(-1).astype(np.float64)
        if factor == 1 and np.allclose(bias_scale, exact, rtol=1e-4, atol=0):
            return weights, weight_scale, within_int32(q, weights, source.zero_point)
        real = q * bias_scale
    elif name in importer.consts:
        real = importer.consts[name].reshape(-1).astype(np.float64)
    else:
        raise Unsupported(f"bias {name!r} must be a constant")
    if real.size not in (1, channels):
        raise Unsupported(f"a bias of {real.size} numbers for {channels} output channels")
    importer.notes.append(f"bias {name!r} was rounded to int32 at the scale of the products")
    real = np.broadcast_to(real * factor, (channels,))
    needed = np.abs(real) / float(source.scale) / LARGEST_BIAS
    if (needed > scale).any():
        wider = np.maximum(scale, needed)
        shrunk = np.rint(weights * (scale / wider).reshape(-1, *(1 for _ in weights.shape[1:])))
        weights, weight_scale = shrunk.astype(np.int8), wider.astype(np.float32)
        exact = np.float64(source.scale) * weight_scale
    return weights, weight_scale, np.rint(real / exact).astype(np.int64)


def within_int32(bias, weights, zero_point):
    """The bias, less what would let a sum leave int32.

    In a Q/DQ model the sum is a real number, which its result's quantization saturates; the accumulators wrap. A bias
    that brings a sum to the end of int32 is millions of steps out of the result's range on the same side.

    Parameters
    ----------
    bias : ndarray int64, shape (M,)
    weights : ndarray int8, shape (M, ...)
    zero_point : int
        Of the operand.
    """
    flat = weights.reshape(len(weights), -1).astype(np.int64)
    ends = flat * (-128 - zero_point), flat * (127 - zero_point)
    lowest, highest = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
    return np.clip(bias, -(2**31) - lowest, 2**31 - 1 - highest)


def _conv(importer, node):
    view = importer.view(node.input[0])
    found = quantized_weights(importer, node.input[1])
    if view is None or found is None:
        return None
    weights, scale, zero, axis = found
    if scale.size > 1 and axis % weights.ndim != 0:
        raise Unsupported("Conv weights quantized along another axis than the output channels")
    weights = emit.int8_weights(weights, zero, node.name)
    given = attributes(node)
    size = emit.geometry(given, view.shape, weights.shape[2:], "Conv")["size"]
    bias_name = node.input[2] if len(node.input) > 2 else ""

    def finish(params, tensor, low, high, names):
        operand = importer.materialize(view)
        source = importer.values[operand]
        return emit.conv(
            importer, names, (operand, source), view.shape, *biased(importer, bias_name, source, weights, scale), given,
            params, tensor, (low, high),
        )  # fmt: skip

    return Pending(finish, (1, len(weights), *size), (node.name,))


def dense_weights(weights, transposed):
    """(M, F) from Gemm's or MatMul's B."""
    return weights if transposed else np.ascontiguousarray(weights.T)


def _gemm(importer, node):
    view = importer.view(node.input[0])
    found = quantized_weights(importer, node.input[1])
    if view is None or found is None:
        return None
    weights, scale, zero, axis = found
    given = attributes(node)
    if given.get("transA", 0):
        raise Unsupported("Gemm with transA; export the operand as it is multiplied")
    scale = scale * np.float32(given.get("alpha", 1.0))
    if (scale <= 0).any():
        raise Unsupported(f"alpha={given['alpha']}: only factors above 0; put the sign in the weights")
    if weights.ndim != 2 or int(np.prod(view.shape[:-1])) != 1:
        raise Unsupported(f"{node.op_type} of a tensor of shape {view.shape}: only one vector by a matrix")
    transposed = bool(given.get("transB", 0))
    if scale.size > 1 and axis % 2 != (0 if transposed else 1):
        raise Unsupported("weights quantized along another axis than the outputs")
    if zero is not None and zero.size > 1 and not transposed:
        weights = emit.int8_weights(dense_weights(weights, transposed), zero, node.name)
    else:
        weights = dense_weights(emit.int8_weights(weights, zero, node.name), transposed)
    bias_name = node.input[2] if len(node.input) > 2 else ""
    shape = (*view.shape[:-1], len(weights))

    def finish(params, tensor, low, high, names):
        source = importer.values[view.value]
        found = biased(importer, bias_name, source, weights, scale, given.get("beta", 1.0))
        return emit.dense(importer, names, view, *found, params, tensor, (low, high), shape)

    return Pending(finish, shape, (node.name,))


def _max_pool(importer, node):
    view = importer.view(node.input[0])
    return None if view is None else emit.max_pool(importer, node, view, attributes(node))


def _average_pool(importer, node):
    view = importer.view(node.input[0])
    if view is None:
        return None
    given = attributes(node)
    size = emit.geometry(given, view.shape, given["kernel_shape"], "AveragePool")["size"]

    def finish(params, tensor, low, high, names):
        return emit.average_pool(importer, names, view, given, params, tensor, (low, high))

    return Pending(finish, (*view.shape[:2], *size), (node.name,))


def _global_pool(importer, node):
    view = importer.view(node.input[0])
    if view is None:
        return None
    if node.op_type == "ReduceMean":
        given = attributes(node)
        axes = given.get("axes", importer.const(node.input[1]) if len(node.input) > 1 else None)
        rank = len(view.shape)
        if axes is None or sorted(int(a) % rank for a in np.ravel(axes)) != list(range(2, rank)) or rank < 3:
            raise Unsupported("ReduceMean over other axes than rows and columns")
        shape = (*view.shape[:2], *((1,) * (rank - 2) if given.get("keepdims", 1) else ()))
    else:
        shape = (*view.shape[:2], *(1 for _ in view.shape[2:]))
    if node.op_type == "GlobalMaxPool":
        value = importer.materialize(view)
        kernel = importer.values[value].shape[1:]
        return importer.emit(
            ir.Pool, (node.name,), (value,), node.output[0], image_shape(shape), shape, importer.params_of(view),
            kind="max", kernel=kernel,
        )  # fmt: skip

    def finish(params, tensor, low, high, names):
        return emit.global_average_pool(importer, names, view, params, tensor, (low, high), shape)

    return Pending(finish, shape, (node.name,))


def _binary(importer, node):
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
    state = _elementwise(importer, node)
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


def _sum(importer, node):
    """Sum of two tensors is an addition; one of more rounds between them, where the model says no scale."""
    if len(node.input) != 2:
        raise Unsupported(
            f"Sum of {len(node.input)} tensors: write it as Adds, with QuantizeLinear and DequantizeLinear between them"
        )
    return _binary(importer, node)


def _elementwise(importer, node):
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


def clip_range(node, constants):
    """(low, high) of Relu or Clip as real numbers; None where a bound is no constant number.

    Where low > high, ONNX's Clip gives high everywhere, and so does this range.
    """
    if node.op_type == "Relu":
        return 0.0, np.inf
    given = attributes(node)
    bounds = [given.get("min", -np.inf), given.get("max", np.inf)]
    for position, name in enumerate(node.input[1:3]):
        if name:
            if name not in constants or constants[name].size != 1:
                return None
            bounds[position] = float(constants[name].reshape(()))
    low, high = bounds
    return min(low, high), high


def _batch_norm(importer, node):
    """BatchNormalization that no Conv has taken in."""
    view = importer.view(node.input[0])
    params = [real_constant(importer, name) for name in node.input[1:5]]
    if view is None or any(p is None for p in params):
        return None
    return affine(importer, node, view, *norm_factors(*params, attributes(node).get("epsilon", 1e-5)))


def norm_factors(gamma, beta, mean, variance, epsilon):
    """(scale, shift), float64: BatchNormalization at inference is x * scale + shift."""
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return scale, beta.astype(np.float64) - mean.astype(np.float64) * scale


def affine_factors(op, value, rank, is_first):
    """(scale, shift) by channel where ``op`` of a tensor and the constant ``value`` is x * scale + shift, or None.

    ``is_first``: the constant is the first operand.
    """
    if value.ndim > rank or (op in ("Sub", "Div") and is_first) or op not in ("Add", "Sub", "Mul", "Div"):
        return None
    full = value.reshape((1,) * (rank - value.ndim) + value.shape)
    if any(size != 1 for i, size in enumerate(full.shape) if i != 1):
        return None
    number = full.reshape(-1).astype(np.float64)
    one, zero = np.ones_like(number), np.zeros_like(number)
    with np.errstate(divide="ignore"):
        return {"Add": (one, number), "Sub": (one, -number), "Mul": (number, zero), "Div": (one / number, zero)}[op]


def affine(importer, node, view, scale, shift):
    """x * scale + shift by channel: a 1x1 Conv of each channel, Pending."""

    def finish(params, tensor, low, high, names):
        importer.notes.append(f"{node.op_type} {node.name!r} became a 1x1 convolution: it may differ by one step")
        return emit.channel_affine(importer, names, view, scale, shift, params, tensor, (low, high))

    return Pending(finish, view.shape, (node.name,))


def _prelu(importer, node):
    """PRelu with one slope a channel: what is above 0, plus what is below times the slope."""
    state = _elementwise(importer, node)
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


def _concat(importer, node):
    views = [importer.view(name) for name in node.input]
    if None in views:
        return None
    if len(views) == 1:
        return views[0]
    axis = attributes(node).get("axis", 1)
    whole = emit.joined_view(importer, views, axis, node.name)
    if whole is not None:
        return whole
    values = emit.concat_axis(importer, views, axis)
    params = [importer.params_of(v) for v in views]
    shape = list(views[0].shape)
    shape[1] = sum(v.shape[1] for v in views)
    image = (sum(importer.values[v].shape[0] for v in values), *importer.values[values[0]].shape[1:])
    if all(p == params[0] for p in params):
        return importer.emit(
            ir.Concat, (node.name,), values, node.output[0], image, shape, params[0], tables=(None,) * len(values)
        )

    def finish(result, tensor, low, high, names):
        return emit_concat(importer, names, views, values, tensor, image, shape, result, (low, high))

    return Pending(finish, shape, (node.name,))


def emit_concat(importer, names, views, values, tensor, image, shape, result, clip):
    """Append a Concat whose tables bring every operand to the result's quantization."""
    tables = []
    for view in views:
        source = importer.params_of(view)
        if (source.scale, source.zero_point) == (result.scale, result.zero_point) and clip == (-128, 127):
            tables.append(None)
            continue
        table = float_table(
            [], {}, ("x", source.scale, source.zero_point), ("", result.scale, result.zero_point), importer.opsets
        )
        tables.append(np.clip(table, *clip).astype(np.int8))
    return importer.emit(ir.Concat, names, values, tensor, image, shape, result, tables=tuple(tables))


FLOAT_OPS = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _gemm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "ReduceMean": _global_pool,
    "Concat": _concat,
    "BatchNormalization": _batch_norm,
    "Sum": _sum,
    **{op: _elementwise for op in ELEMENTWISE},
    "PRelu": _prelu,
    **{op: _binary for op in ("Add", "Mul", "Sub", "Div", "Pow", "Min", "Max")},
}
