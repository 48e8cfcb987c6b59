"""Tensors of a model on many images, in stretches."""

import numpy as np
import onnx
import pytest
from onnx_models import FloatNet, model, node

from superlip.graph.errors import ModelError
from superlip.graph.onnx import stretches
from superlip.graph.onnx.stretches import run_tensors
from superlip.graph.session import open_session


def crossing():
    """A network in which some tensors are taken again much later."""
    net = FloatNet((6, 12, 12))
    first = net.op("Relu", net.conv("x", 6, 6))
    y = net.op("Relu", net.conv(first, 6, 6))
    z = net.op("Relu", net.conv(y, 6, 6))
    left, right = net.op("Split", net.op("Add", z, first), net.const([2, 4], np.int64), outputs=2, axis=1)
    y = net.op("Concat", right, left, axis=1)
    built = net.model(net.op("Add", y, net.op("Relu", "x")))
    built.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1  # so that shapes are known
    return net, built


def opened(monkeypatch):
    """Models of the sessions that are opened from here on."""
    found = []

    def record(serialized, **options):
        found.append(onnx.load_from_string(serialized).graph)
        return open_session(serialized, **options)

    monkeypatch.setattr(stretches, "open_session", record)
    return found


@pytest.mark.parametrize("most", [1, 2000, 1 << 22])
def test_all_tensors_are_those_of_one_session(monkeypatch, most):
    monkeypatch.setattr(stretches, "_MOST", most)
    net, built = crossing()
    images, parts = net.images(3), opened(monkeypatch)
    names = ["x", *(o for n in built.graph.node for o in n.output)]
    found = {name: [] for name in names}
    run_tensors(built, names, images, lambda name, array: found[name].append(array))
    everything = onnx.ModelProto.FromString(built.SerializeToString())
    del everything.graph.output[:]
    everything.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(everything.SerializeToString(), is_optimized=False)
    for number, image in enumerate(images):
        for name, expected in zip(names, session.run(names, {"x": image[None]}), strict=True):
            np.testing.assert_array_equal(found[name][number], expected)
    assert all(len(arrays) == len(images) for arrays in found.values())
    nodes = len(built.graph.node)
    assert {1: len(parts) == nodes, 2000: 1 < len(parts) < nodes, 1 << 22: len(parts) == 1}[most]
    assert sum(len(part.node) for part in parts) == nodes  # each node once


def test_what_nobody_asks_for_cuts_nothing(monkeypatch):
    monkeypatch.setattr(stretches, "_MOST", 1)
    net, built = crossing()
    parts, last = opened(monkeypatch), built.graph.output[0].name
    run_tensors(built, [last], net.images(2), lambda *_: None)
    assert len(parts) == 1


@pytest.mark.parametrize("asked", [["n1_0"], []])
def test_what_comes_behind_all_that_is_asked_for_is_not_run(monkeypatch, asked):
    monkeypatch.setattr(stretches, "_MOST", 1)
    net, built = crossing()
    images, parts, found = net.images(1), opened(monkeypatch), {}
    run_tensors(built, asked, images, found.__setitem__)
    assert sorted(found) == asked
    assert sum(len(part.node) for part in parts) == 2 * len(asked)


def test_a_tensor_of_unknown_shape_is_not_cut(monkeypatch):
    monkeypatch.setattr(stretches, "_MOST", 1)
    nodes = [
        node("Relu", ["x"], ["a"]), node("NonZero", ["a"], ["n"]), node("Cast", ["n"], ["b"], to=1),
        node("ReduceSum", ["b"], ["c"], keepdims=0), node("Add", ["c", "a"], ["y"]),
    ]  # fmt: skip
    built, parts, found = model(nodes, {"x": (np.float32, [1, 3])}, ["y"], {}), opened(monkeypatch), {}
    image = np.array([[1, 0, 2]], np.float32)
    run_tensors(built, ["a", "b", "c", "y"], image, found.__setitem__)
    np.testing.assert_array_equal(found["y"], image + 2)
    assert [[n.op_type for n in part.node] for part in parts][1][:2] == ["NonZero", "Cast"]


def test_a_model_that_does_not_run():
    nodes = [node("Relu", ["x"], ["a"]), node("Gather", ["a", "far"], ["y"], axis=0)]
    built = model(nodes, {"x": (np.float32, [1])}, ["y"], {"far": np.array([9])})
    with pytest.raises(ModelError, match="ONNX Runtime cannot run the model"):
        run_tensors(built, ["y"], np.zeros((1, 1), np.float32), lambda *_: None)
