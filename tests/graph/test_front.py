"""What the host does to an image before it is quantized."""

import numpy as np
import pytest
from functional import run_compiled
from onnx import TensorProto, helper
from onnx_models import FloatNet
from qdq_models import QdqNet

from superlip import golden, graph, predict
from superlip.graph.errors import ModelError
from superlip.graph.session import open_session
from superlip.run.images import load_images


def normalized(net, x="x"):
    mean, deviation = net.rng.normal(size=(1, 3, 1, 1)), 1 + net.rng.random((1, 3, 1, 1))
    return net.op("Div", net.op("Sub", x, net.const(mean)), net.const(deviation))


def scaled(net, x="x"):
    return net.op("Sub", net.op("Mul", x, net.const(0.5)), net.const(0.1))


def last_to_first(net, x="x"):
    return net.op("Transpose", net.op("Sub", x, net.const(net.rng.normal(size=3))), perm=[0, 3, 1, 2])


def held_against_the_model(built, images, **given):
    """The graph of a model; its outputs are the model's within a step, and the boards' are its."""
    found = graph.load(built, **given)
    session = open_session(built.SerializeToString(), is_optimized=False)
    (ours,) = predict(found, images).values()
    theirs = np.concatenate([session.run(None, {"x": image[None]})[0] for image in images])
    assert golden.agree(found, images).decibels > 25
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() <= 0.05 * np.ptp(theirs)
    assert golden.reference(found, images, layers=True).mismatches <= 0.02 * theirs.size
    run_compiled(found, golden.quantize_input(found, images[:1])[0], 1, seeds=(0,))
    return found


@pytest.mark.parametrize("front", [normalized, scaled, last_to_first])
def test_of_a_quantized_model(front):
    net = QdqNet((8, 8, 3) if front is last_to_first else (3, 8, 8))
    x = front(net)
    built = net.model(net.both(net.op("Conv", net.both(x), net.weights(4, 3))))
    found = held_against_the_model(built, net.images(3))
    assert [row.verdict for row in graph.check(built)][:2] == ["host", "host"] and len(found.nodes) == 1
    assert found.front.tensor == x and found.onnx_input_shape == (3, 8, 8)
    assert load_images(None, found, 2 * net.images(2)).warnings == []
    assert load_images(None, found, 99 * net.images(2)).warnings
    assert load_images(None, found, limit=2).images.shape == (2, *net.shape)


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_of_a_float_model_of_integers(kind):
    """Images of numbers 0 to 255, made floats by the model itself; they calibrate it, too."""
    net = FloatNet((8, 8, 3))
    x = net.op("Mul", net.op("Cast", "x", to=TensorProto.FLOAT), net.const(1 / 255))
    built = net.model(net.conv(net.op("Relu", net.conv(net.op("Transpose", x, perm=[0, 3, 1, 2]), 6, 3)), 4, 6))
    built.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    images = net.rng.integers(0, 256, (4, 8, 8, 3)).astype(kind)
    found = held_against_the_model(built, images, calibrate=images)
    assert found.front.takes.dtype == np.dtype(kind).name
    made = load_images(None, found, limit=2).images
    assert made.dtype == kind and made.max() > 60
    graph.load(built, random_weights=0)
    with pytest.raises(ValueError, match="input 'x' takes"):
        golden.quantize_input(found, images.astype(np.float32))


def test_what_is_no_front():
    """Movement alone is the accelerator's; what others take, too, is refused; floats are quantized at once."""
    net = QdqNet((8, 8, 3))
    x = net.op("Transpose", "x", perm=[0, 3, 1, 2])
    assert graph.load(net.model(net.both(net.op("Conv", net.both(x), net.weights(4, 3))))).front is None
    net = QdqNet((3, 8, 8))
    x = net.op("Mul", "x", net.const(2.0))
    built = net.model(net.both(net.op("Conv", net.both(x), net.weights(4, 3))), net.op("Neg", x))
    with pytest.raises(ModelError, match="'x' is used without being quantized"):
        graph.load(built)
    net = FloatNet((3, 8, 8))
    assert graph.load(net.model(net.conv(normalized(net), 4, 3)), calibrate=net.images(2)).front is None
