"""The networks that examples/*/make.py write: shapes and work of the originals, in files of a few kB."""

import importlib.util

import numpy as np
import onnx
import pytest
from paths import ROOT

import superlip
from superlip.graph import ir

EXAMPLES = ROOT / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(f"make_{name}", EXAMPLES / name / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sizes(model):
    """Shapes of all tensors, and the MACs of all Conv and Gemm."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    infos = [*inferred.input, *inferred.value_info, *inferred.output]
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in infos}
    macs = 0
    for node in inferred.node:
        if node.op_type in ("Conv", "Gemm"):
            macs += np.prod(shapes[node.input[1]]) * np.prod(shapes[node.output[0]][2:], dtype=int)
    return shapes, macs


def test_vgg16():
    model = example("vgg16").network()
    shapes, macs = sizes(model)
    assert macs == 15_470_264_320  # 15.35 G in the convolutions, 124 M in the dense layers
    assert shapes["pool5_out"] == (1, 512, 7, 7)
    assert shapes["fc6.weight"] == (4096, 25088)
    assert shapes["probabilities"] == (1, 1000)
    parameters = sum(np.prod(shape) for name, shape in shapes.items() if name.endswith((".weight", ".bias")))
    assert parameters == 138_357_544
    assert model.ByteSize() < 16_000


def test_tiny_yolov2():
    model = example("tiny_yolov2").network()
    shapes, macs = sizes(model)
    assert macs == 3_485_520_896
    assert [shapes[f"pool{n}_out"][1:] for n in range(1, 7)] == [
        (16, 208, 208), (32, 104, 104), (64, 52, 52), (128, 26, 26), (256, 13, 13), (512, 13, 13),
    ]  # fmt: skip
    assert shapes["grid"] == (1, 125, 13, 13)
    assert model.ByteSize() < 16_000


def test_each_block_of_tiny_yolov2_is_one_convolution():
    """BatchNormalization is in the weights, LeakyRelu is the convolution's table."""
    model = example("tiny_yolov2").network(size=64, channels=(8,) * 8, outputs=10)
    graph = superlip.load(model, random_weights=0)
    convolutions = [node for node in graph.nodes if isinstance(node, ir.Conv)]
    assert len(convolutions) == 9
    assert all(node.table is not None for node in convolutions[:-1])
    assert all(isinstance(node, ir.Conv | ir.Pool) for node in graph.nodes)
    assert len({tuple(node.weights.reshape(-1)[:64]) for node in convolutions}) == 9  # weights were made up


@pytest.mark.parametrize("name", ["vgg16", "tiny_yolov2"])
def test_command_writes_a_file(name, tmp_path, monkeypatch, capsys):
    path = tmp_path / "net.onnx"
    monkeypatch.setattr("sys.argv", ["make.py", "-o", str(path)])
    example(name).main()
    assert str(path) in capsys.readouterr().out
    onnx.checker.check_model(str(path))
