"""Integer models in ONNX Runtime are exact on every CPU: the reference that the golden is held against."""

import numpy as np
import pytest
from onnx_models import model, node

from superlip.graph.given import Given
from superlip.graph.session import open_session


def products(kind, weight_kind, *, shared, groups):
    """One or two QLinearConv of which every product pair leaves int16, and the sums that are right."""
    zero, weight_zero = kind(0), weight_kind(0)
    top = np.iinfo(weight_kind).max
    weights = np.full((4, 4 // groups, 3, 3), top, weight_kind)
    constants = {
        "s": np.float32(1), "z": zero, "w": weights, "ws": np.full(4, 1 / 2**14, np.float32),
        "wz": np.full(4, weight_zero), "rs": np.float32(2.0), "b": np.arange(4, dtype=np.int32),
    }  # fmt: skip
    operands = ["x", "s", "z", "w", "ws", "wz", "rs", "z", "b"]
    nodes = [node("QLinearConv", operands, ["y"], group=groups)]
    outputs = ["y"]
    if shared:
        nodes.append(node("QLinearConv", operands, ["y2"], group=groups))
        nodes[1].name = "other"
        outputs.append("y2")
    image = np.full((1, 4, 3, 3), np.iinfo(kind).max, kind)
    accumulators = 9 * (4 // groups) * int(image.max()) * int(top) + np.arange(4)
    right = np.rint(accumulators / 2**15)
    return model(nodes, {"x": (kind, image.shape)}, outputs, constants), image, right


@pytest.mark.parametrize("is_optimized", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("kind", "weight_kind"), [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)])
def test_products_do_not_saturate(kind, weight_kind, shared, groups, is_optimized):
    made, image, right = products(kind, weight_kind, shared=shared, groups=groups)
    session = open_session(made.SerializeToString(), is_optimized=is_optimized)
    for result in session.run(None, {"x": image}):
        assert np.array_equal(result.reshape(4), np.clip(right, 0, np.iinfo(kind).max))


def test_no_optimization_changes_the_model_as_given():
    """ONNX Runtime 1.32 moves the operators of this one to channels last, and leaves the axes of Pad."""
    constants = {
        "s": np.float32(0.1), "z": np.uint8(3), "w": np.ones((3, 3, 3, 3), np.int8), "ws": np.full(3, 0.02, np.float32),
        "wz": np.zeros(3, np.int8), "pads": np.array([1, 1, 1, 1]), "axes": np.array([2, 3]), "n": np.uint8(3),
    }  # fmt: skip
    product = ["s", "z", "w", "ws", "wz", "s", "z"]
    nodes = [node("QLinearConv", ["x", *product], ["a"]), node("Pad", ["a", "pads", "n", "axes"], ["b"])]
    nodes.append(node("QLinearConv", ["b", *product], ["y"]))
    nodes[2].name = "second"
    made = model(nodes, {"x": (np.uint8, [1, 3, 6, 7])}, ["y"], constants, opset=18)
    result = Given(made.SerializeToString(), "x").run(np.full((1, 3, 6, 7), 9, np.uint8))["y"]
    assert result.shape == (1, 3, 4, 5)
