"""Sizes that a user gives to inputs which the model leaves open."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import FloatNet, model

import superlip
from superlip import cli
from superlip.graph import ModelError
from superlip.graph.onnx.input_shape import set_input_shapes
from superlip.graph.onnx.load import load
from superlip.graph.session import open_session


def open_model(shape, sizes=(6, 12, 12)):
    net = FloatNet(sizes)
    model = net.model(net.op("GlobalAveragePool", net.conv("x", 4, 6)))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(model.graph.output[0].name, TensorProto.FLOAT, None))
    return model


@pytest.mark.parametrize("given", [{"x": (1, 6, 10, 14)}, (1, 6, 10, 14), [3, 6, 10, 14]])
def test_open_sizes_are_those_that_are_given(given):
    model = open_model(["batch", 6, "height", -1])
    graph = load(model, random_weights=0, input_shape=given)
    assert graph.values[graph.input].shape == (6, 10, 14)
    images = np.random.default_rng(0).normal(size=(2, 6, 10, 14)).astype(np.float32)
    (mine,) = superlip.predict(graph, images).values()
    (theirs,) = graph.given.run(images).values()
    assert np.abs(mine.reshape(theirs.shape) - theirs).max() < 0.05 * np.abs(theirs).max()


def test_inputs_that_no_node_takes_need_no_name():
    model = open_model(["batch", 6, "height", -1])
    model.graph.input.append(helper.make_tensor_value_info("left/over:0", TensorProto.FLOAT, (1, 1, 1, 6)))
    set_input_shapes(model, (1, 6, 10, 14))
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 6, 10, 14]
    model.graph.node.add(op_type="Identity", input=["left/over:0"], output=["more"])
    with pytest.raises(ModelError, match="the model has x, left/over:0"):
        set_input_shapes(model, (1, 6, 10, 14))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, r"along axes 2, 3 \(shape \(batch, 6, height, \?\)\).*--input-shape x=1,6,SIZE,SIZE"),
        ({"y": (1, 6, 8, 8)}, "no input is named 'y'; the model has 'x'"),
        ({"x": (6, 8, 8)}, r"has 4 dimensions, \(batch, 6, height, \?\), and is given 3"),
        ({"x": (1, 6, 0, 8)}, "sizes are whole numbers above 0"),
        ({"x": (1, 5, 8, 8)}, "has the fixed size 6 along axis 1 and is given 5"),
    ],
)
def test_what_does_not_fit_the_input_is_named(given, why):
    with pytest.raises(ModelError, match=why):
        load(open_model(["batch", 6, "height", ""]), random_weights=0, input_shape=given)


def test_command_line_takes_sizes(tmp_path, capsys):
    path = str(tmp_path / "open.onnx")
    onnx.save(open_model(["batch", 6, "height", "width"]), path)
    assert cli.main(["check", path]) == 2
    assert cli.main(["check", path, "--input-shape", "x=1,6,10,14"]) == 0
    capsys.readouterr()
    assert cli.main(["check", path, "--input-shape", "x=1,6,ten,14"]) == 2
    assert "must be NAME=SIZE" in capsys.readouterr().err
    assert cli.main(["check", path, "--input-shape", "x=1,6,8,8", "--input-shape", "x=1,6,9,9"]) == 2
    assert "names an input twice" in capsys.readouterr().err


def test_outputs_of_which_the_model_says_nothing():
    """An output that has a name alone keeps having no type, which ONNX Runtime finds out itself."""
    built = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (np.float32, ["N", "C", 4])}, ["y"], {})
    set_input_shapes(built, {"x": (1, 3, 4)})
    assert not built.graph.output[0].HasField("type")
    open_session(built.SerializeToString())
