"""Models in half precision, wherever it is in them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FloatNet

import superlip
from superlip.graph import load
from superlip.graph.onnx.half import widen

SHAPE = (3, 12, 12)


def half(*, casts):
    """A network in float16 inside, or also at its ends."""
    net = FloatNet(SHAPE)
    x = net.op("Relu", net.norm(net.conv("x", 8, 3), 8))
    model = net.model(net.dense(net.op("Flatten", net.op("GlobalAveragePool", x)), 5, 8))
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    if casts:
        for node in graph.node:
            node.input[:] = ["x/half" if i == "x" else i for i in node.input]
        output = graph.output[0].name
        graph.node.insert(0, helper.make_node("Cast", ["x"], ["x/half"], to=TensorProto.FLOAT16, name="in"))
        graph.node.append(helper.make_node("Cast", [output], ["wide"], to=TensorProto.FLOAT, name="out"))
        graph.output[0].name = "wide"
    else:
        for info in (*graph.input, *graph.output):
            info.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model, net.images(4)


@pytest.mark.parametrize("casts", [False, True])
def test_it_is_quantized_as_any_other(casts):
    model, images = half(casts=casts)
    graph = load(model, calibrate=images)
    (ours,), (theirs,) = superlip.predict(graph, images).values(), graph.given.run(images).values()
    assert theirs.dtype == np.float32
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 0.05 * np.ptp(theirs)
    assert any("half precision" in note for note in graph.notes)


def test_what_is_wide_stays_as_it_is():
    net = FloatNet(SHAPE)
    model = net.model(net.conv("x", 8, 3))
    before = onnx.ModelProto.FromString(model.SerializeToString())
    assert not widen(model) and model == before


def test_names_that_come_twice():
    net = FloatNet(SHAPE)
    model = net.model(net.conv(net.conv("x", 8, 3), 4, 8))
    for node in model.graph.node:
        node.name = "same"
    images = net.images(2)
    graph = load(model, calibrate=images)
    assert graph.given.run(images)
