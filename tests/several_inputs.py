"""Networks of several inputs, for tests: arrays of images by input, and what they are in the graph."""

import numpy as np
from onnx_models import FloatNet, model


def several(shapes, make, seed=0):
    """(ModelProto, images by input) of a `FloatNet` that ``make`` writes; each input reaches ten times further."""
    net = FloatNet(next(iter(shapes.values())), seed)
    output = make(net)
    inputs = {name: (np.float32, ["N", *shape]) for name, shape in shapes.items()}
    images = {
        name: (10**i * net.rng.normal(size=(4, *shape))).astype(np.float32)
        for i, (name, shape) in enumerate(shapes.items())
    }
    return model(net.nodes, inputs, [output], net.constants), images


def images_of_one_size():
    """Two images, convolved and joined."""
    shape = (3, 8, 8)
    return several(
        {"left": shape, "right": shape},
        lambda net: net.conv(net.op("Concat", net.conv("left", 8, 3), net.conv("right", 4, 3), axis=1), 4, 12),
    )


def image_and_vector():
    """A scale for each channel of an image, and a vector of the dense layer behind it."""
    return several(
        {"image": (3, 8, 8), "vector": (5,)},
        lambda net: net.dense(
            net.op("Concat", net.op("Flatten", net.op("GlobalAveragePool", net.conv("image", 6, 3))), "vector", axis=1),
            4,
            11,
        ),
    )


def image_for_the_host():
    """An image of which only the host takes something, for the middle of the network."""
    return several(
        {"image": (3, 8, 8), "gate": (3, 8, 8)},
        lambda net: net.conv(
            net.op("Mul", net.conv("image", 6, 3), net.op("ReduceMax", net.op("LRN", "gate", size=3), axes=[1])), 4, 6
        ),
    )


NETWORKS = {f.__name__: f for f in (images_of_one_size, image_and_vector, image_for_the_host)}
