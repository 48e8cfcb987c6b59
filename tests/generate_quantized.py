"""Random Q/DQ and QOperator models: the steps of the float ones on nets that write each node in integers."""

import numpy as np
from generate import CALIBRATION, NEWEST, OTHERS, Net, make_images
from generate_float import conv, dense, grown
from onnx import TensorProto, helper

_INTEGER = frozenset(["Conv", "Gemm", "MatMul", "Add", "Mul", "Sub", "Concat", "AveragePool", "GlobalAveragePool"])
"""Operators that a quantizer puts between pairs, whatever comes before them."""


class QuantizedNet(Net):
    """What both formats share: scales and zero points, and weights in integers.

    ``scales`` is a dict of tensor name to (scale, zero point): of an integer tensor, or of what it stands for.
    """

    folds_norms = False

    def __init__(self, seed, opset):
        super().__init__(seed, opset)
        self.kind = self.one(np.uint8, np.uint8, np.int8)
        self.per_channel = self.chance(0.6)
        self.scales, self._weights = {}, {}

    def start(self, images):
        """Take images for the input; ``images`` may be integers already."""
        self.values["x"] = [image[None] for image in images[:CALIBRATION]]
        if images.dtype != np.float32:
            self.scales["x"] = np.float32(10 ** self.rng.uniform(-2, 1)), images.dtype.type(self.whole(0, 120))
        self.give("x")

    def choose(self, numbers):
        """Scale and zero point for real numbers, as some quantizer or other would choose them."""
        kind = self.kind if self.chance(0.9) else self.one(np.uint8, np.int8)
        low, high = min(0.0, float(numbers.min())), max(0.0, float(numbers.max()))
        limits = np.iinfo(kind)
        if high == low:
            return np.float32(0.1), kind(0)
        how = self.whole(0, 5)
        if how == 0 and (low == 0 or kind == np.int8):  # zero point 0
            scale, zero = max(high, -low) / limits.max, 0
        elif how == 1:  # any zero point
            zero = self.whole(limits.min + 30, limits.max - 30)
            scale = max(high / (limits.max - zero), low / (limits.min - zero))
        else:
            scale = (high - low) / 255
            zero = round(limits.min - low / scale)
        if self.chance(0.15):
            scale = 2.0 ** np.ceil(np.log2(scale))
        return np.float32(scale), kind(np.clip(zero, limits.min, limits.max))

    def integers(self, name, along):
        """(name of int8 or uint8 weights, scale, zero point) of float weights, outputs along an axis."""
        weights = np.moveaxis(self.consts[name].astype(np.float64), along, 0)
        rows = weights.reshape(len(weights), -1) if self.per_channel else weights.reshape(1, -1)
        scale = np.maximum(np.abs(rows).max(axis=1), 1e-20) / 127
        zero = np.zeros(len(scale), np.int64)
        kind = np.int8
        if self.chance(0.15):  # signs of their own; such as leave int8 are for the refusals
            zero = np.full(len(scale), 128 if self.chance(0.9) else self.whole(100, 140))
            kind, scale = np.uint8, scale * 1.3
        elif self.chance(0.1):
            zero, scale = self.rng.integers(-20, 21, len(scale)), scale * 1.3
        along_all = (-1, *(1 for _ in weights.shape[1:]))
        steps = np.rint(weights / scale.reshape(along_all)) + zero.reshape(along_all)
        limits = np.iinfo(kind)
        steps = np.moveaxis(np.clip(steps, limits.min, limits.max), 0, along)
        scale, zero = scale.astype(np.float32), zero.astype(kind)
        return self.const(steps, kind), scale, zero

    def finish_scale(self, array):
        return self.const(array if array.size > 1 else array.reshape(()), array.dtype)


class QdqNet(QuantizedNet):
    """Float operators between pairs; ``open`` tensors are dequantized ones, and now and then one without its pair."""

    def give(self, *names):
        for name in names:
            if name is not None:
                bare = name in self.scales or (name != "x" and self.chance(0.12))
                super().give(name if bare else self.pair(name))

    def end(self, x):
        """The tensor, or what it is dequantized from: then the output is of integers."""
        maker = next((n for n in self.nodes if x in n.output), None)
        return maker.input[0] if maker and maker.op_type == "DequantizeLinear" and self.chance(0.1) else x

    def start(self, images):
        if images.dtype == np.float32:
            return super().start(images)
        self.values["x"] = [image[None] for image in images[:CALIBRATION]]
        scale = np.float32(10 ** self.rng.uniform(-2, 1)), images.dtype.type(self.whole(0, 120))
        return super().give(self._dequantize("x", *scale))

    def pair(self, x):
        """QuantizeLinear, and one or two DequantizeLinear that take it."""
        if self.values[x][0].dtype != np.float32:
            return None
        scale, zero = self.choose(self.numbers(x))
        if len(self.shape(x)) in (3, 4) and self.chance(0.08):
            return self._pair_by_channel(x, scale, zero)
        operands, given = [x, self.const(scale)], {}
        if zero or zero.dtype == np.int8 or self.chance(0.5):
            operands.append(self.const(zero, zero.dtype))
        if self.opset >= 21 and self.chance(0.3):
            given["output_dtype"] = TensorProto.INT8 if zero.dtype == np.int8 else TensorProto.UINT8
            if not zero and self.chance(0.5):
                operands = operands[:2]
        integers = super().op("QuantizeLinear", *operands, **given)
        if self.chance(0.1):
            super().give(self._dequantize(integers, scale, zero))
        return self._dequantize(integers, scale, zero)

    def _pair_by_channel(self, x, scale, zero):
        """A scale for each channel, as some quantizers have it in front of depthwise convolutions."""
        channels = self.shape(x)[1]
        scales = (scale * self.rng.uniform(0.6, 1, channels)).astype(np.float32)
        operands = [self.const(scales), self.const(np.full(channels, zero), zero.dtype)]
        integers = super().op("QuantizeLinear", x, *operands, axis=1)
        real = integers and super().op("DequantizeLinear", integers, *operands, axis=1)
        if real is not None:
            self.scales[real] = scale, zero
        return real

    def _dequantize(self, integers, scale, zero):
        if integers is None:
            return None
        operands = [integers, self.const(scale)]
        if zero or self.chance(0.7):
            operands.append(self.const(zero, zero.dtype))
        real = super().op("DequantizeLinear", *operands)
        if real is not None:
            self.scales[real] = scale, zero
        return real

    def op(self, op, *inputs, outputs=1, domain="", **attributes):
        inputs = list(inputs)
        if op in _INTEGER:
            inputs = [self._paired(i) for i in inputs]
        if op in ("Conv", "Gemm", "MatMul") and len(inputs) > 1 and inputs[1] in self.consts:
            inputs[1:] = self._weights_of(op, inputs, attributes)
        if op == "Pad" and len(inputs) > 2 and inputs[2] in self.consts and inputs[0] in self.scales:
            scale = self.scales[inputs[0]][0]  # superlip rounds what is added to steps of what it is added to
            inputs[2] = self.const(np.rint(self.consts[inputs[2]] / scale) * scale)
        if None in inputs:
            return None
        return super().op(op, *inputs, outputs=outputs, domain=domain, **attributes)

    def _paired(self, x):
        is_float = x in self.values and self.values[x][0].dtype == np.float32
        return self.pair(x) if is_float and x not in self.scales and self.chance(0.97) else x

    def _weights_of(self, op, inputs, attributes):
        along = 1 if op == "MatMul" or (op == "Gemm" and not attributes.get("transB", 0)) else 0
        name = inputs[1]
        if name not in self._weights or self.chance(0.3):
            integers, scale, zero = self.integers(name, along)
            operands = [integers, self.finish_scale(scale)]
            if zero.any() or self.chance(0.5):
                operands.append(self.finish_scale(zero))
            given = {"axis": along} if scale.size > 1 or self.chance(0.3) else {}
            self.values[name] = [self.consts[name][None]] * CALIBRATION  # so that the node is run
            result = self._constant_dequantize(operands, given)
            del self.values[name]
            self._weights[name] = result, scale
        weights, scale = self._weights[name]
        return [weights, *(self._bias_of(b, inputs[0], scale) for b in inputs[2:])]

    def _constant_dequantize(self, operands, given):
        name = f"n{len(self.nodes)}"
        node = helper.make_node("DequantizeLinear", operands, [f"{name}_y"], name=name, **given)
        self.nodes.append(node)
        q, scale = (self.consts[o] for o in operands[:2])
        zero = self.consts[operands[2]] if len(operands) > 2 else np.zeros((), q.dtype)
        along = [1] * q.ndim
        if scale.size > 1:
            along[given["axis"]] = -1
            scale, zero = scale.reshape(along), zero.reshape(along)
        real = (q.astype(np.float32) - zero.astype(np.float32)) * scale
        self.values[f"{name}_y"] = [real.astype(np.float32)] * CALIBRATION
        return f"{name}_y"

    def _bias_of(self, name, source, scale):
        """The bias as it is, or in int32 at the scale of the products."""
        if source not in self.scales or name not in self.consts or self.chance(0.3):
            return name
        bias = self.consts[name]
        exact = np.float32(self.scales[source][0]) * scale
        steps = np.rint(bias.astype(np.float64) / exact)
        if np.abs(steps).max() >= 2**31 or (exact.size > 1 and exact.size != bias.size):
            return name
        operands = [self.const(steps, np.int32), self.finish_scale(exact.astype(np.float32))]
        if self.chance(0.4):
            operands.append(self.finish_scale(np.zeros(exact.shape, np.int32)))
        return self._constant_dequantize(operands, {"axis": 0} if exact.size > 1 else {})


class QOperatorNet(QuantizedNet):
    """Operators of integers; ``open`` tensors are integers, and real numbers are what they stand for."""

    def give(self, *names):
        super().give(*(self.quantize(name) for name in names if name is not None))

    def end(self, x):
        """The integers, or what they stand for."""
        if self.chance(0.2) or x not in self.scales:
            return x
        return self.real(x)

    def numbers(self, x):
        if x not in self.scales:
            return super().numbers(x)
        scale, zero = self.scales[x]
        return (super().numbers(x) - float(zero)) * float(scale)

    def quantize(self, x):
        if x in self.scales or x not in self.values:
            return x
        params = self.choose(self.numbers(x))
        return self._marked(super().op("QuantizeLinear", x, *self._params(params)), params)

    def real(self, x):
        """The float tensor that integers stand for."""
        return super().op("DequantizeLinear", x, *self._params(self.scales[x])) if x in self.scales else x

    def _params(self, params):
        return [self.const(params[0]), self.const(params[1], params[1].dtype)]

    def _marked(self, names, params):
        for name in names if isinstance(names, list) else [names]:
            if name is not None:
                self.scales[name] = params
        return names

    def op(self, op, *inputs, outputs=1, domain="", **attributes):
        if not all(i in self.values or i in self.consts or not i for i in inputs):
            return None
        moving = [i for i in inputs if i in self.values]
        if not moving or op in ("QuantizeLinear", "DequantizeLinear"):
            return super().op(op, *inputs, outputs=outputs, domain=domain, **attributes)
        if op in _MOVERS and moving[0] in self.scales:
            found = self._moved(op, list(inputs), outputs, attributes)
            if found is not None:
                return self._marked(found, self.scales[moving[0]])
        writer = _WRITERS.get(op)
        if writer is not None and len(set(inputs)) == len(inputs):
            found = self._written(writer, op, list(inputs), attributes)
            if found is not None or op in ("Conv", "Gemm", "MatMul"):  # there are no float weights in such a model
                return found
        reals = [self.real(i) if i in self.values else i for i in inputs]
        if None in reals:
            return None
        found = super().op(op, *reals, outputs=outputs, domain=domain, **attributes)
        if isinstance(found, list):
            return [self.quantize(f) for f in found]
        return found if found is None else self.quantize(found)

    def _moved(self, op, inputs, outputs, attributes):
        scale, zero = self.scales[inputs[0]]
        if op == "Pad" and len(inputs) > 2 and inputs[2] in self.consts:
            limits = np.iinfo(zero.dtype)
            number = np.clip(np.rint(self.consts[inputs[2]] / scale) + float(zero), limits.min, limits.max)
            inputs[2] = self.const(number, zero.dtype)
        if op == "Clip":
            limits = np.iinfo(zero.dtype)
            for position, name in enumerate(inputs[1:], start=1):
                if name:
                    number = np.clip(np.rint(self.consts[name] / scale) + float(zero), limits.min, limits.max)
                    inputs[position] = self.const(number, zero.dtype)
        return super().op(op, *inputs, outputs=outputs, **attributes)

    def _written(self, writer, op, inputs, attributes):
        """A node of integers in the place of a float one, or None where it does not work."""
        inputs = [self.quantize(i) if i in self.values else i for i in inputs]
        if None in inputs:
            return None
        reals = {}
        for name in inputs:
            if name in self.scales:
                scale, zero = self.scales[name]
                reals[name] = [((a.astype(np.float32) - np.float32(zero)) * scale) for a in self.values[name]]
        node = helper.make_node(op, inputs, ["result"], **attributes)
        found = self.computed(node, ["result"], reals)
        if found is None:
            return None
        params = self.choose(np.concatenate([a.reshape(-1) for a in found["result"]]))
        written = writer(self, op, inputs, attributes, params)
        if written is None:
            return None
        name, operands, domain, given = written
        return self._marked(super().op(name, *operands, domain=domain, **given), params)

    def quantized(self, x):
        """Operands of an operator for a tensor or a constant."""
        if x in self.scales:
            return [x, *self._params(self.scales[x])]
        params = self.choose(self.consts[x])
        limits = np.iinfo(params[1].dtype)
        steps = np.clip(np.rint(self.consts[x] / params[0]) + float(params[1]), limits.min, limits.max)
        return [self.const(steps, params[1].dtype), *self._params(params)]


MICROSOFT = "com.microsoft"
_MOVERS = frozenset(
    [
        "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "DepthToSpace",
        "SpaceToDepth", "Resize", "Pad", "Identity", "Tile", "Expand", "MaxPool", "Clip",
    ]
)  # fmt: skip


def _weighted(net, op, inputs, attributes, params):
    """QLinearConv, QGemm and QLinearMatMul."""
    if inputs[0] not in net.scales or inputs[1] not in net.consts:
        return None
    transposed = op == "Conv" or attributes.get("transB", 0)
    integers, scale, zero = net.integers(inputs[1], 0 if transposed else 1)
    weights = [integers, net.finish_scale(scale), net.finish_scale(zero)]
    result = net._params(params)
    if op == "MatMul":
        return "QLinearMatMul", [*net.quantized(inputs[0]), *weights, *result], "", {}
    bias = []
    if len(inputs) > 2:
        exact = np.float64(net.scales[inputs[0]][0]) * scale * attributes.get("alpha", 1.0)
        steps = np.rint(net.consts[inputs[2]].reshape(-1) * attributes.get("beta", 1.0) / exact)
        if np.abs(steps).max() >= 2**31:
            return None
        bias = [net.const(steps, np.int32)]
    if op == "Conv":
        return "QLinearConv", [*net.quantized(inputs[0]), *weights, *result, *bias], "", attributes
    given = {k: v for k, v in attributes.items() if k in ("transB", "alpha")}
    return "QGemm", [*net.quantized(inputs[0]), *weights, *(bias or [""]), *result], MICROSOFT, given


def _of_operands(net, op, inputs, attributes, params):
    if not any(i in net.scales for i in inputs):
        return None
    operands = [q for i in inputs for q in net.quantized(i)]
    return f"QLinear{op}", [*operands, *net._params(params)], MICROSOFT, attributes


def _joined(net, op, inputs, attributes, params):
    operands = [q for i in inputs for q in net.quantized(i)]
    return "QLinearConcat", [*net._params(params), *operands], MICROSOFT, attributes


def _mean(net, op, inputs, attributes, params):
    axes = attributes.get("axes") or net.consts[inputs[1]].tolist()
    given = {"axes": axes, "keepdims": attributes.get("keepdims", 1)}
    return "QLinearReduceMean", [*net.quantized(inputs[0]), *net._params(params)], MICROSOFT, given


def _softmax(net, op, inputs, attributes, params):
    kind = params[1].dtype.type
    params = np.float32(1 / 256), kind(np.iinfo(kind).min)
    given = attributes | {"opset": net.opset}
    return "QLinearSoftmax", [*net.quantized(inputs[0]), *net._params(params)], MICROSOFT, given


_WRITERS = {
    "Conv": _weighted,
    "Gemm": _weighted,
    "MatMul": _weighted,
    **dict.fromkeys(("Add", "Mul", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid"), _of_operands),
    "Concat": _joined,
    "ReduceMean": _mean,
}


def _images(net, shape):
    """Images, of the input's own integers at times."""
    if net.chance(0.8):
        return make_images(net.rng, shape)
    limits = np.iinfo(net.kind)
    return net.rng.integers(limits.min, limits.max + 1, (CALIBRATION + OTHERS, *shape)).astype(net.kind)


def _model(make, seed, oldest):
    net = make(seed, oldest)
    net.opset = net.whole(oldest, NEWEST)
    rank = net.one(4, 4, 4, 4, 4, 4, 3, 2)
    shape = (net.one(1, 3, 3, 4, 5), *(net.whole(4, 11) for _ in range(rank - 2)))
    images = _images(net, shape)
    net.start(images)
    return grown(net, images, conv if rank > 2 else dense)


def qdq_model(seed):
    """A Q/DQ model, ``Made``."""
    return _model(QdqNet, seed, 13)


def qoperator_model(seed):
    """A model of integer operators, ``Made``."""
    return _model(QOperatorNet, seed, 13)
