"""Quantization of activations by tensor: what shares one, and what saturates."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import FloatNet

from superlip import graph
from superlip.golden import agree
from superlip.graph.onnx.scales import Params, choose_params
from superlip.graph.onnx.units import ANY, Unit

INF = float("inf")


def unit(kind, sources, result, clip=ANY):
    return Unit(kind, (helper.make_node("Any", sources, [result]),), tuple(sources), clip)


def function(source, result):
    return Unit("real", (helper.make_node("HardSigmoid", [source], [result]),), (source,))


def test_what_movers_join_has_one_quantization():
    units = [unit("integer", ["x"], "a"), unit("mover", ["a"], "b"), unit("mover", ["b"], "c")]
    params, saturated = choose_params(units, {"x": (0, 1), "a": (-1, 3), "b": (-1, 3), "c": (0, 2)}, ["x"], {"c"})
    assert params["a"] == params["b"] == params["c"] == Params.of(-1, 3) != params["x"]
    assert not saturated


def test_what_is_clipped_by_all_saturates_where_they_clip():
    units = [unit("integer", ["x"], "a"), unit("mover", ["a"], "b"), unit("clip", ["b"], "c", (0, INF))]
    ranges = {"x": (0, 1), "a": (-9, 3), "b": (-9, 3), "c": (0, 3)}
    params, saturated = choose_params(units, ranges, ["x"], {"c"})
    assert params["a"] == Params.of(0, 3) and saturated == {"a", "b"}
    params, saturated = choose_params(units, ranges, ["x"], {"a", "c"})  # somebody sees the rest
    assert params["a"] == Params.of(-9, 3) and not saturated
    units.append(unit("clip", ["a"], "d", (-1, 1)))
    both, _ = choose_params(units, ranges | {"d": (-1, 1)}, ["x"], {"c", "d"})
    assert both["a"] == both["c"] == both["d"] == Params.of(-1, 3)


def test_a_range_holds_0_and_is_never_empty():
    assert Params.of(2, 4) == Params.of(0, 4)
    assert Params.of(-4, -2).zero == 255
    assert Params.of(0, 0).scale > 0
    assert np.isfinite(1 / Params.of(0, 1e-44).scale)


def hard_sigmoid(unit, span, result):
    """A reach: what lies outside -3 to 3 changes nothing."""
    return max(span[0], -3), min(span[1], 3)


def test_what_functions_alone_take_has_the_range_in_which_they_change():
    units = [unit("integer", ["x"], "a"), unit("mover", ["a"], "b"), function("b", "c"), function("a", "d")]
    ranges = {"x": (0, 1), "a": (-9, 2), "b": (-9, 2), "c": (0, 1), "d": (0, 1)}
    params, saturated = choose_params(units, ranges, ["x"], {"c", "d"}, hard_sigmoid)
    assert params["a"] == params["b"] == Params.of(-3, 2) and saturated == {"a", "b"}
    assert params["c"] == Params.of(0, 1)
    params, saturated = choose_params(units, ranges, ["x"], {"b", "c", "d"}, hard_sigmoid)  # somebody sees the rest
    assert params["a"] == Params.of(-9, 2) and not saturated
    params, saturated = choose_params(
        [*units, unit("integer", ["a"], "e")], ranges | {"e": (0, 1)}, ["x"], {"e"}, hard_sigmoid
    )
    assert params["a"] == Params.of(-9, 2) and not saturated


def test_a_range_that_hardly_shrinks_stays():
    units = [unit("integer", ["x"], "a"), function("a", "c")]
    params, saturated = choose_params(units, {"x": (0, 1), "a": (-3.01, 2), "c": (0, 1)}, ["x"], {"c"}, hard_sigmoid)
    assert params["a"] == Params.of(-3.01, 2) and not saturated


def test_a_clip_and_a_function_of_one_tensor():
    units = [unit("integer", ["x"], "a"), unit("clip", ["a"], "c", (0, INF)), function("a", "d"), function("c", "e")]
    ranges = {"x": (0, 1), "a": (-9, 8), "c": (0, 8), "d": (0, 1), "e": (0, 1)}
    params, saturated = choose_params(units, ranges, ["x"], {"d", "e"}, hard_sigmoid)
    assert params["a"] == params["c"] == Params.of(-3, 3) and saturated == {"a", "c"}  # 3: all that lies behind changes


@pytest.mark.parametrize("activation", ["Relu", "HardSigmoid"])
def test_what_is_interpolated_does_not_saturate_before(activation):
    """Numbers between two do not come out the same when the two are clipped."""
    net = FloatNet((3, 8, 8))
    x = net.op("Mul", net.conv("x", 4, 3), net.const(3))
    x = net.op("Resize", x, "", net.const([1, 1, 2, 2]), mode="linear", coordinate_transformation_mode="asymmetric")
    model, images = net.model(net.conv(net.op(activation, x), 4, 4)), net.images(6)
    assert agree(graph.load(model, calibrate=images), images).decibels > 30
