"""Writes tiny_yolov2.onnx: Tiny-YOLOv2 (Pascal VOC, 20 classes) for 416x416 images, without weights.

Every weight is a placeholder, a ConstantOfShape, so that the file has a few kB instead of 63 MB; the weights are made
up when the file is read: ``superlip check tiny_yolov2.onnx --random-weights 0``.

    python make.py [-o PATH]
"""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.helper import make_node, make_tensor_value_info

CHANNELS = (16, 32, 64, 128, 256, 512, 1024, 1024)
"""Output channels of the 3x3 convolutions, each with BatchNormalization and LeakyRelu; the first six with pooling."""

OUTPUTS = 125
"""Of the last convolution, 1x1: 5 anchor boxes of 4 coordinates, a confidence and 20 classes."""


def network(size=416, channels=CHANNELS, outputs=OUTPUTS):
    """The network as an ONNX model: input ``image`` (1, 3, size, size), output ``grid`` (1, outputs, size/32, .)."""
    nodes, shapes = [], []

    def placeholder(name, *shape):
        shapes.append(helper.make_tensor(f"{name}.shape", TensorProto.INT64, [len(shape)], shape))
        value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.02])
        nodes.append(make_node("ConstantOfShape", [f"{name}.shape"], [name], value=value, name=f"{name}.placeholder"))
        return name

    def node(op, name, inputs, output=None, **attributes):
        nodes.append(make_node(op, inputs, [output or f"{name}_out"], name=name, **attributes))
        return nodes[-1].output[0]

    x, inputs = "image", 3
    for number, count in enumerate(channels, start=1):
        name = f"conv{number}"
        weight = placeholder(f"{name}.weight", count, inputs, 3, 3)
        x = node("Conv", name, [x, weight], kernel_shape=[3, 3], pads=[1] * 4)
        norm = [placeholder(f"norm{number}.{part}", count) for part in ("scale", "shift", "mean", "variance")]
        x = node("BatchNormalization", f"norm{number}", [x, *norm])
        x, inputs = node("LeakyRelu", f"leaky{number}", [x], alpha=0.1), count
        if number < 6:
            x = node("MaxPool", f"pool{number}", [x], kernel_shape=[2, 2], strides=[2, 2])
        elif number == 6:  # the size stays
            x = node("MaxPool", f"pool{number}", [x], kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    name = f"conv{len(channels) + 1}"
    weights = [placeholder(f"{name}.weight", outputs, inputs, 1, 1), placeholder(f"{name}.bias", outputs)]
    node("Conv", name, [x, *weights], "grid", kernel_shape=[1, 1])

    graph = helper.make_graph(
        nodes, "tiny_yolov2",
        [make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [make_tensor_value_info("grid", TensorProto.FLOAT, [1, outputs, size // 32, size // 32])],
        shapes,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="superlip")
    model.ir_version = 8  # what opset 17 came with, so that old runtimes read it
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).with_name("tiny_yolov2.onnx"), metavar="PATH"
    )
    path = parser.parse_args().output
    onnx.save(network(), path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
