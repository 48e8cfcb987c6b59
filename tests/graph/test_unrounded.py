"""Activations that the model does not part from their convolution by QuantizeLinear."""

import numpy as np
import pytest
from imported import SCALE, Quantized
from onnx import helper

from superlip import golden
from superlip.graph import ir
from superlip.graph.onnx.importer.states import Params
from superlip.graph.onnx.importer.unrounded import params_between
from superlip.graph.session import open_session


@pytest.mark.parametrize("function", ["HardSwish", "Sigmoid", "silu", "Neg", "scaled"])
def test_a_function_behind_a_convolution(function):
    """One convolution with a table; at most the rounding in between is off: two steps and a half."""
    net = Quantized()
    x = net.conv(net.both("x"), 6, 2)
    if function == "silu":
        x = net.op("Mul", x, net.op("Sigmoid", x))
    elif function == "scaled":
        x = net.op("Mul", net.op("GlobalAveragePool", net.both(x)), net.const(np.float32(1.004883)))
    else:
        x = net.op(function, x)
    graph, importer = net.imported(net.both(x))
    assert not importer.unsupported and not any(isinstance(n, ir.Host) for n in graph.nodes)
    if function != "scaled":
        assert [type(n) for n in graph.nodes] == [ir.Conv] and graph.nodes[0].table is not None
    assert any("does not round" in note for note in graph.notes)
    images = net.images(4)
    (ours,) = golden.predict_graph(graph, images).values()
    session = open_session(graph.model, is_optimized=False)
    theirs = np.concatenate([session.run(None, {"x": image[None]})[0] for image in images])
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() <= 2.5 * SCALE and np.ptp(theirs) > 5 * SCALE


def test_numbers_between_are_those_that_matter():
    result = Params(np.float32(0.02), 0)
    node = helper.make_node("HardSwish", ["superlip_x"], ["y"])
    found = params_between([node], {}, "y", result, {"": 17})
    low, high = ((bound - found.zero_point) * found.scale for bound in (-128, 127))
    assert low == pytest.approx(-3, abs=0.05) and high == pytest.approx(2.69, abs=0.02)  # gives 127.5 steps
