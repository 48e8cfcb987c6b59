"""What is judged when a network is loaded, and what ONNX Runtime refuses."""

import dataclasses

import numpy as np
import pytest
from nets import Builder
from onnx_models import FloatNet

from superlip import golden, graph
from superlip.graph import ModelError
from superlip.graph.given import GivenError
from superlip.run.accuracy import judge, judge_calibration, onnxruntime_quantized

SHAPE = (3, 6, 6)


@pytest.fixture(scope="module")
def net():
    images = np.random.default_rng(0).random((70, *SHAPE), np.float32)
    built = FloatNet(SHAPE)
    return graph.load(built.model(built.dense(built.op("Flatten", built.conv("x", 8, 3)), 4, 8 * 36)), calibrate=images)


def test_calibration_images_are_the_judges(net):
    agreement = judge_calibration(net)
    assert agreement.images == 64 and agreement.source == "64 calibration images"  # no more than that
    assert agreement.outputs[0].decibels > 20


def test_without_calibration_there_is_nothing_to_judge(net):
    assert judge_calibration(dataclasses.replace(net, calibration=None)) is None
    built = Builder(np.random.default_rng(0), (8, 4, 4))
    assert judge_calibration(built.graph(built.conv("image", 8, (1, 1)))) is None


def test_labels_are_counted(net):
    images = net.calibration[:5]
    theirs = next(iter(net.given.run(images).values())).argmax(axis=1)
    agreement = judge(net, images, labels=np.where(np.arange(5) == 0, (theirs + 1) % 4, theirs))
    assert agreement.accuracy_given == pytest.approx(0.8) and agreement.source == "images"


def test_what_onnxruntime_refuses_is_the_models_fault(net, monkeypatch):
    def refuse(*arguments, **options):
        raise GivenError("Conv is not implemented")

    monkeypatch.setattr(golden, "agree", refuse)
    with pytest.raises(ModelError, match=f"^{net.name}: Conv is not implemented$"):
        judge(net, net.calibration[:1])


def test_onnxruntimes_own_quantizer_on_the_same_images(net):
    agreement = onnxruntime_quantized(net, net.calibration[:4], source="four")
    assert agreement.images == 4 and agreement.source == "four" and agreement.outputs[0].decibels > 10


def test_a_graph_of_ones_own_is_nothing_to_quantize():
    built = Builder(np.random.default_rng(0), (8, 4, 4))
    with pytest.raises(ModelError, match="was not loaded from a model that ONNX Runtime could quantize"):
        onnxruntime_quantized(built.graph(built.conv("image", 8, (1, 1))), np.zeros((1, 8, 4, 4), np.float32))


def test_its_quantizer_may_fail(net):
    broken = dataclasses.replace(net, given=dataclasses.replace(net.given, light=b"\x08\x01"))
    with pytest.raises(ModelError, match="ONNX Runtime's quantizer can't take the model"):
        onnxruntime_quantized(broken, net.calibration[:1])
