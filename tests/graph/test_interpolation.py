"""Resize between pixels."""

import re

import numpy as np
import pytest
from float_nets import SHAPE
from functional import run_compiled
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import FloatNet
from qdq_models import QdqNet, assert_equal

from superlip import golden, graph
from superlip.graph import ir
from superlip.graph.onnx.importer.interpolation import phases


@given(st.integers(1, 15), st.booleans())
def test_weights_are_those_of_the_place_between_pixels(factor, is_half_pixel):
    found = phases(factor, is_half_pixel)
    for p, (offset, weights) in enumerate(found):
        place = (p + 0.5) / factor - 0.5 if is_half_pixel else p / factor
        share = weights[1] / sum(weights) if len(weights) > 1 else 0.0
        assert offset + share == pytest.approx(place) and min(weights) > 0
    assert found[0] == (0, (1,)) if factor == 1 else len(found) == factor


def resized(net, x, *sizes, **given):
    x = net.op("Resize", x, "", *(sizes or [net.const([1, 1, 2, 2])]), **({"mode": "linear"} | given))
    return net.conv(x, 4, 8)


def verdict(made, **given):
    """Why the Resize of a network runs on the host; None where the accelerator runs it."""
    (row,) = [row for row in graph.check(made, calibrate=None, **given) if row.op == "Resize"]
    return row.why if row.verdict == "host" else None


@pytest.mark.parametrize("mode", ["half_pixel", "asymmetric", "pytorch_half_pixel"])
def test_it_runs_on_the_accelerator(mode):
    net = FloatNet(SHAPE)
    made = net.model(resized(net, net.op("Relu", net.conv("x", 8, 6)), coordinate_transformation_mode=mode))
    found = graph.load(made, calibrate=net.images(4))
    assert [type(n) for n in found.nodes] == [ir.Conv, ir.Resize, ir.Interpolate, ir.Conv]
    image = golden.quantize_input(found, net.images(1))[0]
    for boards in (1, 2):
        assert run_compiled(found, image, boards, seeds=(0,)).segments == 1


@pytest.mark.parametrize(
    ("sizes", "given", "why"),
    [
        ([1, 8, 24, 36], {}, None),
        ([1, 8, 6, 6], {}, None),
        ([1, 8, 18, 24], {}, "mode='linear' from (12, 12) to (18, 24): only by whole factors up to 15"),
        ([1, 8, 24, 24], {"coordinate_transformation_mode": "align_corners"}, "each row has weights of its own"),
        ([1, 8, 24, 24], {"mode": "cubic"}, "only 'nearest' and 'linear'"),
        ([1, 8, 6, 6], {"coordinate_transformation_mode": "asymmetric"}, "to (6, 6): only by whole factors"),
    ],
)
def test_what_the_host_keeps(sizes, given, why):
    net = FloatNet(SHAPE)
    made = net.model(resized(net, net.op("Relu", net.conv("x", 8, 6)), "", net.const(sizes, np.int64), **given))
    found = verdict(made)
    assert found is None if why is None else re.search(re.escape(why), found)


@pytest.mark.parametrize("opset", [10, 13, 21])
def test_of_a_quantized_model(opset):
    net = QdqNet((3, 8, 8))
    x = net.both(net.op("Conv", net.both("x"), net.weights(5, 3)))
    scales = [net.const([1, 1, 2, 3])] if opset == 10 else ["", net.const([1, 1, 2, 3])]
    made = net.model(net.both(net.op("Resize", x, *scales, mode="linear"), scale=0.043), opset=opset)
    found = assert_equal(made, net.images(3))
    assert any(isinstance(node, ir.Interpolate) for node in found.nodes)
