"""The golden against ONNX Runtime, operator by operator."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import model, node

from superlip import golden, graph
from superlip.graph.onnx.importer.addition import add_factors
from superlip.graph.onnx.importer.states import Params
from superlip.graph.session import open_session

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def numbers(rng, dtype, shape, corners):
    """Random integers of a type; with ``corners`` mostly its smallest and largest."""
    info = np.iinfo(dtype)
    if corners:
        return rng.choice(np.array([info.min, info.max, info.min, info.max, 0, 1], dtype), shape)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def compare(net, shape, dtype, rng, corners=False, images=2, most=255):
    """(values, mismatches) of the golden against ONNX Runtime on random integers, none of them more than ``most``."""
    g = graph.load(net)
    x = numbers(rng, dtype, (images, *shape), corners)
    session = open_session(net.SerializeToString())
    theirs = np.concatenate([session.run(None, {"x": i[None]})[0] for i in x])
    ours = golden.run(g, golden.quantize_input(g, x))[g.outputs[0]]
    theirs = theirs.view(np.int8) ^ np.int8(-128 if theirs.dtype == np.uint8 else 0)
    gap = np.abs(ours.reshape(theirs.shape).astype(int) - theirs)
    assert gap.max() <= most
    return theirs.size, int((gap > 0).sum())


def zero_point(rng, dtype):
    info = np.iinfo(dtype)
    return np.array(rng.choice([info.min, info.max, 0, rng.integers(info.min, info.max)]), dtype)


def quantization(rng, dtype, names, scale):
    """Constants ``names`` (scale, zero point): a scale near ``scale``, any zero point."""
    return {names[0]: np.float32(scale * 10 ** rng.uniform(-0.3, 0.3)), names[1]: zero_point(rng, dtype)}


@QUICK
@given(
    st.integers(0, 2**32),
    st.sampled_from([np.uint8, np.int8]),
    st.sampled_from([(1, 1), (3, 3), (1, 3), (5, 2), (7, 7)]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from(["dense", "groups", "depthwise"]),
    st.booleans(),
    st.booleans(),
)
def test_qlinear_conv_is_equal(seed, dtype, kernel, strides, pads, dilations, kind, has_bias, corners):
    rng = np.random.default_rng(seed)
    groups = {"dense": 1, "groups": 2, "depthwise": 6}[kind]
    channels, m = 6, int(rng.choice([6, 12]))
    weights = numbers(rng, np.int8, (m, channels // groups, *kernel), corners)
    sums = np.sqrt(weights[0].size) * 70 * 70
    constants = (
        quantization(rng, dtype, ("xs", "xz"), 0.02)
        | quantization(rng, dtype, ("ys", "yz"), 0.02 * 0.01 * sums / 60)
        | {"w": weights, "ws": (0.01 * rng.uniform(0.3, 3, m)).astype(np.float32), "wz": np.zeros(m, np.int8)}
    )
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    if has_bias:
        constants["b"] = rng.integers(-30000, 30000, m).astype(np.int32)
        inputs.append("b")
    conv = node(
        "QLinearConv", inputs, ["y"], strides=strides, pads=pads, dilations=dilations, group=groups, kernel_shape=kernel
    )
    net = model([conv], {"x": (dtype, [1, channels, 14, 15])}, ["y"], constants)
    _, mismatches = compare(net, (channels, 14, 15), dtype, rng, corners)
    assert mismatches == 0


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.int8]), st.booleans(), st.booleans(), st.booleans())
def test_qgemm_is_equal(seed, dtype, transposed, per_channel, corners):
    rng = np.random.default_rng(seed)
    m, n = 9, 40
    constants = (
        quantization(rng, dtype, ("xs", "xz"), 0.02)
        | quantization(rng, dtype, ("ys", "yz"), 0.02)
        | {
            "w": numbers(rng, np.int8, (m, n) if transposed else (n, m), corners),
            "ws": np.float32(0.01) * rng.uniform(0.5, 2, m if per_channel else ()).astype(np.float32),
            "wz": np.zeros(m if per_channel else (), np.int8),
            "b": rng.integers(-9000, 9000, m).astype(np.int32),
        }
    )
    gemm = node("QGemm", ["x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"], ["y"], transB=int(transposed))
    net = model([gemm], {"x": (dtype, [1, n])}, ["y"], constants)
    _, mismatches = compare(net, (n,), dtype, rng, corners, images=8)
    assert mismatches == 0


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.int8]), st.booleans())
def test_qlinear_matmul_is_equal(seed, dtype, corners):
    rng = np.random.default_rng(seed)
    m, n = 10, 33
    constants = (
        quantization(rng, dtype, ("xs", "xz"), 0.02)
        | quantization(rng, dtype, ("ys", "yz"), 0.02)
        | {"w": numbers(rng, np.int8, (n, m), corners), "ws": np.float32(0.01), "wz": np.int8(0)}
    )
    matmul = node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"])
    net = model([matmul], {"x": (dtype, [1, n])}, ["y"], constants)
    _, mismatches = compare(net, (n,), dtype, rng, corners, images=8)
    assert mismatches == 0


@QUICK
@given(
    st.integers(0, 2**32),
    st.sampled_from([np.uint8, np.int8]),
    st.sampled_from([(2, 2), (3, 3), (3, 2)]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 1, 0)]),
    st.booleans(),
)
def test_max_pool_is_equal(seed, dtype, kernel, strides, pads, ceil):
    rng = np.random.default_rng(seed)
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=int(ceil))
    conv = node("QLinearConv", ["y", "s", "z", "w", "s", "wz", "s", "z"], ["c"])  # something to accelerate, exact
    constants = {"s": np.float32(1), "z": dtype(0), "w": np.eye(3, dtype=np.int8).reshape(3, 3, 1, 1), "wz": np.int8(0)}
    net = model([pool, conv], {"x": (dtype, [1, 3, 11, 13])}, ["c"], constants)
    _, mismatches = compare(net, (3, 11, 13), dtype, rng)
    assert mismatches == 0


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.int8]), st.integers(1, 15), st.integers(1, 15))
def test_global_average_pool_is_equal(seed, dtype, h, w):
    rng = np.random.default_rng(seed)
    constants = quantization(rng, dtype, ("xs", "xz"), 0.02) | quantization(rng, dtype, ("ys", "yz"), 0.02)
    pool = node("QLinearGlobalAveragePool", ["x", "xs", "xz", "ys", "yz"], ["y"])
    net = model([pool], {"x": (dtype, [1, 8, h, w])}, ["y"], constants)
    _, mismatches = compare(net, (8, h, w), dtype, rng, images=8)
    assert mismatches == 0


def average_pool(rng, dtype, kernel, strides, pads, include, same_scale):
    constants = quantization(rng, dtype, ("xs", "xz"), 0.02) | quantization(rng, dtype, ("ys", "yz"), 0.015)
    if same_scale:
        constants |= {"ys": constants["xs"], "yz": constants["xz"]}
    pool = node(
        "QLinearAveragePool", ["x", "xs", "xz", "ys", "yz"], ["y"],
        kernel_shape=kernel, strides=strides, pads=pads, count_include_pad=int(include),
    )  # fmt: skip
    return model([pool], {"x": (dtype, [1, 8, 20, 21])}, ["y"], constants)


@pytest.mark.parametrize("same_scale", [False, True])
def test_average_pool(same_scale):
    """ONNX Runtime sums floats here. Equal but for a few in a million; where the result has the operand's scale
    a mean of an even number of pixels can be a tie, which the sum's rounding decides: then up to one step off."""
    values = mismatches = 0
    for seed in range(48):
        rng = np.random.default_rng(seed)
        kernel = [(2, 2), (3, 3), (5, 3)][seed % 3]
        pads = [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 1)][seed // 3 % 3]
        dtype = (np.uint8, np.int8)[seed % 2]
        net = average_pool(rng, dtype, kernel, (2, 2), pads, seed % 4 < 2, same_scale)
        counted = compare(net, (8, 20, 21), dtype, rng, most=1)
        values, mismatches = values + counted[0], mismatches + counted[1]
    assert mismatches <= values * (0.25 if same_scale else 50e-6)


@pytest.mark.parametrize("op, attributes", [("QLinearLeakyRelu", {"alpha": 0.1}), ("QLinearSigmoid", {})])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_tables_are_equal(op, attributes, dtype):
    rng = np.random.default_rng(5)
    for _ in range(10):
        constants = quantization(rng, dtype, ("xs", "xz"), 0.02) | quantization(rng, dtype, ("ys", "yz"), 0.02)
        constants |= {"w": np.eye(4, dtype=np.int8).reshape(4, 4, 1, 1), "one": np.float32(1), "wz": np.int8(0)}
        nodes = [
            node("QLinearConv", ["x", "xs", "xz", "w", "one", "wz", "xs", "xz"], ["c"]),
            node(op, ["c", "xs", "xz", "ys", "yz"], ["y"], **attributes),
        ]
        net = model(nodes, {"x": (dtype, [1, 4, 16, 16])}, ["y"], constants)
        _, mismatches = compare(net, (4, 16, 16), dtype, rng)
        assert mismatches == 0


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.int8]))
def test_concat_is_equal(seed, dtype):
    rng = np.random.default_rng(seed)
    constants = quantization(rng, dtype, ("xs", "xz"), 0.02) | quantization(rng, dtype, ("as", "az"), 0.03)
    constants |= quantization(rng, dtype, ("ys", "yz"), 0.03)
    weights = np.float32(0.01)
    constants |= {"w": numbers(rng, np.int8, (5, 4, 1, 1), False), "ws": weights, "wz": np.int8(0)}
    nodes = [
        node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "as", "az"], ["a"]),
        node("QLinearConcat", ["ys", "yz", "x", "xs", "xz", "a", "as", "az"], ["y"], axis=1),
    ]
    net = model(nodes, {"x": (dtype, [1, 4, 16, 16])}, ["y"], constants)
    _, mismatches = compare(net, (4, 16, 16), dtype, rng)
    assert mismatches == 0


def binary(op, rng, dtype):
    """A quantized sum or product of the input and of its mirror image along the channels, all pairs of numbers."""
    constants = quantization(rng, dtype, ("xs", "xz"), 0.02) | quantization(rng, dtype, ("as", "az"), 0.03)
    result = 0.04 if op == "QLinearAdd" else 0.06
    constants |= quantization(rng, dtype, ("ys", "yz"), result)
    constants |= {"starts": np.array([0]), "mid": np.array([1]), "ends": np.array([2]), "axes": np.array([1])}
    constants |= {"w": np.ones((1, 1, 1, 1), np.int8), "one": np.float32(1), "wz": np.int8(0)}
    nodes = [
        node("Slice", ["x", "starts", "mid", "axes"], ["a0"]),
        node("Slice", ["x", "mid", "ends", "axes"], ["b"]),
        # only gives the second operand another scale: clip(b * xs / as)
        node("QLinearConv", ["b", "xs", "xz", "w", "one", "wz", "as", "az"], ["c"]),
        node(op, ["a0", "xs", "xz", "c", "as", "az", "ys", "yz"], ["y"]),
    ]
    for i, n in enumerate(nodes):
        n.name = f"n{i}"
    return model(nodes, {"x": (dtype, [1, 2, 256, 256])}, ["y"], constants)


@pytest.mark.parametrize("op, most", [("QLinearAdd", 40e-6), ("QLinearMul", 40e-6)])
def test_binary_operators_differ_in_a_few_of_a_million(op, most):
    rng = np.random.default_rng(3)
    values = mismatches = 0
    for i in range(24):
        counted = compare(
            binary(op, rng, (np.uint8, np.int8)[i % 2]), (2, 256, 256), (np.uint8, np.int8)[i % 2], rng, most=1
        )
        values, mismatches = values + counted[0], mismatches + counted[1]
    print(f"{op}: {mismatches} of {values}")
    assert mismatches <= values * most


def test_addition_factors_are_fitted():
    """Of 40 random additions the fit leaves at most a few pairs of 65536 that round otherwise than in float32."""
    rng = np.random.default_rng(0)
    left = []
    for _ in range(40):
        scales = 10 ** rng.uniform(-2, -1, 2)
        operands = [Params(s, int(z), True) for s, z in zip(scales, rng.integers(-128, 128, 2), strict=True)]
        a, b, shift, pairs = add_factors(*operands, Params(scales.sum(), int(rng.integers(-128, 128)), True))
        assert 0 < max(a, b) < 1 << 26
        assert abs(a / 2**shift - scales[0] / scales.sum()) < 1e-6
        assert abs(b / 2**shift - scales[1] / scales.sum()) < 1e-6
        left.append(pairs)
    assert max(left) <= 2
    assert sum(p == 0 for p in left) >= 34
