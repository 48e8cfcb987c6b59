"""QuantizeLinear and DequantizeLinear as a model writes them: types, attributes, several readers of one tensor."""

import ml_dtypes
import numpy as np
import pytest
from hosted import runs_on_host
from onnx import TensorProto, helper
from onnx_models import MICROSOFT, model
from qdq_models import SHAPE, ZERO, QdqNet, assert_equal

from superlip import golden, graph
from superlip.graph import ir
from superlip.graph.session import open_session


@pytest.mark.parametrize("zero", [np.uint8(131), np.int8(-5), None, "int8", "uint8", "both"])
def test_type_of_an_activation(zero):
    """By its zero point, by output_dtype, by both, or uint8."""
    net = QdqNet(SHAPE)
    named = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "both": TensorProto.INT8}.get(zero)
    attributes = {"output_dtype": named} if named else {}
    point = zero if isinstance(zero, np.generic) else None
    if zero == "both":
        point = np.int8(7)
    x = net.dequantize(net.quantize("x", zero=point, **attributes), zero=point)
    x = net.op("Conv", x, net.weights(4, 3))
    x = net.dequantize(net.quantize(x, zero=point, **attributes), zero=point)
    g = assert_equal(net.model(x), net.images(3))
    is_unsigned = zero in (None, "uint8") or getattr(point, "dtype", None) == np.uint8
    assert g.values[g.input].is_unsigned == is_unsigned


def test_zero_point_left_out_by_the_reader():
    """DequantizeLinear without a zero point takes 0 of its operand's type."""
    for zero in (np.uint8(0), np.int8(0)):
        net = QdqNet(SHAPE)
        x = net.dequantize(net.quantize("x", zero=zero))
        x = net.op("Conv", x, net.weights(4, 3))
        assert_equal(net.model(net.dequantize(net.quantize(x, zero=zero))), net.images(3))


@pytest.mark.parametrize(
    ("attributes", "zero", "why"),
    [
        ({"output_dtype": TensorProto.INT16}, None, "int8 or uint8, not int16"),
        ({"output_dtype": TensorProto.FLOAT8E4M3FN}, None, "not float8e4m3fn"),
        ({}, np.int16(0), "int8 or uint8, not int16"),
        ({}, np.uint16(0), "not uint16"),
        ({}, np.zeros((), ml_dtypes.int4), "not int4"),
        ({"block_size": 4}, None, "block_size=4"),
        ({"output_dtype": TensorProto.INT8}, np.uint8(0), "output_dtype"),
    ],
)
def test_activations_of_another_kind_are_refused(attributes, zero, why):
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3))
    x = net.quantize(x, zero=zero, **attributes)
    with pytest.raises(graph.ModelError, match=f"QuantizeLinear 'n4'.*{why}"):
        graph.load(net.model(net.dequantize(x, zero=zero)))


@pytest.mark.parametrize("kind", [np.int16, ml_dtypes.int4, ml_dtypes.float8_e4m3fn])
def test_weights_of_another_type_are_refused(kind):
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, kind=kind))
    with pytest.raises(graph.ModelError, match=rf"int8.*not {np.dtype(kind).name}|not {np.dtype(kind).name}.*int8"):
        graph.load(net.model(net.both(x)))


def test_a_scale_of_another_type_is_refused():
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3))
    x = net.op("QuantizeLinear", x, net.const(0.05, np.float16), net.const(0, np.uint8))
    with pytest.raises(graph.ModelError, match=r"QuantizeLinear 'n4'.*float16"):
        graph.load(net.model(net.dequantize(x, zero=np.uint8(0))))


@pytest.mark.parametrize("axis", [0, -4])
def test_axis_of_weights(axis):
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, scale=np.array([0.01, 0.02, 0.03, 0.05]), axis=axis))
    assert_equal(net.model(net.both(x)), net.images(3))


def test_another_axis_of_weights_is_refused():
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, scale=np.array([0.01, 0.02, 0.03]), axis=1))
    x = net.op("Conv", net.both(x), net.weights(4, 4))
    runs_on_host(net.model(net.both(x)), "n3", "another axis", net.images(3))
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, scale=np.array([0.01, 0.02, 0.03]), axis=0))
    with pytest.raises(graph.ModelError, match=r"DequantizeLinear 'n2'.*3 scales along axis 0"):
        graph.load(net.model(net.both(x)))


@pytest.mark.parametrize("make", ["relu", "silu", "add", "scale", "zero"])
def test_several_readers_of_one_tensor(make):
    """Each DequantizeLinear of a tensor gives it a name, and may give it a scale of its own."""
    net = QdqNet(SHAPE)
    x = net.quantize(net.op("Conv", net.both("x"), net.weights(4, 3, scale=0.04)), zero=ZERO)
    first = net.dequantize(x, zero=ZERO)
    other = {"scale": {"scale": 0.025}, "zero": {"zero": np.uint8(90)}}.get(make, {})
    second = net.dequantize(x, **{"zero": ZERO} | other)
    if make == "silu":
        x = net.op("Mul", net.op("Sigmoid", first), second)
    else:
        x = net.op("Add", net.op("Relu", first) if make == "relu" else first, second)
    g = assert_equal(net.model(net.both(x)), net.images(3))
    assert sum(isinstance(n, ir.Conv) for n in g.nodes) == 1


def test_a_reader_with_another_scale_behind_a_movement():
    net = QdqNet(SHAPE)
    x = net.quantize(net.op("Conv", net.both("x"), net.weights(4, 3, scale=0.04)), zero=ZERO)
    x = net.op("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64), net.const(9, np.uint8))
    y = net.op("Conv", net.dequantize(x, zero=ZERO), net.weights(4, 4, 3))
    z = net.op("Conv", net.dequantize(x, scale=0.03, zero=np.uint8(99)), net.weights(4, 4, 3))
    assert_equal(net.model(net.both(y), net.both(z)), net.images(3))


@pytest.mark.parametrize(
    "bounds", [[(3, 6)], [(-2, -1)], [(4, 1)], [(0, 3), (4, 5)], [(2, None), (None, 1)], [(None, 1), (2, None)]]
)
def test_clips_of_any_range_in_any_order(bounds):
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, scale=0.1))
    for low, high in bounds:
        x = net.op("Clip", x, "" if low is None else net.const(low), "" if high is None else net.const(high))
    assert_equal(net.model(net.both(x, zero=np.uint8(128))), net.images(3))


def test_kernel_shape_is_the_weights_own():
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, 3), kernel_shape=[1, 1])
    with pytest.raises(graph.ModelError, match=r"Conv 'n3'.*kernel_shape=\[1, 1\]"):
        graph.load(net.model(net.both(x)))


def test_a_constant_that_makes_a_tensor_larger_is_no_function_of_one_number():
    net = QdqNet(SHAPE)
    x = net.op("GlobalAveragePool", net.both("x"))
    x = net.op("Add", net.both(x), net.const(np.ones((1, 3, 8, 8))))
    x = net.op("Conv", net.both(x), net.weights(4, 3))
    runs_on_host(net.model(net.both(x)), "n5", "Add", net.images(3))


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("QLinearSigmoid", ["x", "s", "", "s", "z"]),
        ("QLinearSigmoid", ["x", "s", "z", "s"]),
        ("QLinearAdd", ["x", "s", "z", "x", "s", "z", "s"]),
        ("QLinearMul", ["x", "s", "z", "x", "s", "", "s", "z"]),
    ],
)
def test_quantized_operators_without_zero_points_are_refused(op, inputs):
    """ONNX Runtime does not run them, or aborts."""
    nodes = [helper.make_node(op, inputs, ["y"], "it", domain=MICROSOFT)]
    with pytest.raises(graph.ModelError, match=f"com.microsoft::{op} 'it': a zero point is missing"):
        graph.load(model(nodes, {"x": (np.uint8, [1, 3, 8, 8])}, ["y"], {"s": np.float32(0.05), "z": np.uint8(1)}))


def test_quantized_operators_that_read_with_another_scale():
    constants = {"s": np.float32(0.05), "t": np.float32(0.02), "z": np.int8(3), "o": np.int8(0)}
    constants |= {"w": np.random.default_rng(0).integers(-90, 90, (4, 3, 1, 1), np.int8), "ws": np.float32(0.01)}
    conv = helper.make_node("QLinearConv", ["x", "s", "o", "w", "ws", "o", "s", "o"], ["c"], "conv")
    leaky = helper.make_node("QLinearLeakyRelu", ["c", "t", "z", "s", "o"], ["y"], "leaky", domain=MICROSOFT, alpha=0.1)
    quantized = model([conv, leaky], {"x": (np.int8, [1, 3, 8, 8])}, ["y"], constants)
    g = graph.load(quantized)
    images = np.random.default_rng(1).integers(-128, 128, (3, *SHAPE), np.int8)
    theirs = np.concatenate([open_session(quantized.SerializeToString()).run(None, {"x": i[None]})[0] for i in images])
    assert np.array_equal(golden.run(g, golden.quantize_input(g, images))[g.outputs[0]], theirs)


def test_constants_of_every_integer_type_are_exact():
    """A bias is int32; a constant of another kind is what DequantizeLinear makes of it."""
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(4, 3, scale=0.05)))
    factor = net.dequantize(net.const(np.array([-3], np.int8), np.int8), scale=0.3, zero=np.int8(1))
    assert_equal(net.model(net.both(net.op("Mul", x, factor))), net.images(3), steps=2)


@pytest.mark.parametrize("slopes", [[0.1, 0.25, 0.5, 1.0], [-0.5, 0.2, 0.0, 2.0]])
def test_prelu_with_a_slope_a_channel(slopes):
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(4, 3)))
    x = net.op("PRelu", x, net.const(np.reshape(slopes, (4, 1, 1))))
    images = net.images(3)
    g = graph.load(net.model(net.both(x)))
    found = golden.run(g, golden.quantize_input(g, images))
    ours = golden.dequantize(g, g.outputs[0], found[g.outputs[0]])
    session = open_session(net.model(net.both(x)).SerializeToString(), is_optimized=False)
    theirs = np.concatenate([session.run(None, {"x": image[None]})[0] for image in images])
    assert np.abs(ours - theirs).max() < 0.05 * (1 + max(np.abs(slopes)))
    assert theirs.std() > 0.1
    assert any("'n6'" in note and "one step" in note for note in g.notes)


def test_slopes_along_another_axis_are_refused():
    net = QdqNet(SHAPE)
    x = net.op("PRelu", net.both("x"), net.const(np.linspace(0.1, 0.8, 8)))
    x = net.both(net.op("Conv", net.both(x), net.weights(4, 3)))
    runs_on_host(net.model(x), "n2", r"slopes of shape \(8,\)", net.images(3))


def test_what_is_not_quantized_in_between_is_named():
    """The node that takes a result in floating point, not the one that gives it."""
    net = QdqNet(SHAPE)
    x = net.op("Softmax", net.op("Conv", net.both("x"), net.weights(4, 3)), axis=1)
    x = net.op("Abs", x)
    quantized = net.model(net.both(net.op("MaxPool", net.both(x), kernel_shape=[2, 2])))
    runs_on_host(quantized, "n4", "it takes the result of Conv 'n3' in floating point", net.images(3))
    verdicts = ["folded"] * 3 + ["host"] * 3 + ["folded"] * 2 + ["accelerator"] + ["folded"] * 2
    assert [r.verdict for r in graph.check(quantized)] == verdicts


def window(rng):
    """Attributes of a sliding window, at random."""
    kernel = rng.integers(1, 4, 2).tolist()
    found = {"kernel_shape": kernel, "strides": rng.integers(1, 4, 2).tolist()}
    auto = rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "pads"])
    return found | (
        {"pads": [int(rng.integers(kernel[i % 2])) for i in range(4)]} if auto == "pads" else {"auto_pad": auto}
    )


@pytest.mark.parametrize("seed", [*range(40), *(pytest.param(s, marks=pytest.mark.slow) for s in range(40, 1000))])
def test_windows_of_any_attributes(seed):
    """Padding by hand and by name, ceil_mode, count_include_pad, dilations: as in ONNX Runtime, or refused."""
    rng = np.random.default_rng(seed)
    net = QdqNet((3, *rng.integers(5, 12, 2).tolist()), seed)
    x, attributes = net.both("x", scale=0.0213), window(rng)
    op = rng.choice(["Conv", "MaxPool", "AveragePool"])
    if op == "Conv":
        weights = net.const(net.rng.integers(-60, 60, (4, 3, *attributes["kernel_shape"])), np.int8)
        x = net.op(op, x, net.dequantize(weights, scale=0.0113), dilations=rng.integers(1, 3, 2).tolist(), **attributes)
    else:
        more = {"count_include_pad": int(rng.integers(2))} if op == "AveragePool" else {"storage_order": 1}
        x = net.op(op, x, ceil_mode=int(rng.integers(2)), **attributes, **more)
    quantized = net.model(net.both(x, scale=0.0517), opset=int(rng.choice([13, 17, 19, 21])))
    images = net.images(2)
    try:
        open_session(quantized.SerializeToString(), is_optimized=False).run(None, {"x": images[:1]})
    except Exception:  # SAME with dilations, and with strides above the kernel, are beyond ONNX Runtime
        assert "SAME" in attributes["auto_pad"]
        return
    try:
        assert_equal(quantized, images)
    except graph.ModelError as error:
        assert f"{op} 'n2': " in str(error)
        assert any(text in str(error) for text in ("write pads", "count_include_pad and ceil_mode"))


def test_a_float_bias_beside_weights_that_are_0():
    """Quantizers give such a channel any scale: in steps of its products the bias would leave int32."""
    net = QdqNet(SHAPE)
    integers = net.rng.integers(-7, 8, (4, 3, 1, 1))
    integers[1] = 0
    scale = np.full(4, 0.0313, np.float32)
    scale[1] = 1e-22
    weights = net.dequantize(net.const(integers, np.int8), scale=scale, axis=0)
    x = net.op("Conv", net.both("x"), weights, net.const([0.3, 2.5, -0.4, 0.1]))
    g = assert_equal(net.model(net.both(x)), net.images(3))
    assert g.nodes[0].bias[1] > 1 << 24


def test_a_slope_a_channel_is_rounded_once():
    """Also where the result has finer steps than what PRelu takes."""
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(4, 3)), scale=0.07)
    x = net.op("PRelu", x, net.const([[[0.9]], [[-1.1]], [[0.05]], [[0.31]]]))
    assert_equal(net.model(net.both(x, scale=0.0323)), net.images(3), steps=0)


def test_the_difference_of_two_tensors_and_a_sum_of_two():
    net = QdqNet(SHAPE)
    a, b = (net.both(net.op("Conv", net.both("x"), net.weights(4, 3)), scale=s) for s in (0.0521, 0.0377))
    assert_equal(net.model(net.both(net.op("Sub", a, b)), net.both(net.op("Sum", b, a))), net.images(3))
    more = net.model(net.both(net.op("Sum", a, b, net.both(net.op("Relu", a)))))
    (name,) = [n.name for n in more.graph.node if n.op_type == "Sum" and len(n.input) == 3]
    runs_on_host(more, name, "Sum of 3 tensors: write it as Adds", net.images(3))


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 1.0), (2.0, 0.25), (1.0, 3.0)])
def test_factors_of_gemm(alpha, beta):
    net = QdqNet(SHAPE)
    weights = net.dequantize(net.const(net.rng.integers(-7, 8, (5, 192)), np.int8), scale=0.0031)
    bias = net.const(net.rng.normal(size=5))
    x = net.op("Gemm", net.op("Flatten", net.both("x")), weights, bias, alpha=alpha, beta=beta, transB=1)
    assert_equal(net.model(net.both(x)), net.images(3))


@pytest.mark.parametrize("ends", [(-(2**31), 2**31 - 1), (-(2**31) + 40_000, 2**31 - 40_000)])
@pytest.mark.parametrize("pooled", [False, True])
def test_a_bias_at_the_end_of_int32_saturates(ends, pooled):
    """In a Q/DQ model the sum is a real number: it saturates, where an accumulator would wrap."""
    net = QdqNet(SHAPE)
    scale = np.float32(0.004)
    bias = net.const(np.array([*ends, 0, 700]), np.int32)
    bias = net.op("DequantizeLinear", bias, net.const(np.float32(0.02) * scale), net.const(0, np.int32))
    source = net.op("QuantizeLinear", "x", net.const(0.02), net.const(120, np.uint8))
    x = net.op("DequantizeLinear", source, net.const(0.02), net.const(120, np.uint8))
    q = net.const(net.rng.integers(-127, 128, (4, SHAPE[0], 3, 3)), np.int8)
    weights = net.op("DequantizeLinear", q, net.const(scale), net.const(0, np.int8))
    x = net.both(net.op("Conv", x, weights, bias))
    if pooled:
        x = net.both(net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    assert_equal(net.model(x), net.images(3))
