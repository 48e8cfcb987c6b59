"""Linear interpolation: against ONNX Runtime's Resize, lowered, and on the host."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import check_lowered
from nets import Builder
from onnx import TensorProto, helper

from superlip.graph import ir
from superlip.graph.onnx.importer.interpolation import phases
from superlip.graph.onnx.onnxtools import small_model
from superlip.graph.onnx.views import copies
from superlip.graph.session import open_session
from superlip.ops import apply, spec_of

SOURCE, RESULT = (0.25, -7), (0.31, 11)


def interpolate(image, factors, is_half_pixel, **clip):
    """The node's result for an image without edges (C, H, W), which are added, and its graph."""
    axes = [phases(factor, is_half_pixel) for factor in factors]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    c, h, w = padded.shape
    rows, cols = (tuple((offset + 1, weights) for offset, weights in axis) for axis in axes)
    node = ir.Interpolate(
        name="resize", inputs=("x",), output="y", rows=rows, cols=cols, scale=SOURCE[0] / RESULT[0], **clip
    )
    shape = (c, (h - 2) * factors[0], (w - 2) * factors[1])
    values = {"x": ir.Value("x", padded.shape, *SOURCE), "y": ir.Value("y", shape, *RESULT)}
    return apply(node, [padded[None]], values)[0], ir.Graph("g", values, [node], "x", ["y"], b""), padded


def onnxruntime(image, factors, mode):
    """Steps of the result, real numbers, of Resize in floating point."""
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear", coordinate_transformation_mode=mode)
    scales = {"scales": np.array([1, 1, *factors], np.float32)}
    model = small_model([node], [("x", TensorProto.FLOAT, [1, *image.shape])], ["y"], scales, {"": 17})
    real = (image.astype(np.float32) - SOURCE[1]) * np.float32(SOURCE[0])
    (found,) = open_session(model, is_optimized=False).run(None, {"x": real[None]})
    return found[0].astype(np.float64) / RESULT[0] + RESULT[1]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)), st.booleans(),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)), st.integers(0, 1 << 30),
)  # fmt: skip
def test_it_is_what_onnx_runtime_computes(factors, is_half_pixel, shape, seed):
    """Rounded from the same number, but for weights above 127, which lose a 254th each."""
    image = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    found, _, _ = interpolate(image, factors, is_half_pixel, low=-100, high=90)
    wanted = np.clip(onnxruntime(image, factors, "half_pixel" if is_half_pixel else "asymmetric"), -100, 90)
    is_exact = all(max(max(w) for _, w in phases(f, is_half_pixel)) <= 11 for f in factors)
    assert np.abs(found - wanted).max() <= (0.5 if is_exact else 2.5) + 1e-3
    assert found.min() >= -100 and found.max() <= 90


def test_one_number_stays_that_number():
    image = np.full((2, 3, 3), 100, np.int8)
    for factor in (2, 3, 8, 15):
        found, _, _ = interpolate(image, (factor, factor), True)
        assert len(np.unique(found)) == 1


@pytest.mark.parametrize(
    ("factors", "is_half_pixel"), [((2, 2), True), ((3, 1), True), ((2, 4), False), ((9, 9), True)]
)
def test_the_node_and_the_host_compute_the_same(factors, is_half_pixel):
    image = np.random.default_rng(0).integers(-128, 128, (11, 3, 4)).astype(np.int8)
    found, graph, padded = interpolate(image, factors, is_half_pixel, high=80)
    network = check_lowered(graph, padded)
    assert len(network.ops) == factors[0] * factors[1]
    session = open_session(spec_of(graph.nodes[0]).host_model(graph.values), is_optimized=False)
    np.testing.assert_array_equal(session.run(None, {"image": padded[None]})[0][0], found)


def test_edges_are_copied_in_runs():
    net = Builder(np.random.default_rng(0), (5, 24, 25))
    x = net.conv("image", 9, (1, 1))
    rows, cols = np.array([0, *range(24), 23]), np.array([2, 1, *range(25), 23, 22])
    y = net._value("edges", (9, len(rows), len(cols)))
    net.nodes.append(ir.Resize(name="edges", inputs=(x,), output=y, rows=rows, cols=cols))
    network = check_lowered(net.graph(net.conv(y, 3, (2, 2))), net.image())
    assert sum(op.name.startswith("edges") for op in network.ops) == len(copies(rows)) * len(copies(cols)) == 3 * 5
