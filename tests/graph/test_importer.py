"""What is known of tensors during an import, and the nodes that it makes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imported import SCALE, Quantized
from onnx import TensorProto
from qdq_models import QdqNet, assert_equal

from superlip.graph import ir
from superlip.graph.onnx.importer.importer import Importer
from superlip.graph.onnx.importer.states import Params, Unsupported
from superlip.graph.onnx.views import View


def importer(**constants):
    net = Quantized()
    net.constants |= constants
    net.op("QuantizeLinear", "x", "s", "z")
    found = Importer(net.model("n0.0"), "test")
    found.values["v"] = ir.Value("v", (2, 4, 4), float(SCALE), -8, True)
    return found


@pytest.mark.parametrize(
    ("scale", "zero", "why"),
    [
        (np.float32([1, 2]), np.uint8(0), "one constant number"),
        (np.float16(1), np.uint8(0), "must be float32, not float16"),
        (np.float32(0), np.uint8(0), "must be a positive number, not 0.0"),
        (np.float32(1), np.int16(0), "must be int8 or uint8, not int16"),
        (np.float32(1), np.uint8([0, 1]), "one constant number"),
    ],
)
def test_scales_and_zero_points_that_no_value_has(scale, zero, why):
    with pytest.raises(Unsupported, match=why):
        importer(scale=scale, zero=zero).params("scale", "zero")


@given(st.integers(0, 255), st.booleans())
def test_zero_points_are_elements(own, is_unsigned):
    zero = np.uint8(own) if is_unsigned else np.uint8(own).view(np.int8)
    params = importer(scale=np.float32(0.5), zero=zero).params("scale", "zero")
    assert params == Params(np.float32(0.5), int(zero) - 128 * is_unsigned, is_unsigned)
    assert importer(scale=np.float32(0.5)).params("scale", "", is_unsigned).zero_point == -128 * is_unsigned


@given(st.lists(st.sampled_from(["a", "b", "a.2"]), max_size=8))
def test_names_are_used_once(names):
    found = importer()
    params, made = Params(np.float32(1), 0), []
    for name in names:
        view = found.emit(ir.Reshape, (name,), ("v",), name, (2, 4, 4), (1, 2, 4, 4), params)
        made.append(view.value)
    assert len(set(made)) == len(made) and len({n.name for n in found.nodes}) == len(made)
    assert all(m.startswith(n) for m, n in zip(made, names, strict=True))


def test_a_view_is_materialized_once():
    found = importer()
    view = View("v", (1, 2, 4, 4), np.arange(32).reshape(2, 4, 4)[::-1].reshape(1, 2, 4, 4), moves=("turn",))
    name = found.materialize(view)
    assert found.materialize(view) == name and [type(n) for n in found.nodes] == [ir.Shuffle]
    assert found.nodes[0].onnx_names == ("turn",) and found.params_of(View(name, view.shape)) == found.params_of(view)


def test_the_same_bytes_read_otherwise():
    found = importer()
    view, params = View("v", (1, 2, 4, 4)), Params(np.float32(0.1), 3, True)
    first = found.reinterpret(view, params, "t", ("n",))
    assert found.reinterpret(view, params, "t", ("n",)).value == first.value
    np.testing.assert_array_equal(found.nodes[0].table, found.element.by_pattern())
    with pytest.raises(Unsupported, match="another type"):
        found.reinterpret(view, Params(np.float32(0.1), 3), "t", ("n",))


def test_the_type_that_quantize_linear_names():
    net = Quantized(kind=np.int8)
    net.op("QuantizeLinear", "x", "s", "z", output_dtype=TensorProto.UINT8)
    with pytest.raises(Unsupported, match="output_dtype is uint8 and the zero point is not"):
        Importer(net.model("n0.0"), "test").params_made(net.nodes[0])


def test_a_function_of_what_is_moved_in_two_steps():
    """The accelerator has the movements one by one, and not together: the function is of what both give."""
    net = QdqNet((4, 5, 10))
    part = net.op("Slice", net.both("x"), *(net.const([n], np.int64) for n in (3, 4, 1)))
    scales = net.const([1.0, 1.0, 1.0, 2.0])
    given = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    wide = net.op("Resize", part, net.const(np.zeros(0)), scales, **given)
    x = net.op("Add", net.op("Transpose", wide, perm=[0, 2, 3, 1]), net.const(1.7))
    graph = assert_equal(net.model(net.both(net.op("Conv", net.both(x), net.weights(4, 5)))), net.images(3))
    assert any(isinstance(node, ir.Table) for node in graph.nodes)
