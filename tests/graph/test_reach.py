"""Where the quantized result of a function changes."""

import numpy as np
import pytest
from onnx_models import FloatNet

from superlip.golden import agree
from superlip.graph import load
from superlip.graph.onnx.reach import reach_of
from superlip.graph.onnx.rewrite import prepare
from superlip.graph.onnx.scales import Params
from superlip.graph.onnx.units import find_units


def reach(op, span, result, **attributes):
    net = FloatNet((1, 4, 4))
    prepared = prepare(net.model(net.op(op, net.conv("x", 1, 1), **attributes)))
    unit = next(u for u in find_units(prepared) if u.op == op)
    assert unit.is_function
    return reach_of(prepared, unit, span, Params.of(*result))


@pytest.mark.parametrize(
    ("op", "span", "result", "expected"),
    [
        ("HardSwish", (-40, 9), (-0.375, 9), (-3, 9)),
        ("HardSigmoid", (-40, 30), (0, 1), (-2.5, 2.5)),
        ("HardSigmoid", (-1, 30), (0, 1), (-1, 2.5)),
        ("Sigmoid", (-90, 30), (0, 1), (-6.24, 6.24)),  # half a step of the result from its ends
        ("LeakyRelu", (-4, 8), (-0.04, 8), (-1.58, 8)),  # half a step of the result
    ],
)
def test_the_ends_of_what_makes_a_difference(op, span, result, expected):
    step = (span[1] - span[0]) / 100  # half a step of the result may be as far from the end
    np.testing.assert_allclose(reach(op, span, result), expected, atol=step)


@pytest.mark.parametrize("high", np.linspace(2, 9, 15))
def test_the_operand_s_ends_lie_beyond_the_last_change(high):
    """What saturates must give what lies behind the change, not what lies before it."""
    params, result = Params.of(*reach("LeakyRelu", (-9, high), (-0.09, high))), Params.of(-0.09, high)
    lowest = params.scale * (0 - params.zero)
    assert np.rint(0.01 * lowest / result.scale) == np.rint(0.01 * -9 / result.scale)


def test_a_constant_has_no_ends():
    assert reach("HardSigmoid", (10, 20), (0, 1)) == (10, 20)


def test_a_function_by_channel_keeps_its_range():
    net = FloatNet((3, 4, 4))
    net_slopes = net.const(np.float32([0.1, 0.2, 0.0]).reshape(3, 1, 1))
    prepared = prepare(
        net.model(net.op("Clip", net.op("Mul", net.op("Abs", "x"), net_slopes), net.const(0), net.const(1)))
    )
    for unit in find_units(prepared):
        if len(unit.sources) == 1 and any(prepared.consts[i].size > 1 for n in unit.members for i in n.input[1:]):
            assert reach_of(prepared, unit, (-9, 9), Params.of(0, 1)) == (-9, 9)
            break
    else:
        pytest.fail("no function by channel")


def test_steps_go_where_hard_swish_looks():
    """A convolution with far more below -3 than above."""
    net = FloatNet((3, 8, 8))
    weights, bias = net.const(np.abs(net.rng.normal(size=(4, 3, 1, 1))) * 20), net.const([5, 5, 5, 5])
    x = net.op("Conv", net.op("Min", "x", net.const(0.1)), weights, bias)
    images = net.images(6)
    assert agree(load(net.model(net.op("HardSwish", x)), calibrate=images), images).decibels > 30
