"""Sessions whose integer arithmetic is exact."""

import numpy as np
import pytest
from onnx_models import model, node

from superlip.graph.apart import SMALL, take_apart
from superlip.graph.session import SessionError, open_session


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_products_at_the_corners_do_not_saturate(kind):
    """Two products of 255 * 127 leave 16 bits, where some CPUs saturate them."""
    ends, weights = np.iinfo(kind), np.full((8, 1), 127, np.int8)
    constants = {
        "s": np.float32(1), "z": np.array(ends.min, kind), "w": weights, "ws": np.float32(1), "wz": np.int8(0),
        "ys": np.float32(8 * 127 * 255 / 255), "yz": np.array(ends.min, kind),
    }  # fmt: skip
    product = node("QLinearMatMul", ["x", "s", "z", "w", "ws", "wz", "ys", "yz"], ["y"])
    built = model([product], {"x": (kind, [1, 8])}, ["y"], constants)
    (result,) = open_session(built.SerializeToString()).run(None, {"x": np.full((1, 8), ends.max, kind)})
    assert result.reshape(()) == ends.max


def test_a_model_that_is_refused():
    built = model([node("Relu", ["nothing"], ["y"])], {"x": (np.float32, [1])}, ["y"], {})
    with pytest.raises(SessionError):
        open_session(built.SerializeToString())


@pytest.mark.parametrize("is_input", [False, True])
@pytest.mark.parametrize("is_optimized", [False, True])
def test_large_constants_that_nothing_takes(is_input, is_optimized):
    """Files have such, as what is left of training."""
    constants = {"w": np.full(SMALL + 1, 2, np.float32), "left": np.ones(SMALL + 1, np.float32)}
    inputs = {"x": (np.float32, [1]), **({"left": (np.float32, [SMALL + 1])} if is_input else {})}
    built = model([node("Mul", ["x", "w"], ["y"])], inputs, ["y"], constants)
    light, weights = take_apart(built)
    assert weights.keys() == constants.keys()
    session = open_session(light.SerializeToString(), is_optimized=is_optimized, weights=weights)
    (result,) = session.run(None, {"x": np.array([3], np.float32)})
    np.testing.assert_array_equal(result, np.full(SMALL + 1, 6))
