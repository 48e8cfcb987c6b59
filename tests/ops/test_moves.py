"""What moves elements: each result's element by itself. Their lowering: tests/plan/test_lower.py."""

import numpy as np
import pytest

from superlip.element import INT8
from superlip.graph import ir
from superlip.ops import apply, spec_of

IMAGE = np.random.default_rng(0).integers(-128, 128, (2, 8, 4, 6)).astype(np.int8)


def moved(kind, shape, *inputs, **fields):
    """The result of a node for ``IMAGE``, or for other inputs."""
    inputs = inputs or (IMAGE,)
    names = tuple(f"x{number}" for number, _ in enumerate(inputs))
    values = {name: ir.Value(name, x.shape[1:], 1.0, 0) for name, x in zip(names, inputs, strict=True)}
    node = kind(name="move", inputs=names, output="y", **fields)
    result = apply(node, list(inputs), values | {"y": ir.Value("y", shape, 1.0, 0)})
    assert result.dtype == np.int8 and result.shape == (len(inputs[0]), *shape)
    return result


def test_concatenation_and_its_tables():
    found = moved(ir.Concat, (16, 4, 6), IMAGE, IMAGE, tables=(None, -1 - INT8.by_pattern()))
    np.testing.assert_array_equal(found[:, :8], IMAGE)
    np.testing.assert_array_equal(found[:, 8:], -1 - IMAGE)


def test_slice_shuffle_reshape_pad_resize():
    np.testing.assert_array_equal(moved(ir.Slice, (3, 4, 6), start=2, stop=5), IMAGE[:, 2:5])
    order = np.array([7, 0, 6, 1, 5, 2, 4, 3])
    np.testing.assert_array_equal(moved(ir.Shuffle, (8, 4, 6), order=order)[:, 2], IMAGE[:, 6])
    assert moved(ir.Reshape, (4, 8, 6)).tobytes() == IMAGE.tobytes()
    padded = moved(ir.Pad, (8, 5, 11), pads=(1, 2, 0, 3), value=-9)
    np.testing.assert_array_equal(padded[:, :, 1:, 2:8], IMAGE)
    assert (padded == -9).sum() - (IMAGE == -9).sum() == 2 * 8 * (5 * 11 - 4 * 6)
    rows, cols = np.array([0, 0, 3]), np.array([5, 1])
    found = moved(ir.Resize, (8, 3, 2), rows=rows, cols=cols)
    assert found[1, 4, 2, 0] == IMAGE[1, 4, 3, 5] and found[0, 0, 1, 1] == IMAGE[0, 0, 0, 1]


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode):
    found = moved(ir.DepthToSpace, (2, 8, 12), block=2, mode=mode)
    for n, c, y, x in np.ndindex(found.shape):
        phase = y % 2 * 2 + x % 2
        channel = phase * 2 + c if mode == "DCR" else c * 4 + phase
        assert found[n, c, y, x] == IMAGE[n, channel, y // 2, x // 2]


def test_space_to_depth_undoes_it():
    there = moved(ir.DepthToSpace, (2, 8, 12), block=2, mode="DCR")
    np.testing.assert_array_equal(moved(ir.SpaceToDepth, (8, 4, 6), there, block=2), IMAGE)


def test_which_reshape_is_the_hosts():
    node = ir.Reshape(name="r", inputs=("x",), output="y", onnx_names=("R",))
    same = ir.Value("x", (8, 4, 6), 1.0, 0)
    assert spec_of(node).on_host({"x": same, "y": same}) is None
    other = ir.Value("y", (4, 8, 6), 1.0, 0)
    host = spec_of(node).on_host({"x": same, "y": other})
    assert (host.name, host.inputs, host.output, host.onnx_names) == ("r", ("x",), "y", ("R",))
    np.testing.assert_array_equal(apply(host, [IMAGE], {"x": same, "y": other}), IMAGE.reshape(2, 4, 8, 6))


def test_one_of_several_inputs():
    whole = IMAGE.reshape(2, -1, 1, 1)
    found = moved(ir.Part, (2, 4, 6), whole, first=24)
    np.testing.assert_array_equal(found, IMAGE[:, 1:3])


def test_pieces_of_the_image():
    """Rows outside of it are padding; pieces lie in channels."""
    x = np.arange(24, dtype=np.int8).reshape(1, 2, 4, 3)
    node = ir.Halves(name="h", inputs=("x",), output="y", first=(-1, 2), rows=4, value=-7)
    spec = spec_of(node)
    assert spec.pieces == ((-1, 2), 4)
    found = spec.compute([x], [], ir.Value("y", (4, 4, 3), 1.0, 0))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 3), (0, 0)), constant_values=-7)
    np.testing.assert_array_equal(found, np.concatenate([padded[:, :, 0:4], padded[:, :, 3:7]], axis=1))
