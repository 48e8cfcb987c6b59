"""Networks as Keras has them, with channels last, and the Transposes that tf2onnx writes around convolutions."""

import numpy as np
from qdq_models import QdqNet

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def last(net, x):
    return net.op("Transpose", x, perm=LAST)


def first(net, x):
    return net.op("Transpose", x, perm=FIRST)


def conv(net, x, m, n, k=1):
    if isinstance(net, QdqNet):
        return net.op("Conv", x, net.weights(m, n, k), pads=[k // 2] * 4)
    return net.conv(x, m, n, k)


def real(net, numbers):
    """A constant, quantized in a quantized net."""
    if not isinstance(net, QdqNet):
        return net.const(numbers)
    return net.dequantize(net.const(np.rint(numbers / 0.02), np.int8), scale=0.02)


def gate(net, x, channels, *, keeps, both=lambda x, **scale: x):
    """Squeeze and excitation of a tensor with channels last, its convolutions between Transposes."""
    y = both(net.op("ReduceMean", x, axes=[1, 2], keepdims=keeps))
    if not keeps:
        y = net.op("Reshape", y, net.const([1, 1, 1, channels], np.int64))
    for active in ("Relu", "Sigmoid"):
        y = first(net, y)
        y = last(net, both(conv(net, y, channels, channels)))
        y = both(net.op(active, y), scale=0.0137)
    return both(net.op("Mul", x, y))


def keras(net, both=lambda x, **scale: x):
    """As tf2onnx writes MobileNetV3: a bias, hard swish, Pad, a gate and an addition with channels last."""
    x = first(net, both("x"))
    x = last(net, both(conv(net, x, 4, 3, 3)))
    x = both(net.op("Add", x, real(net, 0.3 * net.rng.normal(size=4))))
    x = both(net.op("Relu", x))
    y = gate(net, x, 4, keeps=1, both=both)
    y = first(net, net.op("Pad", y, net.const([0, 1, 0, 0, 0, 0, 1, 0], np.int64)))
    y = last(net, both(conv(net, y, 6, 4)))
    z = last(net, both(conv(net, first(net, gate(net, x, 4, keeps=0, both=both)), 6, 4)))
    z = net.op("Pad", z, net.const([0, 1, 0, 0, 0, 0, 1, 0], np.int64))
    x = both(net.op("Add", y, both(z)))
    return both(conv(net, first(net, both(net.op("Concat", x, x, axis=3))), 4, 12, 3))
