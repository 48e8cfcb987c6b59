"""Models of every supported kind, from ONNX to the quantized graph, compared with ONNX Runtime layer by layer."""

import contextlib
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_nets import (
    NETS,
    SHAPE,
    blocks,
    build,
    channels_last_dense,
    decomposed_hardswish,
    inception,
    leaky,
    plain,
    residual,
    shuffle,
    split,
    upsample,
)
from onnx import TensorProto, helper
from onnx_models import FloatNet, model, node
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from ort_quantizer import Images
from paths import LIGHT

import superlip
from superlip import golden, graph
from superlip.graph import ir
from superlip.graph.session import open_session


def exact(differences):
    """Differences in layers that have to be equal: all but additions, products and averages, which are counted."""
    return [d for d in differences if d.mismatches and d.kind not in ("Add", "Mul", "Pool")]


def check_equal(g, images, most=1e-3):
    comparison = golden.reference(g, images, layers=True)
    rates = {}  # of nodes that the graph itself says may differ
    for note in g.notes:
        if "one step" in note:
            rates[note.split("'")[1]] = 5e-3
        if "ties" in note:
            rates[note.split("'")[1]] = 0.25
    assert [d for d in exact(comparison.layers) if d.name not in rates] == []
    assert all(d.largest <= 1 for d in comparison.layers)
    assert all(d.mismatches <= max(1, rates.get(d.name, most) * d.values) for d in comparison.layers)
    if comparison.layer_mismatches == 0:
        assert all(d.mismatches == 0 or (d.kind == "host" and d.largest < 1e-5) for d in comparison.outputs)
    assert comparison.layers
    return comparison


@pytest.mark.parametrize("make", NETS, ids=lambda f: f.__name__)
def test_float_net_equals_onnxruntime(make):
    float_model, net = build(make)
    g = graph.load(float_model, calibrate=net.images(8))
    images = net.images(6)
    comparison = check_equal(g, images)
    assert comparison.top1 == len(images) or comparison.layer_mismatches

    # and the quantized network is still the float one: correlation of the outputs over the images
    session = open_session(float_model.SerializeToString())
    theirs = np.concatenate([session.run(None, {"x": i[None]})[0].ravel() for i in images])
    ours = golden.dequantize(g, g.outputs[0], golden.run(g, golden.quantize_input(g, images))[g.outputs[0]]).ravel()
    assert np.corrcoef(theirs, ours)[0, 1] > 0.97


@pytest.mark.parametrize("make", NETS, ids=lambda f: f.__name__)
def test_check_agrees_with_load(make):
    float_model, _ = build(make)
    rows = graph.check(float_model)
    assert [r.op for r in rows] == [n.op_type for n in float_model.graph.node]
    assert {r.verdict for r in rows} <= {"accelerator", "rewritten", "folded", "host"}
    assert all(r.why for r in rows if r.verdict != "accelerator")


def quantized(float_model, net, folder, quant_format, kind):
    logging.getLogger().setLevel(logging.ERROR)
    path = Path(folder) / "quantized.onnx"
    fixed = onnx.ModelProto.FromString(float_model.SerializeToString())
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    quantize_static(
        fixed, str(path), Images("x", net.images(4)), quant_format=quant_format, per_channel=True, activation_type=kind,
        weight_type=QuantType.QInt8,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("quant_format", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize(
    "make", [plain, residual, leaky, inception, split, shuffle, upsample], ids=lambda f: f.__name__
)
def test_quantized_models(make, quant_format, kind, tmp_path):
    """Models that the user quantized, with ONNX Runtime's defaults, in both formats."""
    float_model, net = build(make)
    g = graph.load(quantized(float_model, net, tmp_path, quant_format, kind))
    assert g.values[g.input].is_unsigned == (kind == QuantType.QUInt8)
    check_equal(g, net.images(4))


def test_integers_for_a_float_input_are_numbers():
    float_model, net = build(plain)
    g = graph.load(float_model, calibrate=16 * net.images(4))
    images = np.rint(16 * net.images(3)).astype(np.int8)
    as_float, as_int8 = (golden.quantize_input(g, a) for a in (images.astype(np.float32), images))
    assert np.array_equal(as_float, as_int8) and len(np.unique(as_float)) > 20
    back = golden.dequantize(g, g.input, as_int8)
    assert np.abs(back - images).max() <= g.values[g.input].scale * 0.51 or np.abs(images).max() > back.max()
    with pytest.raises(TypeError, match="takes int8, not float32: quantize_input"):
        golden.run(g, images.astype(np.float32))
    assert golden.reference(g, images).mismatches == 0


def test_integers_for_an_integer_input_are_its_own_numbers():
    constants = {"s": np.float32(0.5), "z": np.uint8(100), "w": np.ones((1, 1, 1, 1), np.int8), "wz": np.int8(0)}
    conv = node("QLinearConv", ["x", "s", "z", "w", "s", "wz", "s", "z"], ["y"])
    g = graph.load(model([conv], {"x": (np.uint8, [1, 1, 1, 2])}, ["y"], constants))
    assert golden.quantize_input(g, np.array([[[[0, 255]]]], np.uint8)).ravel().tolist() == [-128, 127]
    assert golden.quantize_input(g, np.array([[[[-2.0, 3.0]]]])).ravel().tolist() == [96 - 128, 106 - 128]
    with pytest.raises(ValueError, match="takes images of uint8 or real numbers, not int64"):
        golden.quantize_input(g, np.array([[[[0, 255]]]]))


def test_structure_of_the_graph():
    """Relu, BatchNormalization and Flatten leave no node; tables sit in the convolution before them."""
    float_model, net = build(residual)
    g = graph.load(float_model, calibrate=net.images(4))
    assert [type(n) for n in g.nodes] == [ir.Conv, ir.Conv, ir.Conv, ir.Add, ir.Conv, ir.Host]
    assert g.values[g.outputs[0]].is_float and g.values[g.outputs[0]].shape == (10, 1, 1)
    assert g.nodes[-2].weights.shape == (10, 8, 12, 12)
    float_model, net = build(decomposed_hardswish)
    g = graph.load(float_model, calibrate=net.images(4))
    assert [type(n) for n in g.nodes] == [ir.Conv, ir.Conv]
    assert g.nodes[0].table is not None
    float_model, net = build(shuffle)
    g = graph.load(float_model, calibrate=net.images(4))
    assert [type(n) for n in g.nodes] == [ir.Conv, ir.Shuffle, ir.Conv]
    assert g.nodes[1].order.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    float_model, net = build(blocks)
    g = graph.load(float_model, calibrate=net.images(4))
    kinds = [ir.Conv, ir.SpaceToDepth, ir.Conv, ir.DepthToSpace, ir.Conv, ir.DepthToSpace]
    assert [type(n) for n in g.nodes] == kinds
    assert [n.mode for n in g.nodes if isinstance(n, ir.DepthToSpace)] == ["CRD", "DCR"]
    float_model, net = build(channels_last_dense)
    g = graph.load(float_model, calibrate=net.images(4))
    assert [type(n) for n in g.nodes] == [ir.Conv, ir.Conv, ir.Conv]


def test_zero_point_of_unsigned_weights_is_folded():
    constants = {
        "s": np.float32(0.02), "z": np.uint8(7), "w": np.arange(60, 180, 10, dtype=np.uint8).reshape(4, 3, 1, 1),
        "ws": np.float32(0.01), "wz": np.uint8(128), "ys": np.float32(0.05), "b": np.arange(4, dtype=np.int32),
    }  # fmt: skip
    conv = node("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "ys", "z", "b"], ["y"])
    g = graph.load(model([conv], {"x": (np.uint8, [1, 3, 8, 8])}, ["y"], constants))
    assert g.nodes[0].weights.min() == -68
    check_equal(g, np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8))
    constants["wz"] = np.uint8(20)
    g = graph.load(model([conv], {"x": (np.uint8, [1, 3, 8, 8])}, ["y"], constants))
    assert [type(n) for n in g.nodes] == [ir.Concat, ir.Conv] and g.nodes[1].weights.shape == (4, 6, 1, 1)
    check_equal(g, np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8))


def test_random_weights():
    """Placeholder weights become seeded random ones; others stay."""
    net = FloatNet(SHAPE)
    x = net.op("Conv", "x", net.op("ConstantOfShape", net.const([8, 6, 3, 3], np.int64)))
    x = net.conv(net.norm(x, 8), 4, 8)
    kept = next(c for c in net.constants.values() if c.ndim == 4)
    float_model = net.model(x)
    graphs = [graph.load(float_model, random_weights=s) for s in (0, 0, 1)]
    first, again, other = (g.nodes[0].weights for g in graphs)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.std() > 20
    assert np.array_equal(graphs[0].nodes[1].weights, graphs[2].nodes[1].weights)
    assert np.corrcoef(graphs[0].nodes[1].weights.ravel(), kept.ravel())[0, 1] > 0.95
    check_equal(graphs[0], net.images(2))


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet", "shufflenet",
        *(pytest.param(n, marks=pytest.mark.slow) for n in
          ("resnet50", "inception_v1", "inception_v2", "densenet121", "bvlc_alexnet", "zfnet512", "vgg19")),
    ],
)  # fmt: skip
def test_networks_of_the_onnx_wheel(name):
    path = LIGHT / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx package does not carry the graphs")
    g = graph.load(path, random_weights=0)
    image = np.random.default_rng(1).normal(size=(1, *g.values[g.input].shape)).astype(np.float32)
    comparison = check_equal(g, image)
    assert comparison.top1 == 1


# ---- mistakes


def refused(net, match, **arguments):
    with pytest.raises(graph.ModelError, match=match):
        graph.load(net, **({"random_weights": 0} | arguments))


def test_files_that_are_no_models(tmp_path):
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    refused(tmp_path / "missing.onnx", "does not exist")
    refused(tmp_path / "text.onnx", "not an ONNX file")
    refused(tmp_path / "empty.onnx", "no ONNX graph")
    refused(tmp_path, "folder")


def test_calibration_is_read_as_all_images_are(tmp_path):
    float_model, net = build(plain)
    refused(float_model, "calibrat", random_weights=None)
    refused(float_model, "does not exist", calibrate=tmp_path / "none.npz")
    refused(float_model, r"array of calibration images holds .* input 'x' takes", calibrate=np.zeros((4, 3, 12, 12)))
    images = net.images(2)
    np.savez(tmp_path / "good.npz", other=np.zeros(3), x=images)
    np.save(tmp_path / "good.npy", images)
    graphs = [graph.load(float_model, calibrate=c) for c in (images, tmp_path / "good.npz", tmp_path / "good.npy")]
    assert len({g.model for g in graphs}) == 1


def test_inputs_that_are_no_images():
    def with_shape(shape):
        net = FloatNet(SHAPE)
        float_model = net.model(net.conv("x", 4, 6))
        float_model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
        return float_model

    refused(with_shape([1, 6, 12, 12, 12]), "image input")
    refused(with_shape([1, 6, "height", 12]), r"no fixed size along axis 2 \(shape \(1, 6, height, 12\)\)")
    refused(with_shape(None), "no shape")
    refused(with_shape([1, 5, 12, 12]), "channels")


def test_nothing_to_accelerate():
    net = FloatNet(SHAPE)
    refused(net.model(net.op("Relu", "x")), "no convolution, dense layer")


def test_two_inputs():
    add = helper.make_node("Add", ["x", "y"], ["z"], name="add")
    net = model([add], {n: (np.float32, [1, 3, 4, 4]) for n in "xy"}, ["z"], {})
    images = {name: np.full((1, 3, 4, 4), number, np.float32) for name, number in (("x", 3), ("y", -40))}
    (sums,) = superlip.predict(net, images, calibrate=images).values()
    np.testing.assert_allclose(sums, -37, atol=0.15)
    refused(net, "a dict of arrays by the inputs' names", random_weights=None)


def test_no_exception_but_model_error_from_damaged_files(tmp_path):
    """Bytes flipped in a model file: it loads, or says what is wrong."""
    float_model, net = build(plain)
    raw = bytearray(float_model.SerializeToString())
    rng = np.random.default_rng(0)
    for i in range(30):
        damaged = raw.copy()
        for position in rng.integers(0, 600, 3):
            damaged[position] = rng.integers(256)
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(damaged)
        with contextlib.suppress(graph.ModelError):
            graph.load(path, calibrate=net.images(1))
