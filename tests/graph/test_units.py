"""A float model cut into units that are quantized as one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import FloatNet

from superlip.graph.onnx.functions import clip_together
from superlip.graph.onnx.rewrite import prepare
from superlip.graph.onnx.units import ANY, find_units


def fixed(net, *outputs):
    model = net.model(*outputs)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


def units_of(net, *outputs):
    return find_units(prepare(fixed(net, *outputs)))


CLIPS = st.lists(st.sampled_from([None, (-1.0, 2.0), (0.5, 6.0), (-3.0, -1.0)]), max_size=3)


@settings(max_examples=20, deadline=None)
@given(CLIPS)
def test_an_operator_takes_in_the_clips_behind_it(clips):
    """All of them, as one clip; None is Relu."""
    net = FloatNet((2, 4, 4))
    x, wanted = net.conv("x", 3, 2), ANY
    for clip in clips:
        x = net.op("Relu", x) if clip is None else net.op("Clip", x, *map(net.const, clip))
        wanted = clip_together(wanted, (0.0, np.inf) if clip is None else clip)
    (unit,) = units_of(net, x)
    assert (unit.kind, unit.op, unit.clip, unit.output) == ("integer", "Conv", wanted, x)
    assert len(unit.members) == 1 + len(clips) and unit.sources == ("x",)


def test_a_clip_whose_operand_somebody_else_takes_is_its_own():
    net = FloatNet((2, 4, 4))
    x = net.conv("x", 2, 2)
    units = units_of(net, net.op("Add", net.op("Relu", x), net.op("MaxPool", x, kernel_shape=[1, 1])))
    kinds = [("integer", "Conv"), ("clip", "Relu"), ("mover", "MaxPool"), ("integer", "Add")]
    assert [(u.kind, u.op) for u in units] == kinds


@pytest.mark.parametrize(
    ("op", "kind", "attributes"),
    [
        ("MaxPool", "mover", {"kernel_shape": [2, 2]}),
        ("Flatten", "mover", {}),
        ("Sigmoid", "integer", {}),
        ("Tanh", "real", {}),
        ("Softmax", "host", {}),
        ("AveragePool", "integer", {"kernel_shape": [2, 2]}),
    ],
)
def test_kinds(op, kind, attributes):
    net = FloatNet((2, 4, 4))
    (unit,) = units_of(net, net.op(op, "x", **attributes))
    assert (unit.kind, unit.on_accelerator, unit.results) == (kind, kind != "host", [unit.output])


def test_a_function_of_several_nodes_is_one_unit():
    net = FloatNet((2, 4, 4))
    x = net.conv("x", 2, 2)
    units = units_of(net, net.op("Mul", x, net.op("Sigmoid", x)))
    assert [[n.op_type for n in u.members] for u in units] == [["Conv"], ["Sigmoid", "Mul"]] and units[1].kind == "real"
