"""Float networks of every kind of layer that loads, each a function of a `FloatNet` that returns its output."""

import numpy as np
from onnx_models import FloatNet

SHAPE = (6, 12, 12)


def plain(net):
    x = net.op("Relu", net.conv("x", 8, 6))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("Relu", net.conv(x, 16, 8, strides=[2, 2]))
    x = net.op("GlobalAveragePool", x)
    return net.dense(net.op("Flatten", x), 10, 16)


def residual(net):
    x = net.op("Relu", net.norm(net.conv("x", 8, 6), 8))
    y = net.norm(net.conv(net.op("Relu", net.norm(net.conv(x, 8, 8), 8)), 8, 8), 8)
    return net.op("Softmax", net.dense(net.op("Flatten", net.op("Relu", net.op("Add", x, y))), 10, 8 * 144), axis=1)


def preactivation(net):
    """Relu beside another user of its operand, and BatchNormalization that no Conv can take in."""
    x = net.conv("x", 8, 6)
    y = net.conv(net.op("Relu", net.norm(net.op("MaxPool", x, kernel_shape=[1, 1]), 8)), 8, 8)
    x = net.op("Add", x, y)
    y = net.conv(net.op("Relu", x), 8, 8)
    return net.conv(net.op("Relu", net.op("Add", x, y)), 4, 8)


def mobile(net):
    x = net.op("Clip", net.conv("x", 8, 6), net.const(0.0), net.const(6.0))
    x = net.op("HardSwish", net.norm(net.conv(x, 8, 8, groups=8), 8))
    squeezed = net.op("GlobalAveragePool", x)
    squeezed = net.op("HardSigmoid", net.conv(net.op("Relu", net.conv(squeezed, 4, 8, 1)), 8, 4, 1), alpha=1 / 6)
    x = net.conv(net.op("Mul", x, squeezed), 12, 8, 1)
    return net.op("ReduceMean", x, axes=[2, 3], keepdims=0)


def decomposed_hardswish(net):
    x = net.conv("x", 8, 6)
    gate = net.op("Clip", net.op("Add", x, net.const(3.0)), net.const(0.0), net.const(6.0))
    x = net.op("Div", net.op("Mul", x, gate), net.const(6.0))
    return net.conv(x, 4, 8)


def swish(net):
    x = net.conv("x", 8, 6)
    x = net.op("Mul", x, net.op("Sigmoid", x))
    return net.op("Tanh", net.conv(x, 4, 8))


def leaky(net):
    x = net.op("LeakyRelu", net.conv("x", 8, 6), alpha=0.1)
    x = net.op("PRelu", net.conv(x, 8, 8), net.const(np.full((8, 1, 1), 0.25)))
    return net.op("Sigmoid", net.conv(x, 4, 8))


def inception(net):
    parts = [
        net.op("Relu", net.conv("x", 4, 6, 1)),
        net.op("Relu", net.conv("x", 5, 6, 3)),
        net.conv(net.op("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 3, 6, 1),
        net.op("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    x = net.op("Concat", *parts, axis=1)
    return net.conv(net.op("Concat", x, net.op("Relu", net.norm(x, 18)), axis=1), 4, 36, 1)


def split(net):
    left, right = net.op("Split", net.conv("x", 8, 6), net.const([4, 4], np.int64), outputs=2, axis=1)
    right = net.op("Relu", net.conv(right, 4, 4))
    middle = net.op("Slice", net.op("Concat", right, left, axis=1), *(net.const([i], np.int64) for i in (2, 6, 1)))
    return net.conv(middle, 5, 4)


def shuffle(net):
    x = net.conv("x", 8, 6)
    x = net.op("Reshape", x, net.const([1, 2, 4, 12, 12], np.int64))
    x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = net.op("Reshape", x, net.const([1, 8, 12, 12], np.int64))
    return net.conv(x, 4, 8, groups=2)


def upsample(net):
    x = net.op("Relu", net.conv("x", 8, 6, strides=[2, 2]))
    x = net.op("Resize", x, "", net.const([1, 1, 2, 2]), mode="nearest", nearest_mode="floor")
    x = net.op("Concat", x, "x", axis=1)
    x = net.op("Pad", net.conv(x, 8, 14), net.const([0, 0, 1, 2, 0, 0, 0, 1], np.int64), net.const(0.5))
    return net.conv(x, 4, 8)


def blocks(net):
    x = net.op("SpaceToDepth", net.conv("x", 4, 6), blocksize=2)
    x = net.op("DepthToSpace", net.conv(x, 16, 16), blocksize=2, mode="CRD")
    return net.op("DepthToSpace", net.conv(x, 8, 4), blocksize=2)


def padded(net):
    x = net.op("Pad", "x", net.const([0, 0, 0, 1, 0, 0, 1, 2], np.int64))
    x = net.op("Relu", net.conv(x, 8, 6, strides=[2, 2], pads=[0, 0, 0, 0]))
    x = net.conv(x, 4, 8, 5, dilations=[2, 1])
    weights = net.const(net.rng.normal(size=(5, 4, 2, 2)))
    return net.op("Conv", x, weights, auto_pad="SAME_UPPER")


def normalized(net):
    """LRN between convolutions, on the host, and max pooling right behind it."""
    x = net.op("LRN", net.op("Relu", net.conv("x", 8, 6)), size=5, alpha=0.1)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = net.op("Sum", net.conv(x, 8, 8), x, net.conv(x, 8, 8))
    return net.op("LogSoftmax", net.dense(net.op("Flatten", x), 10, 200), axis=1)


def channels_last_dense(net):
    """A dense layer on the transposed map, MatMul with the bias added to it, factors in front."""
    x = net.op("Mul", net.op("Sub", "x", net.const(np.linspace(0, 1, 6).reshape(6, 1, 1))), net.const(0.5))
    x = net.op("Transpose", net.op("Relu", net.conv(x, 8, 6, strides=[3, 3])), perm=[0, 2, 3, 1])
    x = net.op("Reshape", x, net.const([1, 128], np.int64))
    weights = net.const(net.rng.normal(size=(128, 10)) / 11)
    return net.op("Add", net.op("MatMul", x, weights), net.const(net.rng.normal(size=10)))


NETS = [
    plain, residual, preactivation, mobile, decomposed_hardswish, swish, leaky, inception, split, shuffle, upsample,
    blocks, padded, normalized, channels_last_dense,
]  # fmt: skip


def build(make, seed=0):
    net = FloatNet(SHAPE, seed)
    return net.model(make(net)), net
