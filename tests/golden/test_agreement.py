"""Quantized networks held against the model as given: what is said, and when it is refused."""

import json

import numpy as np
import onnx
import pytest
from onnx_models import FloatNet

import superlip
from superlip import golden
from superlip.cli import main
from superlip.golden.agreement import Agreement, OutputAgreement, decibels
from superlip.run.accuracy import judge, onnxruntime_quantized


def small(net):
    x = net.op("Relu", net.conv("x", 8, 3))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return net.dense(net.op("Flatten", net.conv(x, 4, 8)), 12, 4 * 36)


@pytest.fixture
def net():
    net = FloatNet((3, 12, 12))
    return net, net.model(small(net))


def agreement(db=36.0, same_class=1.0, images=20, **more):
    output = OutputAgreement("y", 100, db, 1, 0.1, 1.0, 0.1)
    return Agreement("images", images, "float", [output], same_class, **more)


@pytest.mark.parametrize(
    ("made", "poor", "useless"),
    [
        (agreement(), False, False),
        (agreement(19.9), True, False),
        (agreement(9.9), True, True),
        (agreement(same_class=0.9), True, False),
        (agreement(same_class=0.75), True, True),
        (agreement(same_class=0.75, images=4), True, False),  # one image of four
        (agreement(same_class=0.5, images=4), True, True),
        (agreement(same_class=0.5, has_random_weights=True), False, False),
        (agreement(5.0, has_random_weights=True), True, False),
        (agreement(same_class=None), False, False),
    ],
)
def test_thresholds(made, poor, useless):
    assert (made.is_poor, made.is_useless) == (poor, useless)
    assert (made.warning is not None) == poor
    if useless:
        with pytest.raises(golden.AccuracyError, match="accept"):
            made.require()
    else:
        made.require()


def test_decibels():
    assert decibels(np.ones(4), np.full(4, 0.1)) == pytest.approx(20)
    assert decibels(np.ones(4), np.zeros(4)) == 120
    assert decibels(np.zeros(4), np.ones(4)) == -120


def test_a_healthy_network_is_as_good_as_onnxruntimes_quantizer(net):
    net, float_model = net
    images = net.images(12)
    graph = superlip.load(float_model, calibrate=images)
    ours, theirs = judge(graph, images), onnxruntime_quantized(graph, images)
    assert graph.agreement.kind == "float" and graph.agreement.decibels > 25
    assert ours.decibels > theirs.decibels - 1.5
    assert ours.same_class == np.mean(
        superlip.predict(graph, images)["n5_0"].argmax(axis=1) == graph.given.run(images)["n5_0"].argmax(axis=1)
    )


def test_predict_equals_the_golden_and_keeps_the_models_shapes(net):
    net, float_model = net
    graph = superlip.load(float_model, calibrate=net.images(4))
    outputs = superlip.predict(graph, net.images(3))
    assert {name: (a.shape, a.dtype) for name, a in outputs.items()} == {"n5_0": ((3, 12), np.float32)}


def saturated(net):
    """Calibrated on small images, run on large ones: the first convolution's range is too small."""
    return net.images(8) * 0.02, net.images(8)


def test_images_beyond_the_calibrated_range_are_blamed_on_the_range(net):
    net, float_model = net
    few, images = saturated(net)
    graph = superlip.load(float_model, calibrate=few)
    found = judge(graph, images)
    assert found.is_useless and found.loss.blame == "range"
    assert "leave [" in str(found.loss) and "layer" in found.warning
    with pytest.raises(golden.AccuracyError):
        superlip.run(graph, node="tiny", images=images)


def test_weights_that_int8_does_not_hold_are_blamed_by_the_layers_name(net):
    net, float_model = net
    weights = next(i for i in float_model.graph.initializer if list(i.dims) == [8, 3, 3, 3])
    array = onnx.numpy_helper.to_array(weights).copy()
    array[:, 0, 0, 0] = 1e4  # of a pixel that is always zero: all else is a fraction of a step
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    images = net.images(8)
    images[:, 0] = 0
    with pytest.raises(golden.AccuracyError, match=r"layer 'n0'.*weights"):
        superlip.load(float_model, calibrate=images)
    graph = superlip.load(float_model, calibrate=images, accept_accuracy=True)
    assert graph.agreement.loss.layer == "n0" and graph.agreement.loss.tensor == "n1_0"


def test_a_quantized_model_is_met_exactly():
    net = FloatNet((3, 12, 12))
    float_model = net.model(small(net))
    quantized = onnx.load_from_string(superlip.load(float_model, calibrate=net.images(4)).model)
    graph = superlip.load(quantized)
    found = judge(graph, net.images(4))
    assert found.kind == "QOperator" and found.outputs[0].differing == 0


def test_calibration_images_check_a_model_that_is_quantized_already(net):
    net, float_model = net
    quantized = onnx.load_from_string(superlip.load(float_model, calibrate=net.images(4)).model)
    graph = superlip.load(quantized, calibrate=net.images(6))
    assert graph.agreement.images == 6 and graph.agreement.kind == "QOperator"
    assert any("quantized already" in note for note in graph.notes)
    with pytest.raises(superlip.graph.ModelError, match="calibration images"):
        superlip.load(quantized, calibrate=net.images(2)[:, :1])


def test_an_integer_output_is_compared_in_steps():
    net = FloatNet((3, 6, 6))
    scale, zero = net.const(0.02), net.const(128, np.uint8)
    x = net.op("QuantizeLinear", "x", scale, zero)
    weights = net.const(net.rng.integers(-90, 90, (2, 3, 3, 3)), np.int8)
    result = net.const(0.05), net.const(3, np.uint8)
    y = net.op("QLinearConv", x, scale, zero, weights, net.const(0.01), net.const(0, np.int8), *result, pads=[1] * 4)
    graph = superlip.load(net.model(y))
    images = net.images(3)
    found = judge(graph, images)
    assert found.outputs[0].differing == 0 and found.outputs[0].step == pytest.approx(0.05)
    assert superlip.predict(graph, images)[y].dtype == np.uint8


def test_check_says_what_int8_can_do(net, tmp_path, capsys):
    net, float_model = net
    onnx.save(float_model, tmp_path / "net.onnx")
    np.savez(tmp_path / "calibration.npz", images=net.images(8))
    np.savez(tmp_path / "heldout.npz", images=net.images(6), labels=np.arange(6))
    assert main(["check", str(tmp_path / "net.onnx"), "--accuracy"]) == 0
    text = capsys.readouterr().out
    assert "superlip against the float model as given" in text
    assert "ONNX Runtime's quantizer against the float model as given" in text
    assert text.count("dB of signal to error") == 2 and text.count("accuracy") == 2


def test_a_useless_network_exits_with_1_and_says_where(net, tmp_path, capsys):
    net, float_model = net
    few, images = saturated(net)
    onnx.save(float_model, tmp_path / "net.onnx")
    np.savez(tmp_path / "calibration.npz", images=few)
    np.savez(tmp_path / "heldout.npz", images=images)
    command = ["run", str(tmp_path / "net.onnx"), "--node", "tiny", "--images", "2"]
    assert main(command) == 1
    assert "lost first in layer" in capsys.readouterr().err
    report = tmp_path / "report.json"
    assert main([*command, "--accept-accuracy", "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["agreement"]["is_useless"] and found["agreement"]["loss"]["blame"] == "range"
    assert found["bit_exact"] and any("far from the float model" in text for text in found["warnings"])
