"""Operators that move elements: what the hardware has runs, and the rest is refused by the name of the model's node."""

import numpy as np
import pytest
from hosted import runs_on_host
from onnx import helper
from onnx_models import FloatNet
from qdq_models import SHAPE, QdqNet, assert_equal

from superlip import golden, graph
from superlip.graph import ir
from superlip.graph.onnx.views import Copy, _gather, copies, progressions
from superlip.plan.lower import lower


def moved(net, move):
    """``move`` on the quantized image, which is read once more, and a convolution."""
    image = net.both("x")
    x = move(net, image)
    channels = {"focus": 12, "shuffled": 12}.get(getattr(move, "__name__", ""), 3)
    results = net.op("Conv", x, net.weights(4, channels)), net.op("Neg", image)
    return net.model(*map(net.both, results), opset=getattr(move, "opset", 18))


def sliced(net, x, starts, steps, axes=(2, 3), ends=(99, 99)):
    return net.op("Slice", x, *(net.const(list(a), np.int64) for a in (starts, ends, axes, steps)))


def every_second(net, x):
    return sliced(net, x, (0, 0), (2, 2))


def every_third_from_one(net, x):
    return sliced(net, x, (1, 2), (3, 2))


def focus(net, x, order=((0, 0), (1, 0), (0, 1), (1, 1))):
    return net.op("Concat", *(sliced(net, x, at, (2, 2)) for at in order), axis=1)


def shuffled(net, x):
    return focus(net, x, ((1, 1), (0, 0), (1, 0), (0, 1)))


def crop(net, x):
    return net.op("Pad", x, net.const([0, 0, -1, -2, 0, 0, 0, -1], np.int64))


def padded_axes(net, x):
    return net.op("Pad", x, net.const([1, 2, 0, 1], np.int64), net.const(0.5), net.const([3, 2], np.int64))


def padded_axes_zero(net, x):
    return net.op("Pad", x, net.const([1, 2, 0, 1], np.int64), "", net.const([-1, -2], np.int64))


def reflected(net, x):
    return net.op("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 2], np.int64), mode="reflect")


def half_again(net, x):
    sizes = net.const([12, 12], np.int64)
    attributes = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric", "axes": [2, 3]}
    return net.op("Resize", x, "", "", sizes, mode="nearest", **attributes)


def padded_old(net, x):
    return net.op("Pad", x, pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5)


padded_old.opset = 10


def padded_low(net, x):
    """What no number is below, for the maximum."""
    x = net.op("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64), net.const(-1e30))
    return net.op("MaxPool", x, kernel_shape=[3, 3])


@pytest.mark.parametrize(
    "move",
    [every_second, every_third_from_one, focus, shuffled, crop, padded_axes, padded_axes_zero, padded_old, padded_low,
     reflected, half_again],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_movements_run(move):
    net = QdqNet(SHAPE)
    g = assert_equal(moved(net, move), net.images(3))
    lower(g, 4)
    assert not any(isinstance(n, ir.Concat | ir.Host) for n in g.nodes)
    names = {n.name for n in net.nodes} | {f"{n.name}.{i}" for n in net.nodes for i in (2, 3)}
    assert {n.name for n in g.nodes} <= names  # the model's own


COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest_resize_is_onnxruntimes_or_refused(coordinates, nearest):
    attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest, "mode": "nearest"}
    for sizes in ([1, 3, 16, 16], [1, 3, 12, 20], [1, 3, 5, 3]):
        net = QdqNet(SHAPE)
        resized = moved(
            net, lambda net, x, sizes=sizes: net.op("Resize", x, "", "", net.const(sizes, np.int64), **attributes)
        )
        try:
            assert_equal(resized, net.images(2))
        except graph.ModelError as error:
            assert "Resize 'n2': rows or columns" in str(error)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "why"),
    [
        ("Resize", ["", [1, 1, 1.5, 2.0]], {"mode": "linear"}, "linear"),
        ("Resize", [[0, 0, 0, 0, 1, 1, 1.5, 1.5], [1, 1, 1.0, 1.0]],
         {"mode": "nearest", "coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
        ("Pad", [np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int64), np.array(50, np.float32)], {}, "outside of the range"),
        ("Transpose", [], {"perm": [0, 1, 3, 2]}, "movement of elements"),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_is_moved_by_the_host(op, operands, attributes, why):
    net = QdqNet(SHAPE)

    def move(net, x):
        made = [o if isinstance(o, str) else net.const(o, getattr(o, "dtype", np.float32)) for o in operands]
        return net.both(net.op("Relu", net.op(op, x, *made, **attributes)))

    g = runs_on_host(moved(net, move), "n2", why, net.images(2))
    assert "ONNXRuntimeError" not in next(n.reason for n in g.nodes if isinstance(n, ir.Host))


def test_a_batch_in_a_reshape_is_named():
    net = QdqNet(SHAPE)
    batch = moved(net, lambda net, x: net.op("Reshape", x, net.const([4, 3, 8, 8], np.int64)))
    with pytest.raises(graph.ModelError, match=r"Reshape 'n2': .*one image.*batch of 1; nor does it run on the host"):
        graph.load(batch)


def channels_last(net, x):
    """As tf2onnx writes it: channels last, transposed around every convolution."""
    x = net.op("Conv", net.op("Transpose", x, perm=[0, 3, 1, 2]), net.weights(4, 3, 3))
    x = net.op("Transpose", net.both(x), perm=[0, 2, 3, 1])
    x = net.both(net.op("Add", x, net.const([0.1, -0.2, 0.3, 0.4])))
    x = net.both(net.op("Relu", net.op("Mul", x, net.const([[[[1.5, 0.5, -0.7, 1.0]]]]))))
    x = net.op("Conv", net.op("Transpose", x, perm=[0, 3, 1, 2]), net.weights(5, 4))
    return net.both(net.op("Transpose", net.both(x), perm=[0, 2, 3, 1]))


def test_rows_of_another_channel_are_no_rows():
    """As if the row before the first of a channel were one of its own."""
    numbers = np.arange(24).reshape(2, 6, 2)
    index = np.stack([numbers[1, 5], numbers[1, 0], numbers[0, 5]])[None]
    with pytest.raises(graph.ModelError, match="no channel shuffle"):
        _gather(index, numbers.shape)


def test_channels_last():
    net = QdqNet((9, 8, 3))
    g = assert_equal(net.model(channels_last(net, net.both("x"))), net.images(3))
    assert g.values[g.input].shape == (3, 9, 8)
    assert [type(n) for n in g.nodes if not isinstance(n, ir.Conv)] == [ir.Host]  # the order of the output
    lower(g, 4)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_integer_images_with_channels_last(kind):
    net = QdqNet((9, 8, 3))
    quantized = net.model(channels_last(net, net.dequantize("x", zero=kind(7))))
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    quantized.graph.input[0].type.tensor_type.elem_type = element
    images = net.rng.integers(0, 100, (3, 9, 8, 3)).astype(kind)
    g = assert_equal(quantized, images)
    assert golden.reference(g, images).mismatches <= 20  # of 630: ties in float32


def test_an_input_that_is_read_in_two_orders_stays_as_it_is():
    net = QdqNet((6, 6, 6))
    x = net.both("x")
    y = net.op("Conv", x, net.weights(4, 6))
    z = net.op("GlobalAveragePool", net.op("Transpose", x, perm=[0, 1, 3, 2]))
    g = runs_on_host(net.model(net.both(y), net.both(z)), "n4", "movement of elements", net.images(2))
    assert g.values[g.input].shape == (6, 6, 6)


def test_progressions():
    assert progressions(range(1, 9, 2)) == [(1, 2, 4)]
    assert progressions([0, 0, 1, 1]) == [(0, 1, 2), (0, 1, 2)]
    assert progressions([0, 0, 1, 2, 2, 3]) == [(0, 2, 2), (0, 2, 2), (1, 2, 2)]
    assert progressions([*range(16, 0, -1), *range(16)]) is None


def test_copies():
    assert copies([0, 0, 1, 1]) == [Copy(0, 1, 2, 0, 2), Copy(0, 1, 2, 1, 2)]
    edges = [0, *range(40), 39, 37]
    assert copies(edges) == [Copy(0, 1, 1, 0, 1), Copy(0, 1, 40, 1, 1), Copy(39, 1, 1, 41, 1), Copy(37, 1, 1, 42, 1)]
    assert copies([*range(16, 0, -1), *range(16)]) is None


@pytest.mark.parametrize("mode", ["edge", "reflect"])
def test_padding_by_what_is_there(mode):
    net = FloatNet((6, 12, 12))
    pads = net.const([0, 0, 1, 2, 0, 0, 2, 1], np.int64)
    built = net.model(net.conv(net.op("Pad", net.conv("x", 8, 6), pads, mode=mode), 4, 8))
    found = graph.load(built, calibrate=net.images(2))
    assert [type(n) for n in found.nodes] == [ir.Conv, ir.Resize, ir.Conv]


def test_movements_that_have_no_expression_together_run_one_by_one():
    """DepthToSpace, and its last row cut off: no block rearrangement any more, nor rows of the value below."""
    net = FloatNet((6, 12, 12))
    x = net.op("DepthToSpace", net.conv("x", 16, 6), blocksize=2, mode="CRD")
    bounds = [net.const([n], np.int64) for n in (0, 23, 2)]
    built = net.model(net.conv(net.op("Slice", x, *bounds), 4, 4))
    found = graph.load(built, calibrate=net.images(2))
    assert [type(n) for n in found.nodes] == [ir.Conv, ir.DepthToSpace, ir.Resize, ir.Conv]
    assert golden.agree(found, net.images(2)).decibels > 25
