"""Trains the example network on scikit-learn's handwritten digits and writes the files beside this one.

    pip install '.[train]'
    python examples/digits/train.py

Writes ``digits.onnx`` (float32, batch norm folded), ``calibration.npz`` and ``heldout.npz``. Nothing is
chosen by looking at the held-out images: they are read once, after the training.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sklearn.datasets import load_digits
from torch import nn

HELD_OUT = 360  # 20 % of 1,797
CALIBRATION = 100
INPUT, OUTPUT = "image", "scores"


class Digits(nn.Module):
    """Five convolutions, one residual addition, two poolings, one dense layer: 44,362 weights and biases."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = _conv(1, 16), _conv(16, 32)
        self.block1_conv1, self.block1_conv2 = _conv(32, 32), _conv(32, 32)
        self.conv3 = _conv(32, 64)
        self.dense = nn.Linear(64 * 2 * 2, 10)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        x = self.conv1(x).relu()
        x = self.pool(self.conv2(x).relu())
        x = (x + self.block1_conv2(self.block1_conv1(x).relu())).relu()
        x = self.pool(self.conv3(x).relu())
        return self.dense(self.dropout(x.flatten(1)))


def _conv(channels_in, channels_out):
    """A 3x3 convolution and its batch norm; export folds the second into the first."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out))


def load_split():
    """(train images, train labels, held-out images, held-out labels), always the same split.

    Images are float32 in [0, 1], shape (N, 1, 8, 8): the scans' 0 to 16 divided by 16.
    """
    scans = load_digits()
    images = (scans.images / 16).astype(np.float32)[:, None]
    labels = scans.target.astype(np.int64)
    order = np.random.RandomState(0).permutation(len(images))  # RandomState's numbers are frozen for ever
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    return images[rest], labels[rest], images[held], labels[held]


def augment(images, generator):
    """Shift each image by up to one pixel, turn it by up to 9 degrees and scale it by up to 8 %."""
    count = len(images)
    angle, shift_x, shift_y, zoom = (torch.rand(4, count, generator=generator) * 2 - 1) * torch.tensor(
        [[0.16], [0.25], [0.25], [0.08]]
    )
    cos, sin = angle.cos() * (1 + zoom), angle.sin() * (1 + zoom)
    matrix = torch.stack([torch.stack([cos, -sin, shift_x], 1), torch.stack([sin, cos, shift_y], 1)], 1)
    grid = nn.functional.affine_grid(matrix, images.shape, align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def train(images, labels, *, epochs, seed):
    """The trained network, in evaluation mode; the same for the same seed and PyTorch version."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    network, batch = Digits(), 64
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        total = 0.0
        for picked in torch.randperm(len(images), generator=generator).split(batch):
            if len(picked) < batch:
                continue
            optimizer.zero_grad()
            loss = loss_of(network(augment(images[picked], generator)), labels[picked])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * batch
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3}  loss {total / len(images):.4f}", flush=True)
    return network.eval()


def fold(block):
    """Weights and biases, float32, of a convolution with its batch norm folded in."""
    conv, norm = block
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    weights = conv.weight * factor[:, None, None, None]
    bias = norm.bias - norm.running_mean * factor
    return weights.detach().numpy(), bias.detach().numpy()


def to_onnx(network):
    """The network as an ONNX model, batch size free, with names that say what is what."""
    nodes, weights = [], []

    def node(kind, name, inputs, **attributes):
        output = OUTPUT if name == "dense" else f"{name}_out"
        nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def parameters(name, *arrays):
        names = [f"{name}.{part}" for part in ("weight", "bias")]
        weights.extend(numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True))
        return names

    def conv(name, x, *, relu=True):
        block = getattr(network, name.replace("/", "_"))
        y = node("Conv", name, [x, *parameters(name, *fold(block))], kernel_shape=[3, 3], pads=[1] * 4)
        return node("Relu", f"{name}/relu", [y]) if relu else y

    def pool(name, x):
        return node("MaxPool", name, [x], kernel_shape=[2, 2], strides=[2, 2])

    x = pool("pool1", conv("conv2", conv("conv1", INPUT)))
    y = conv("block1/conv2", conv("block1/conv1", x), relu=False)
    x = node("Relu", "add1/relu", [node("Add", "add1", [x, y])])
    x = node("Flatten", "flatten", [pool("pool2", conv("conv3", x))])
    dense = network.dense.weight.detach().numpy(), network.dense.bias.detach().numpy()
    node("Gemm", "dense", [x, *parameters("dense", *dense)], transB=1)

    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="superlip")
    model.ir_version = 8  # what opset 17 came with, so that old runtimes read it
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


class Images(CalibrationDataReader):
    """Feeds calibration images to ONNX Runtime's quantizer, one by one."""

    def __init__(self, images):
        self.feeds = ({INPUT: image[None]} for image in images)

    def get_next(self):
        return next(self.feeds, None)


def accuracy(model, images, labels):
    """How many of ``images`` a model file gets right, as text."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    scores = np.concatenate([session.run(None, {INPUT: image[None]})[0] for image in images])
    return f"{(scores.argmax(1) == labels).sum()} of {len(labels)} right"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the files go")
    parser.add_argument("--validate", action="store_true", help="train on 80 %% of the training part, test on the rest")
    options = parser.parse_args()

    images, labels, held_images, held_labels = load_split()
    if options.validate:  # for whoever changes the recipe: held-out images stay unseen
        cut = len(images) * 4 // 5
        images, held_images = images[:cut], images[cut:]
        labels, held_labels = labels[:cut], labels[cut:]
    model = to_onnx(train(images, labels, epochs=options.epochs, seed=options.seed))

    with tempfile.TemporaryDirectory() as scratch:
        path, quantized = Path(scratch) / "digits.onnx", Path(scratch) / "digits_int8.onnx"
        onnx.save(model, path)
        print("float32:", accuracy(path, held_images, held_labels))
        quantize_static(
            path,
            quantized,
            Images(images[:CALIBRATION]),
            quant_format=QuantFormat.QOperator,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        print("int8:   ", accuracy(quantized, held_images, held_labels))
    if options.validate:
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, options.folder / "digits.onnx")
    np.savez_compressed(options.folder / "calibration.npz", **{INPUT: images[:CALIBRATION]})
    np.savez_compressed(options.folder / "heldout.npz", images=held_images, labels=held_labels)


if __name__ == "__main__":
    main()
