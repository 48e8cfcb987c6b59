"""A model as a whole, as `validate` leaves it."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import model

from superlip.graph.errors import ModelError
from superlip.graph.onnx.validate.model import validate


def two_nodes(**attributes):
    nodes = [
        helper.make_node("Flatten", ["a"], ["y"], name="second"),
        helper.make_node("MaxPool", ["x"], ["a"], name="first", kernel_shape=[2, 2], **attributes),
    ]
    return model(nodes, {"x": (np.float32, ["N", 1, 4, 4])}, ["y"], {})


def test_it_is_in_order_and_of_one_image():
    built = two_nodes()
    built.graph.value_info.append(helper.make_tensor_value_info("a", 1, [9, 9]))  # wrong: it is not believed
    validate(built, "net")
    assert [n.name for n in built.graph.node] == ["first", "second"] and not built.graph.value_info
    assert built.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_nodes_that_are_refused_anyway_are_not_looked_at():
    with pytest.raises(ModelError, match="MaxPool 'first': strides"):
        validate(two_nodes(strides=[1, 1, 1]), "net")
    validate(two_nodes(strides=[1, 1, 1]), "net", {"first"})
