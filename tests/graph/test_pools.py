"""Poolings as the importer makes them."""

import numpy as np
import pytest
from functional import run_compiled
from hypothesis import given
from hypothesis import strategies as st
from qdq_models import QdqNet, assert_equal

from superlip import golden
from superlip.graph import check, ir, load
from superlip.graph.onnx.importer.pools import average_scale


@given(st.floats(2.0**-8, 1, width=32), st.floats(2.0**-8, 1, width=32), st.integers(1, 49))
def test_averages_have_a_scale_for_each_count(source, result, count):
    scale = average_scale(source, np.float32(result), count)
    assert scale.dtype == np.float32 and scale[0] == 0
    np.testing.assert_allclose(scale[1:] * np.arange(1, count + 1), source / result, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2] * 4}),
        ("MaxPool", {"kernel_shape": [3, 1], "dilations": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 0]}),
        ("MaxPool", {"kernel_shape": [2, 3], "dilations": [1, 2], "strides": [1, 2], "ceil_mode": 1}),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [3, 3], "auto_pad": "VALID"}),
        ("AveragePool", {"kernel_shape": [2, 3], "dilations": [2, 1], "strides": [2, 2]}),
        ("AveragePool", {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2] * 4, "count_include_pad": 1}),
    ],
)
def test_dilated_poolings(op, attributes):
    """As ONNX Runtime has them, and on one board and on two."""
    net = QdqNet((5, 9, 8))
    x = net.both(net.op("Conv", net.both("x"), net.weights(6, 5)))
    x = net.op(op, x, **attributes)
    model, images = net.model(net.both(x, scale=0.05 if op == "MaxPool" else 0.0317)), net.images(3)
    found = assert_equal(model, images)
    assert not any(isinstance(node, ir.Host) for node in found.nodes)
    for boards in (1, 2):
        run_compiled(found, golden.quantize_input(found, images[:1])[0], boards, seeds=(0,))


@pytest.mark.parametrize("dilations", [[1, 1], [2, 1]])
@pytest.mark.parametrize(("scale", "is_said"), [(0.05, True), (0.04, False)])
def test_means_at_the_scale_of_their_operand_say_that_ties_may_differ(dilations, scale, is_said):
    net = QdqNet((5, 9, 8))
    x = net.both(net.op("Conv", net.both("x"), net.weights(6, 5)))
    x = net.op("AveragePool", x, kernel_shape=[2, 2], dilations=dilations)
    notes = load(net.model(net.both(x, scale=scale))).notes
    assert any("ties" in note for note in notes) == is_said


@pytest.mark.parametrize(
    ("op", "attributes", "why"),
    [
        ("AveragePool", {"pads": [2] * 4}, "padding that does not count"),
        ("AveragePool", {"auto_pad": "SAME_UPPER", "count_include_pad": 1}, "write pads"),
        ("MaxPool", {"auto_pad": "SAME_LOWER"}, "write pads"),
    ],
)
def test_dilated_poolings_of_the_host(op, attributes, why):
    net = QdqNet((5, 9, 8))
    x = net.both(net.op("Conv", net.both("x"), net.weights(6, 5)))
    x = net.op(op, x, kernel_shape=[3, 3], dilations=[2, 2], **attributes)
    model = net.model(net.both(x))
    found = assert_equal(model, net.images(2))
    assert isinstance(found.nodes[-1], ir.Host)
    assert any(row.op == op and row.verdict == "host" and why in row.why for row in check(model))
