"""Random float models: every operator that ``check`` accepts, in any order."""

import numpy as np
from generate import CALIBRATION, NEWEST, Made, Net, make_images


def _spread(rng, shape):
    """Weights of a fan-in that gives about the operand's size, with channels of very different size at times."""
    fan_in = max(1, int(np.prod(shape[1:])))
    weights = rng.normal(size=shape) / np.sqrt(fan_in)
    kind = rng.integers(8)
    along = (-1, *(1 for _ in shape[1:]))
    if kind == 0:
        weights *= (10 ** rng.uniform(-3, 1, len(weights))).reshape(along)
    if kind == 1:
        weights[rng.integers(len(weights))] = 0
    if kind == 2:
        weights = np.abs(weights)
    return weights


# ---- nodes of float models: each takes a net, and adds what it can


def _gain(net, x):
    """Factor for weights: mostly keeps the size of what is there within 1e-3 to 1e3."""
    size = net.size(x)
    if net.chance(0.15) or not 1e-3 <= size <= 1e3:
        return 10 ** net.rng.uniform(-3, 3) / size
    return 1.0


def _window(net, shape, *, kinds=("pads", "pads", "auto", "none")):
    kernel = [int(min(net.one(1, 2, 3, 3), n)) for n in shape[2:]]
    given = {"kernel_shape": kernel}
    if net.chance(0.4):
        given["strides"] = [net.whole(1, 2) for _ in kernel]
    kind = net.one(*kinds)
    if kind == "pads":
        given["pads"] = [net.whole(0, k - 1) for k in kernel + kernel]
    if kind == "auto":
        given["auto_pad"] = net.one("SAME_UPPER", "SAME_LOWER", "VALID")
    return given


def conv(net):
    x = net.pick(lambda s: len(s) in (3, 4))
    if x is None:
        return
    shape = net.shape(x)
    n = shape[1]
    groups = net.one(1, 1, 1, n, *(g for g in (2, 3) if n % g == 0))
    m = groups * net.whole(1, max(1, 8 // groups))
    given = _window(net, shape)
    if net.chance(0.2) and "auto_pad" not in given:
        given["dilations"] = [net.whole(1, 2) for _ in given["kernel_shape"]]
    gain = _gain(net, x)
    kernel = (m, n // groups, *given["kernel_shape"])
    weights = net.like(kernel, lambda: gain * _spread(net.rng, kernel))
    operands = [x, weights]
    if net.chance(0.7):
        operands.append(net.like((m,), lambda: gain * net.size(x) * net.rng.normal(size=m) * net.one(0.1, 1.0)))
    if net.chance(0.3):
        del given["kernel_shape"]
    y = net.op("Conv", *operands, group=groups, **given)
    if y is not None and net.folds_norms and net.chance(0.4):
        y = norm_of(net, y) or y
    if y is not None and net.chance(0.4):
        y = activation_of(net, y) or y
    net.give(y)


def norm_of(net, x, *, folds=True):
    """BatchNormalization with the tensor's own statistics."""
    shape = net.shape(x)
    if len(shape) < 2:
        return None
    moved = np.moveaxis(np.stack([a[0] for a in net.values[x]]), 1, 0).reshape(shape[1], -1).astype(np.float64)
    mean, variance = moved.mean(axis=1), moved.var(axis=1) * net.rng.uniform(0.8, 1.2) + 1e-8
    if not folds:  # alone, one of a channel that hardly moves magnifies steps of 8 bits beyond all sense
        variance += 0.01 * ((moved**2).mean() or 1.0)
    gamma, beta = net.rng.normal(1, 0.3, shape[1]), net.rng.normal(0, 0.3, shape[1])
    given = {"epsilon": net.one(1e-5, 1e-3)} if net.chance(0.7) else {}
    return net.op("BatchNormalization", x, *map(net.const, (gamma, beta, mean, variance)), **given)


def norm(net):
    x = net.pick(lambda s: len(s) in (2, 3, 4))
    net.give(norm_of(net, x, folds=False))


def activation_of(net, x):
    return net.op("Relu", x) if net.chance(0.5) else clip_of(net, x)


def clip_of(net, x):
    """Clip with any bounds, also such as leave out 0, are upside down, or leave one number."""
    numbers = net.numbers(x)
    low, high = (float(np.quantile(numbers, q)) for q in sorted(net.rng.random(2)))
    kind = net.whole(0, 9)
    if kind == 0:
        low, high = high, low
    elif kind == 1:
        low, high = 0.0, 6.0
    elif kind == 2:
        low = 0.0
    bounds = [net.const(low) if net.chance(0.8) else "", net.const(high) if net.chance(0.8) else ""]
    while bounds and not bounds[-1]:
        bounds.pop()
    return net.op("Clip", x, *bounds)


def clip(net):
    net.give(clip_of(net, net.pick()))


def relu(net):
    net.give(net.op("Relu", net.pick()))


def function(net):
    """A function of one number."""
    x = net.pick()
    size = net.size(x)
    name = net.one(
        "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Celu", "Softplus", "Softsign",
        "ThresholdedRelu", "Gelu", "Erf", "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round",
        "Sign", "Mish", "Sin", "Cos", "LeakyRelu", "Sigmoid", "Tanh", "Pow", "Min", "Max",
    )  # fmt: skip
    low, high = float(net.numbers(x).min()), float(net.numbers(x).max())
    tame = size < 8 or name in ("LeakyRelu", "Abs", "Neg", "Min", "Max", "ThresholdedRelu", "Sign")
    if not tame and net.chance(0.8):
        x = net.op("Mul", x, net.const(2 / size))
        low, high = low * 2 / size, high * 2 / size
    given = {}
    if name in ("LeakyRelu", "Elu", "Celu", "ThresholdedRelu"):
        given = {"alpha": net.rng.uniform(0.01, 1)} if net.chance(0.7) else {}
    if name == "HardSigmoid" and net.chance(0.5):
        given = {"alpha": 1 / 6, "beta": 0.5}
    if name == "Selu" and net.chance(0.5):
        given = {"alpha": 1.5, "gamma": 1.2}
    if name == "Gelu" and net.chance(0.5):
        given = {"approximate": "tanh"}
    if name in ("Log", "Sqrt", "Reciprocal"):
        x = net.op("Add", x, net.const(-low + 0.1 * (high - low) + 1e-3))
    operands = [x]
    if name == "Pow":
        operands.append(net.const(net.one(2.0, 3.0)))
    if name in ("Min", "Max"):
        operands.insert(net.whole(0, 1), net.const(net.rng.uniform(low, high)))
    if None not in operands:
        net.give(net.op(name, *operands, **given))


def prelu(net):
    x = net.pick(lambda s: len(s) in (2, 4))
    if x is not None:
        shape = net.shape(x)
        channels = (shape[1],) if len(shape) == 2 else (shape[1], 1, 1)
        slope = net.rng.uniform(-0.2, 0.8, net.one(channels, (1,), channels))
        net.give(net.op("PRelu", x, net.const(slope)))


def chain(net):
    """SiLU, hard swish, GELU, mish as exporters write them out."""
    x = net.pick()
    if net.size(x) > 8 and net.chance(0.8):
        x = net.op("Mul", x, net.const(2 / net.size(x)))
    kind = net.whole(0, 4)
    if x is None:
        return
    if kind == 0:
        y = net.op("Mul", x, net.op("Sigmoid", x) or "")
    elif kind == 1:
        y = net.op("Clip", net.op("Add", x, net.const(3)) or "", net.const(0), net.const(6))
        y = net.op("Div", net.op("Mul", x, y or "") or "", net.const(6))
    elif kind == 2:
        y = net.op("Mul", x, net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5) or "")
    elif kind == 3:
        y = net.op("Add", net.op("Erf", net.op("Div", x, net.const(2**0.5)) or "") or "", net.const(1))
        y = net.op("Mul", net.op("Mul", x, y or "") or "", net.const(0.5))
    else:
        y = net.op("Mul", x, net.op("Tanh", net.op("Softplus", x) or "") or "")
    net.give(y)


def factor(net):
    """A constant added to a tensor or multiplied with it, for all or by channel."""
    x = net.pick()
    shape = net.shape(x)
    size = net.size(x)
    kinds = [(), (1,)]
    if len(shape) == 4:
        kinds += [(1, shape[1], 1, 1), (shape[1], 1, 1)]
    if len(shape) == 2:
        kinds += [(shape[1],)]
    of = net.one(*kinds)
    name = net.one("Add", "Sub", "Mul", "Div")
    value = net.rng.normal(size=of) * size if name in ("Add", "Sub") else net.rng.uniform(0.3, 2, of) * net.one(1, -1)
    operands = [x, net.like(of, lambda: value) if name in ("Add", "Sub") else net.const(value)]
    if net.chance(0.2) and name != "Div":
        operands.reverse()
    net.give(net.op(name, *operands))


def pool(net):
    x = net.pick(lambda s: len(s) in (3, 4) and min(s[2:]) > 1)
    if x is None:
        return
    name = net.one("MaxPool", "MaxPool", "AveragePool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    given = {}
    if name in ("MaxPool", "AveragePool"):
        given = _window(net, net.shape(x))
        if net.chance(0.2):
            given["ceil_mode"] = 1
        if name == "AveragePool" and net.chance(0.4):
            given["count_include_pad"] = 1
        if net.chance(0.25) and "auto_pad" not in given and (name == "MaxPool" or net.opset >= 19):
            given["dilations"] = [net.whole(1, 3) for _ in given["kernel_shape"]]
    net.give(net.op(name, x, **given))


def mean(net):
    x = net.pick(lambda s: len(s) in (3, 4))
    if x is None:
        return
    axes = net.one([2, 3], [-2, -1], [-1, 2]) if len(net.shape(x)) == 4 else [2]
    keep = {"keepdims": net.whole(0, 1)}
    if net.opset < 18:
        net.give(net.op("ReduceMean", x, axes=axes, **keep))
    else:
        net.give(net.op("ReduceMean", x, net.const(axes, np.int64), **keep))


def dense(net):
    x = net.pick(lambda s: len(s) == 2)
    if x is None:
        x = net.op("Flatten", net.pick(lambda s: len(s) > 2) or "", axis=1)
    if x is None:
        return
    n, m = net.shape(x)[1], net.whole(2, 12)
    gain = _gain(net, x)
    weights = net.like((m, n), lambda: gain * _spread(net.rng, (m, n)))
    bias = net.like((m,), lambda: gain * net.size(x) * net.rng.normal(size=m) * 0.3)
    if net.chance(0.7):
        given, rows = {}, net.consts[weights]
        if net.chance(0.7):
            given["transB"] = 1
        else:
            weights = net.const(rows.T)
        if net.chance(0.2):
            given |= {"alpha": net.one(0.5, 1.0, 2.0), "beta": net.one(0.5, 1.0)}
        operands = [x, weights, *([bias] if net.chance(0.8) else [])]
        y = net.op("Gemm", *operands, **given)
    else:
        y = net.op("MatMul", x, net.const(net.consts[weights].T))
        if net.chance(0.7):
            y = net.op("Add", y or "", bias)
    if y is not None and net.chance(0.4):
        y = activation_of(net, y) or y
    net.give(y)


def join(net):
    """Add, Mul, Concat or Sum of two or three tensors."""
    x = net.pick()
    shape = net.shape(x)
    name = net.one("Add", "Add", "Mul", "Concat", "Concat", "Sum", "Sub")
    axis = net.one(1, 1, 1, *range(1, len(shape)))
    if name == "Concat":
        rest = (*shape[:axis], *shape[axis + 1 :])
        others = [y for y in net.open if len(net.shape(y)) == len(shape)]
        fitting = [y for y in others if (*net.shape(y)[:axis], *net.shape(y)[axis + 1 :]) == rest]
    else:
        fitting = [y for y in net.open if net.shape(y) == shape and (y != x or net.chance(0.2))]
    if not fitting:
        return
    others = [net.one(*fitting) for _ in range(net.whole(1, 2) if name in ("Concat", "Sum") else 1)]
    if name in ("Add", "Sum", "Sub"):  # what is much smaller than the rest leaves nothing to see
        others = [o for o in others if 0.02 < net.size(o) / net.size(x) < 50]
    if name == "Mul" and net.size(others[0]) > 100:
        return
    if others:
        net.give(net.op(name, x, *others, **({"axis": axis} if name == "Concat" else {})))


def branch(net):
    """A residual block: a tensor, and a convolution of it, summed or multiplied."""
    x = net.image()
    if x is None:
        return
    n = net.shape(x)[1]
    weights = _spread(net.rng, (n, n, 3, 3))
    y = net.op("Conv", x, net.const(weights), pads=[1, 1, 1, 1])
    if y is not None and net.chance(0.5):
        y = activation_of(net, y)
    if y is not None:
        y = net.op("Add", *net.one((x, y), (y, x)))
    if y is not None and net.chance(0.5):
        y = net.op("Relu", y)
    net.give(y)


def excite(net):
    """Squeeze and excitation."""
    x = net.image()
    if x is None:
        return
    n = net.shape(x)[1]
    y = net.op("GlobalAveragePool", x)
    if y is None:
        return
    for m, k, last in ((2, n, False), (n, 2, True)):
        weights = _spread(net.rng, (m, k, 1, 1)) / (1 if last else net.size(y))
        y = net.op("Conv", y, net.const(weights), net.const(net.rng.normal(size=m)))
        y = y and net.op(net.one("Sigmoid", "HardSigmoid") if last else "Relu", y)
        if y is None:
            return
    net.give(net.op("Mul", *net.one((x, y), (y, x))))


def channels_last(net):
    """As Keras has it: between Transposes, with constants, poolings and gates of the last axis."""
    x = net.image()
    x = x and net.op("Transpose", x, perm=[0, 2, 3, 1])
    if x is None:
        return
    for _ in range(net.whole(1, 3)):
        x = net.one(*_LAST)(net, x, net.shape(x)) or x
    y = net.op("Transpose", x, perm=[0, 3, 1, 2]) if net.chance(0.8) else x
    net.give(*([x, y] if y != x and net.chance(0.2) else [y]))


def _constant_last(net, x, shape):
    of = net.one((), (shape[3],), (1, 1, 1, shape[3]))
    if net.chance(0.5):
        return net.op("Add", x, net.const(net.rng.normal(size=of) * net.size(x)))
    return net.op("Mul", x, net.const(net.rng.uniform(0.3, 2, of)))


def _gated_last(net, x, shape):
    y = net.op("ReduceMax", x, axes=[1, 2], keepdims=1) if net.opset < 18 else None
    y = y and net.op("Sigmoid", net.op("Mul", y, net.const(1 / net.size(y))) or "")
    return y and net.op("Mul", x, y)


def _padded_last(net, x, shape):
    pads = [0, net.whole(0, 1), net.whole(0, 1), 0, 0, net.whole(0, 1), net.whole(0, 1), 0]
    return net.op("Pad", x, net.const(pads, np.int64))


def _joined_last(net, x, shape):
    return net.op("Concat", x, net.op("Relu", x) or x, axis=net.one(3, -1, 3, 2))


def _activation_last(net, x, shape):
    return activation_of(net, x)


def _split_last(net, x, shape):
    if shape[3] < 2:
        return None
    first = net.whole(1, shape[3] - 1)
    if net.opset < 13:
        return net.one(*net.op("Split", x, outputs=2, axis=3, split=[first, shape[3] - first]))
    return net.one(*net.op("Split", x, net.const([first, shape[3] - first], np.int64), outputs=2, axis=-1))


_LAST = (_constant_last, _constant_last, _gated_last, _padded_last, _joined_last, _activation_last, _split_last)


def layout(net):
    """An operator that only moves elements; often an activation behind it."""
    x = net.pick()
    y = net.one(*_LAYOUTS)(net, x, net.shape(x))
    for name in y if isinstance(y, list) else [y]:
        active = activation_of(net, name) if name is not None and net.chance(0.4) else None
        net.give(active or name)


def _reshape(net, x, shape):
    count = int(np.prod(shape))
    sizes = [d for d in range(1, 13) if count % d == 0]
    first = net.one(*sizes)
    last = net.one(*(d for d in sizes if (count // first) % d == 0))
    target = net.one([1, first, -1, last], [1, -1], [1, first, -1], [-1, count], [0, first, -1, last])
    return net.op("Reshape", x, net.const(target, np.int64))


def _flatten(net, x, shape):
    return net.op("Flatten", x, **net.one({}, {"axis": 1}, {"axis": 1 - len(shape)}))


def _squeeze(net, x, shape):
    axes = [i for i, n in enumerate(shape) if n == 1 and i]
    if not axes:
        return None
    axes = axes[: net.whole(1, len(axes))]
    if net.opset < 13:
        return net.op("Squeeze", x, axes=axes)
    return net.op("Squeeze", x, net.const(axes, np.int64))


def _unsqueeze(net, x, shape):
    if len(shape) > 3:
        return None
    axes = net.one([len(shape)], [-1], [1], [len(shape), len(shape) + 1] if len(shape) == 2 else [2])
    if net.opset < 13:
        return net.op("Unsqueeze", x, axes=[a % (len(shape) + len(axes)) for a in axes])
    return net.op("Unsqueeze", x, net.const(axes, np.int64))


def _transpose(net, x, shape):
    """To channels last and back, with something between; or of a channel shuffle."""
    if len(shape) != 4:
        return None
    if net.chance(0.3):
        return net.op("Transpose", x, perm=net.one([0, 2, 3, 1], [0, 1, 3, 2], [0, 3, 1, 2]))
    y = net.op("Transpose", x, perm=[0, 2, 3, 1])
    if y is not None and net.chance(0.7):
        y = activation_of(net, y)
    return y and net.op("Transpose", y, perm=[0, 3, 1, 2])


def _shuffle(net, x, shape):
    if len(shape) != 4 or shape[1] % 2:
        return None
    split = net.const([1, 2, shape[1] // 2, *shape[2:]], np.int64)
    y = net.op("Reshape", x, split)
    y = y and net.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    return y and net.op("Reshape", y, net.const([1, *shape[1:]], np.int64))


def _slice(net, x, shape):
    axes = [a for a in range(1, len(shape)) if shape[a] > 1 and net.chance(0.6)]
    if not axes:
        return None
    starts = [net.whole(0, shape[a] // 2) for a in axes]
    ends = [net.one(shape[a], 1 << 40, max(start + 1, shape[a] - 1)) for a, start in zip(axes, starts, strict=True)]
    steps = [net.one(1, 1, 2) for _ in axes]
    operands = [starts, ends, axes, *([steps] if max(steps) > 1 or net.chance(0.5) else [])]
    return net.op("Slice", x, *(net.const(o, np.int64) for o in operands))


def _split(net, x, shape):
    axis = net.one(1, 1, *range(1, len(shape)))
    if shape[axis] < 2:
        return None
    first = net.whole(1, shape[axis] - 1)
    if net.opset < 13:
        return net.op("Split", x, outputs=2, axis=axis, split=[first, shape[axis] - first])
    if net.opset >= 18 and shape[axis] % 2 == 0 and net.chance(0.5):
        return net.op("Split", x, outputs=2, axis=axis, num_outputs=2)
    return net.op("Split", x, net.const([first, shape[axis] - first], np.int64), outputs=2, axis=axis)


def _gather(net, x, shape):
    axis = net.one(1, 1, *range(1, len(shape)))
    index = net.rng.integers(-shape[axis], shape[axis], net.whole(1, shape[axis]))
    return net.op("Gather", x, net.const(index, np.int64), axis=axis)


def _blocks(net, x, shape):
    if len(shape) != 4:
        return None
    if shape[1] % 4 == 0 and net.chance(0.6):
        return net.op("DepthToSpace", x, blocksize=2, **net.one({}, {"mode": "CRD"}, {"mode": "DCR"}))
    return net.op("SpaceToDepth", x, blocksize=2)


def _resize(net, x, shape):
    if len(shape) != 4:
        return None
    given = net.one(
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, {},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    )  # fmt: skip
    if net.chance(0.1):
        given = {"mode": "linear"}
    if net.chance(0.3):
        sizes = net.const([1, shape[1], *(net.whole(1, 2 * n) for n in shape[2:])], np.int64)
        return net.op("Resize", x, net.const(np.zeros(0)), net.const(np.zeros(0)), sizes, **given)
    scales = net.const([1, 1, net.one(1, 2), net.one(1.0, 2.0, 0.5)])
    return net.op("Resize", x, net.const(np.zeros(0)), scales, **given)


def _pad(net, x, shape):
    half = [0] * len(shape)
    both = [half.copy(), half.copy()]
    for axis in range(2, len(shape)):
        for side in both:
            side[axis] = net.one(0, 1, 2)
    mode = net.one({}, {}, {"mode": "reflect"}, {"mode": "edge"}, {"mode": "constant"})
    pads = both[0] + both[1]
    operands = [net.const(pads, np.int64)]
    if not mode or net.chance(0.5):
        value = net.one(0.0, 0.0, float(net.rng.uniform(-1, 1)) * net.size(x))
        operands += [net.const(value)] if net.chance(0.7) else []
    if net.opset >= 18 and len(shape) == 4 and net.chance(0.3):
        operands[0] = net.const([pads[2], pads[3], pads[6], pads[7]], np.int64)
        operands += ["", net.const([2, 3], np.int64)][len(operands) - 1 :]
    return net.op("Pad", x, *operands, **mode)


def _same(net, x, shape):
    if net.chance(0.5):
        return net.op("Identity", x)
    if net.opset < 12:
        return net.op("Dropout", x, ratio=0.3)
    return net.op("Dropout", x, *([net.const(0.3)] if net.chance(0.5) else []))


def _expand(net, x, shape):
    if net.chance(0.5):
        return net.op("Tile", x, net.const([1, net.one(1, 2), *(net.one(1, 2) for _ in shape[2:])], np.int64))
    if len(shape) == 4 and shape[2:] == (1, 1):
        return net.op("Expand", x, net.const([1, shape[1], net.whole(1, 3), net.whole(1, 3)], np.int64))
    return None


_LAYOUTS = (
    _reshape, _flatten, _squeeze, _unsqueeze, _transpose, _transpose, _shuffle, _slice, _slice, _split, _split,
    _gather, _blocks, _resize, _resize, _pad, _pad, _pad, _same, _expand,
)  # fmt: skip


def host(net):
    """What the host computes."""
    x = net.pick(lambda s: len(s) > 1)
    shape = net.shape(x)
    if net.size(x) > 8:
        x = net.op("Mul", x, net.const(2 / net.size(x)))
    if x is None:
        return
    name = net.one("Softmax", "LogSoftmax", "LRN", "InstanceNormalization", "LayerNormalization", "LpNormalization")
    if name == "LayerNormalization" and net.opset < 17:  # ONNX Runtime would run it, the model would not be valid
        name = "Softmax"
    if name in ("Softmax", "LogSoftmax", "LpNormalization"):
        y = net.op(name, x, axis=net.one(1, -1))
    elif name == "LRN":
        y = net.op(name, x, size=3, alpha=net.one(1e-4, 0.5), beta=0.75, bias=1.0)
    elif name == "InstanceNormalization":
        y = net.op(name, x, net.const(net.rng.uniform(0.5, 2, shape[1])), net.const(net.rng.normal(size=shape[1])))
    else:
        y = net.op(name, x, net.const(net.rng.uniform(0.5, 2, shape[-1])), axis=-1)
    net.give(y)


_FLOAT = (
    (conv, 8), (norm, 2), (clip, 2), (relu, 2), (function, 3), (prelu, 1), (chain, 2), (factor, 3), (pool, 3),
    (mean, 1), (dense, 2), (join, 4), (branch, 2), (excite, 1), (layout, 7), (host, 1),
    (channels_last, 3),
)  # fmt: skip
_STEPS = tuple(step for step, weight in _FLOAT for _ in range(weight))


def float_model(seed):
    """A float model.

    Returns
    -------
    Made
    """
    net = Net(seed, 11)
    net.opset = net.whole(11, NEWEST)
    rank = net.one(4, 4, 4, 4, 4, 4, 3, 2)
    shape = (net.one(1, 3, 3, 4, 5), *(net.whole(4, 11) for _ in range(rank - 2)))
    images = make_images(net.rng, shape)
    net.start(images)
    return grown(net, images, conv if rank > 2 else dense)


def grown(net, images, first):
    """The model that comes of a net whose input stands, with the step ``first`` and some others."""
    first(net)
    for _ in range(net.whole(2, 9)):
        net.one(*_STEPS)(net)
    if len(net.open) == 1:
        net.give(net.op("Relu", net.open[0]))
    taken = {i for n in net.nodes for i in n.input}
    ends = [x for x in net.open[1:] if x not in taken] or net.open[-1:]
    outputs = ends if net.chance(0.6) else ends[-1:]  # else some of the nodes are for nothing
    if net.chance(0.2):
        outputs = [*outputs, net.one(*net.open[1:])]
    outputs = [net.end(x) for x in dict.fromkeys(outputs)]
    return Made(net.model(list(dict.fromkeys(outputs))), images[:CALIBRATION], images[CALIBRATION:])
