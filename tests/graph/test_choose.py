"""Which calibration is chosen."""

import numpy as np
import pytest
from onnx_models import FloatNet

from superlip import graph
from superlip.graph.onnx import choose
from superlip.graph.onnx.choose import choose_calibration
from superlip.graph.onnx.options import QuantizeOptions
from superlip.graph.onnx.rewrite import prepare


def network(outlier):
    """One value of an activation in some thousands is far from all others; the next layer hardly takes it."""
    net = FloatNet((3, 16, 16))
    x = net.op("Relu", net.conv("x", 4, 3))
    images = net.images(8)
    images[:, :, 3, 3] *= outlier
    return net.model(net.op("Clip", net.conv(x, 4, 4), net.const(-2), net.const(2))), images


def test_outliers_are_left_out_where_that_is_better():
    model, images = network(200)
    chosen = choose_calibration(prepare(model), images, QuantizeOptions("auto", 98.0))
    assert chosen.calibration != "minmax" and chosen.percentile == 98.0
    model, images = network(1)
    assert choose_calibration(prepare(model), images, QuantizeOptions("auto", 60.0)).calibration != "percentile"


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_is_chosen_wherever_it_stands(order, monkeypatch):
    monkeypatch.setattr(choose, "_CANDIDATES", ("percentile", "minmax")[::order])
    model, images = network(1)
    assert choose_calibration(prepare(model), images, QuantizeOptions("auto", 60.0)).calibration == "minmax"


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_images_to_choose_by(count):
    model, images = network(200)
    assert choose_calibration(prepare(model), images[:count], QuantizeOptions("auto")).calibration == "minmax"


def test_it_is_said_which_was_chosen():
    model, images = network(200)
    first, second = (graph.load(model, calibrate=images, quantize="auto") for _ in range(2))
    assert any(note.startswith("calibration by ") for note in first.notes) and first.notes == second.notes
    assert all(
        np.float32(a.scale) == np.float32(b.scale)
        for a, b in zip(first.values.values(), second.values.values(), strict=True)
    )
