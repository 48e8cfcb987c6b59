"""Writes vgg16.onnx: VGG-16 (configuration D of Simonyan and Zisserman, 2015) for 224x224 images, without weights.

Every weight is a placeholder, a ConstantOfShape, so that the file has a few kB instead of 553 MB; the weights are made
up when the file is read: ``superlip check vgg16.onnx --random-weights 0``.

    python make.py [-o PATH]
"""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.helper import make_node, make_tensor_value_info

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 3x3 convolutions; a block ends with a 2x2 maximum pooling."""

DENSE = (4096, 4096, 1000)


def network(size=224, blocks=BLOCKS, dense=DENSE):
    """The network as an ONNX model: input ``image`` (1, 3, size, size), output ``probabilities`` (1, dense[-1])."""
    nodes, shapes = [], []

    def placeholder(name, *shape):
        shapes.append(helper.make_tensor(f"{name}.shape", TensorProto.INT64, [len(shape)], shape))
        value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.02])
        nodes.append(make_node("ConstantOfShape", [f"{name}.shape"], [name], value=value, name=f"{name}.placeholder"))
        return name

    def node(op, name, inputs, output=None, **attributes):
        nodes.append(make_node(op, inputs, [output or f"{name}_out"], name=name, **attributes))
        return nodes[-1].output[0]

    x, channels = "image", 3
    for b, block in enumerate(blocks, start=1):
        for c, outputs in enumerate(block, start=1):
            name = f"conv{b}_{c}"
            weights = [placeholder(f"{name}.weight", outputs, channels, 3, 3), placeholder(f"{name}.bias", outputs)]
            x = node("Conv", name, [x, *weights], kernel_shape=[3, 3], pads=[1] * 4)
            x, channels = node("Relu", f"relu{b}_{c}", [x]), outputs
        x = node("MaxPool", f"pool{b}", [x], kernel_shape=[2, 2], strides=[2, 2])
    x, features = node("Flatten", "flatten", [x]), channels * (size >> len(blocks)) ** 2
    for number, outputs in enumerate(dense, start=len(blocks) + 1):
        name = f"fc{number}"
        weights = [placeholder(f"{name}.weight", outputs, features), placeholder(f"{name}.bias", outputs)]
        x, features = node("Gemm", name, [x, *weights], transB=1), outputs
        if number < len(blocks) + len(dense):
            x = node("Relu", f"relu{number}", [x])
    node("Softmax", "softmax", [x], "probabilities", axis=1)

    graph = helper.make_graph(
        nodes, "vgg16",
        [make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, dense[-1]])],
        shapes,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="superlip")
    model.ir_version = 8  # what opset 17 came with, so that old runtimes read it
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("vgg16.onnx"), metavar="PATH")
    path = parser.parse_args().output
    onnx.save(network(), path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
