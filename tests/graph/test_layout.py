"""Layout operators in the walk: views, and what Pad adds to one."""

import numpy as np
import pytest
from imported import Quantized

from superlip.graph import ir


@pytest.mark.parametrize("value", [0.0, 1.5, -2.0])
def test_padding_adds_the_element_of_its_number(value):
    net = Quantized()
    pads = net.const(np.array([0, 0, 1, 0, 0, 0, 2, 1]))
    graph = net.check(net.both(net.conv(net.op("Pad", net.both("x"), pads, net.const(np.float32(value))), 3, 2)))
    pad = next(n for n in graph.nodes if isinstance(n, ir.Pad))
    assert pad.pads == (1, 0, 2, 1) and pad.value == round(value / 0.05) + 120 - 128


def test_a_number_out_of_the_range_is_refused_unless_a_maximum_takes_it():
    net = Quantized()
    pads, low = net.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), net.const(np.float32(-1000))
    padded = net.op("Pad", net.both("x"), pads, low)
    graph, importer = net.imported(net.both(net.conv(padded, 3, 2)))
    assert graph is None and "outside of the range" in importer.unsupported[0][1]
    net.nodes = net.nodes[: [n.op_type for n in net.nodes].index("Pad") + 1]
    net.check(net.both(net.op("MaxPool", padded, kernel_shape=[3, 3])))


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_integers_are_padded_with_integers(kind):
    net = Quantized(kind=kind)
    image = net.op("MaxPool", "x", kernel_shape=[1, 1])
    number = net.const(np.array(net.constants["z"] + 3, kind))
    graph = net.check(net.op("Pad", image, net.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), number), dtype=kind)
    assert graph.nodes[-1].value == 120 - 128 + 3


def test_interpolation_is_no_movement():
    """Of integers ONNX Runtime interpolates in its own way."""
    net = Quantized()
    scales = net.const(np.float32([1, 1, 2, 2]))
    larger = net.op("Resize", net.op("QuantizeLinear", "x", "s", "z"), "", scales, mode="linear")
    graph, importer = net.imported(net.both(net.conv(net.op("DequantizeLinear", larger, "s", "z"), 3, 2)))
    assert graph is None and "only 'nearest' moves elements" in importer.unsupported[0][1]
