"""Float models to int8: units, quantization by tensor, constants by use; each kind of loss that was found, once."""

import numpy as np
import pytest
from onnx_models import FloatNet

from superlip import graph
from superlip.golden import agree
from superlip.graph.ir import Add, Conv, Host
from superlip.graph.onnx.functions import clip_together
from superlip.graph.onnx.load import upgrade
from superlip.graph.onnx.quantize import quantize_weights
from superlip.graph.onnx.rewrite import prepare
from superlip.graph.onnx.units import ANY, find_units

SHAPE = (3, 8, 8)
INF = float("inf")


def right(net, *outputs, least=30, opset=17):
    """The graph of a net whose outputs are all near those of the net itself."""
    images = net.images(6)
    g = graph.load(net.model(*outputs, opset=opset), calibrate=images)
    for output in agree(g, images).outputs:
        assert output.decibels > least, str(output)
    return g


def kinds(g):
    return [type(n) for n in g.nodes]


def units_of(net, *outputs):
    return [(u.kind, [n.op_type for n in u.members], u.clip) for u in find_units(prepare(net.model(*outputs)))]


# ---- units


def test_clips_behind_an_operator_are_in_its_unit():
    net = FloatNet(SHAPE)
    x = net.op("Clip", net.op("Relu", net.conv("x", 4, 3)), net.const(-1), net.const(2))
    x = net.op("Relu", net.op("Transpose", x, perm=[0, 2, 3, 1]))
    x = net.op("Clip", net.op("Softmax", x), net.const(0.25))
    assert units_of(net, x) == [
        ("integer", ["Conv", "Relu", "Clip"], (0, 2)), ("mover", ["Transpose"], ANY), ("clip", ["Relu"], (0, INF)),
        ("host", ["Softmax"], ANY), ("clip", ["Clip"], (0.25, INF)),
    ]  # fmt: skip


def test_a_clip_of_what_others_take_is_its_own_unit():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    y = net.op("Relu", x)
    found = units_of(net, net.op("Add", x, net.conv(y, 4, 4)))
    assert found[:2] == [("integer", ["Conv"], ANY), ("clip", ["Relu"], (0, INF))]
    assert units_of(net, x, y)[0] == ("integer", ["Conv"], ANY)


def test_a_function_of_one_tensor_is_one_unit():
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    silu = net.op("Mul", x, net.op("Sigmoid", x))
    assert units_of(net, silu)[1:] == [("real", ["Sigmoid", "Mul"], ANY)]
    net = FloatNet(SHAPE)
    y = net.op("Relu", net.conv("x", 4, 3))
    tanh = net.op("Tanh", net.op("Exp", y))
    assert units_of(net, tanh) == [("integer", ["Conv", "Relu"], (0, INF)), ("real", ["Exp", "Tanh"], ANY)]


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ((0, INF), (-1, 6), (0, 6)), ((0, INF), (1, 6), (1, 6)), ((0, INF), (-6, -1), (-1, -1)),
        ((2, 3), (0, 1), (1, 1)), ((3, 2), ANY, (2, 2)), (ANY, (3, 2), (2, 2)),
    ],
)  # fmt: skip
def test_two_clips_are_one(first, second, both):
    assert clip_together(first, second) == both
    numbers = np.linspace(-9, 9, 73)
    once = np.minimum(np.maximum(numbers, first[0]), first[1])
    assert np.array_equal(np.minimum(np.maximum(once, second[0]), second[1]), np.clip(numbers, *both))


# ---- weights


def test_a_channel_without_weights_is_its_bias():
    weights = np.ones((2, 3, 1, 1), np.float32)
    weights[0] = 0
    q, scale, bias = quantize_weights(weights, np.float32([5, -7]), np.float32(0.1))
    assert not q[0].any()
    assert np.allclose(bias * 0.1 * scale, [5, -7], rtol=1e-4)


def test_a_bias_that_int32_does_not_hold_widens_the_scale():
    weights = np.full((1, 3, 1, 1), 1e-6, np.float32)
    _, scale, bias = quantize_weights(weights, np.float32([1e3]), np.float32(1e-4))
    assert np.isclose(bias[0] * 1e-4 * scale[0], 1e3)


def test_a_constant_is_quantized_for_each_use():
    """A bias and weights of two convolutions whose operands have other scales."""
    net = FloatNet(SHAPE)
    weights, bias = net.const(net.rng.normal(size=(3, 3, 3, 3))), net.const([40, -20, 10])
    pads = [1, 1, 1, 1]
    small = net.op("Conv", net.op("Mul", "x", net.const(0.02)), weights, bias, pads=pads)
    right(net, small, net.op("Conv", net.op("Mul", small, net.const(30)), weights, bias, pads=pads))


# ---- whole models


def whole(net, *numbers):
    return net.const(numbers, np.int64)


LAYOUT = {
    "Resize": lambda net, x: net.op("Resize", x, "", net.const([1, 1, 2, 2])),
    "Pad": lambda net, x: net.op("Pad", x, whole(net, 0, 0, 1, 1, 0, 0, 1, 1), net.const(-0.7)),
    "Transpose": lambda net, x: net.op("Transpose", x, perm=[0, 2, 3, 1]),
    "Flatten": lambda net, x: net.op("Flatten", x),
    "Reshape": lambda net, x: net.op("Reshape", x, whole(net, 1, -1, 4)),
    "Unsqueeze": lambda net, x: net.op("Unsqueeze", x, whole(net, 1)),
    "Squeeze": lambda net, x: net.op("Squeeze", net.op("Unsqueeze", x, whole(net, 1)), whole(net, 1)),
    "Slice": lambda net, x: net.op("Slice", x, whole(net, 1), whole(net, 3), whole(net, 1)),
    "Gather": lambda net, x: net.op("Gather", x, whole(net, 2, 0), axis=1),
    "DepthToSpace": lambda net, x: net.op("DepthToSpace", x, blocksize=2),
    "SpaceToDepth": lambda net, x: net.op("SpaceToDepth", x, blocksize=2),
    "Tile": lambda net, x: net.op("Tile", x, whole(net, 1, 2, 1, 1)),
    "Identity": lambda net, x: net.op("Identity", x),
    "Dropout": lambda net, x: net.op("Dropout", x),
    "MaxPool": lambda net, x: net.op("MaxPool", x, kernel_shape=[2, 2]),
}


@pytest.mark.parametrize("activation", ["Relu", "Clip", "LeakyRelu"])
@pytest.mark.parametrize("name", LAYOUT)
def test_an_activation_behind_a_movement(name, activation):
    net = FloatNet(SHAPE)
    x = LAYOUT[name](net, net.conv("x", 4, 3))
    bounds = [net.const(-0.3), net.const(0.9)] if activation == "Clip" else []
    right(net, net.op(activation, x, *bounds), least=35)


@pytest.mark.parametrize("bounds", [(0.5, 1.5), (-1.5, -0.5), (1.5, 0.5), (0.5, None), (None, -0.5), (0, 0)])
@pytest.mark.parametrize("behind", ["conv", "movement", "tail"])
def test_a_clip_with_any_bounds(bounds, behind):
    net = FloatNet(SHAPE)
    x = net.conv("x", 4, 3)
    if behind == "movement":
        x = net.op("Flatten", net.op("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))
    x = net.op("Clip", x, *("" if bound is None else net.const(bound) for bound in bounds))
    right(net, x if behind == "tail" else net.op("Flatten", x))


def test_a_function_of_the_input_itself():
    """No operator that quantizes its operand comes in front of it."""
    for op in ("Relu", "Tanh"):
        net = FloatNet(SHAPE)
        g = right(net, net.conv(net.op(op, "x"), 4, 3), net.op("Softmax", "x"))
        assert kinds(g).count(Host) == 1


def test_functions_around_what_the_host_computes():
    net = FloatNet(SHAPE)
    x = net.op("Tanh", net.conv("x", 4, 3))
    x = net.op("Exp", net.op("LogSoftmax", x, axis=1))
    g = right(net, net.conv(x, 4, 4))
    assert kinds(g) == [Conv, Host, Conv]  # the second stays with what it works on
    assert g.nodes[1].onnx_names == ("n2", "n3")


def test_host_operators_in_a_row_are_one_and_not_rounded_between():
    net = FloatNet(SHAPE)
    x = net.op("Softmax", net.op("LRN", net.conv("x", 4, 3), size=3), axis=1)
    assert kinds(right(net, net.conv(x, 4, 4))) == [Conv, Host, Conv]


def test_prelu_by_channel():
    net = FloatNet(SHAPE)
    x = net.op("PRelu", net.conv("x", 4, 3), net.const([[[-0.5]], [[0]], [[0.3]], [[2]]]))
    right(net, net.conv(x, 4, 4))


def test_the_difference_of_two_tensors():
    net = FloatNet(SHAPE)
    x = net.op("Sub", net.conv("x", 4, 3), net.conv("x", 4, 3))
    g = right(net, net.conv(x, 4, 4))
    assert kinds(g).count(Add) == 1


def test_a_tensor_that_is_0_on_all_images():
    net = FloatNet(SHAPE)
    nothing = net.op("Mul", net.conv("x", 3, 3), net.const(0))
    right(net, net.op("Add", net.conv("x", 3, 3), nothing), nothing)


def test_a_bias_behind_a_tensor_that_is_0():
    """Normalized with the statistics of nothing: large weights, whose products' steps round the bias."""
    net = FloatNet(SHAPE)
    x = net.op("Clip", net.conv("x", 4, 3), net.const(0), net.const(0))
    x = net.op("Conv", x, net.const(net.rng.normal(size=(3, 4, 1, 1)) * 300), net.const([0.08, -0.17, 0.02]))
    right(net, x)


@pytest.mark.parametrize(
    ("value", "reader"), [(-9.0, "Conv"), (7.0, "output"), (-3e38, "MaxPool"), (-9.0, "AveragePool")]
)
def test_padding_with_any_number(value, reader):
    """It is in the range of what it pads, but where a maximum takes none of it."""
    net = FloatNet(SHAPE)
    x = net.op("Sigmoid", net.conv("x", 4, 3))
    x = net.op("Pad", x, whole(net, 0, 0, 1, 1, 0, 0, 1, 1), net.const(value))
    if reader != "output":
        window = {} if reader == "Conv" else {"kernel_shape": [3, 3]}
        x = net.conv(x, 4, 4) if reader == "Conv" else net.op(reader, x, **window)
    g = right(net, x)
    if reader == "MaxPool":
        assert max(v.scale for v in g.values.values() if v.name != g.input) < 0.1


def test_a_refusal_names_the_users_node():
    net = FloatNet(SHAPE)
    x = net.op("Div", net.conv("x", 3, 3), net.conv("x", 3, 3))
    x = net.op("Cast", net.op("NonZero", x), to=1)
    with pytest.raises(graph.ModelError, match=r"test: NonZero 'n3': [^/]*$"):
        graph.load(net.model(x), calibrate=net.images(2))


def test_what_saturates_on_purpose_is_not_where_accuracy_is_lost():
    """The first convolution's range ends where Relu behind a movement does; what loses is a channel of another size."""
    net = FloatNet(SHAPE)
    x = net.op("Relu", net.op("Transpose", net.conv("x", 4, 3), perm=[0, 2, 3, 1]))
    x = net.op("Mul", net.op("Transpose", x, perm=[0, 3, 1, 2]), net.const([[[1e-4]], [[1]], [[1]], [[300]]]))
    x = net.op("Conv", net.op("Relu", x), net.const(np.eye(4)[:1, :, None, None]))
    images = net.images(4)
    g = graph.load(net.model(x), calibrate=images)
    assert agree(g, images).loss.layer == "n6"


def test_a_conversion_of_opsets_keeps_the_names_of_nodes():
    """LogSoftmax-11 becomes Flatten, LogSoftmax-13 and Reshape, all of them without a name."""
    net = FloatNet(SHAPE)
    old = net.model(net.op("Relu", net.op("LogSoftmax", net.conv("x", 4, 3), axis=2)), opset=11)
    names = {n.op_type: n.name for n in upgrade(old).graph.node if n.op_type != "Constant"}
    assert (names["Conv"], names["Relu"]) == ("n0", "n2")
    assert len(names) > 3
    assert all(name.partition("/")[0] in ("n0", "n1", "n2") for name in names.values())


def test_the_host_takes_what_the_accelerator_can_not_move():
    """Padding of what are no rows and columns, and another order, in front of a host operation."""
    net = FloatNet(SHAPE)
    x = net.op(
        "Flatten", net.op("Pad", net.conv("x", 4, 3), whole(net, 0, 0, 1, 1, 0, 0, 0, 2), net.const(-0.5)), axis=1
    )
    y = net.op("Transpose", net.conv("x", 4, 3), perm=[0, 1, 3, 2])
    right(net, net.op("Softmax", x, axis=1), net.op("LpNormalization", y, axis=1))


@pytest.mark.parametrize(("is_input", "why"), [(True, "the model's input 'x' is used"), (False, "is a constant")])
def test_outputs_that_no_node_gives(is_input, why):
    net = FloatNet((3, 8, 7))
    y = net.conv("x", 4, 3)
    with pytest.raises(graph.ModelError, match=why):
        graph.load(net.model(y, "x" if is_input else net.const(np.ones((2, 3)))), calibrate=net.images(2))
