"""Matrix products of many rows on the accelerator."""

import numpy as np
import pytest
from onnx_models import FloatNet

import superlip
from superlip.graph import check, ir, load
from superlip.graph.onnx import pointwise


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(pointwise, "LEAST_MACS", 100)


def network(kind):
    """(model, images): a product in the middle, of rows of ``kind``."""
    net = FloatNet((6, 4, 5))
    x = net.op("Relu", net.conv("x", 8, 6))
    weights, bias = net.const(net.rng.normal(size=(8, 7))), net.const(net.rng.normal(size=7))
    if kind == "channels last":
        x = net.op("Transpose", x, perm=[0, 2, 3, 1])
        x = net.op("Add", net.op("MatMul", x, weights), bias)
        x = net.op("Transpose", net.op("Relu", x), perm=[0, 3, 1, 2])
    else:
        x = net.op("Transpose", net.op("Reshape", x, net.const([1, 8, 20], np.int64)), perm=[0, 2, 1])
        if kind == "rows":
            x = net.op("Gemm", net.op("Reshape", x, net.const([20, 8], np.int64)), weights, bias, alpha=0.5)
        else:
            x = net.op("Add", bias, net.op("MatMul", x, weights))
        x = net.op("Reshape", x, net.const([1, 20, 7], np.int64))
        x = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 1]), net.const([1, 7, 4, 5], np.int64))
    return net.model(net.conv(x, 3, 7)), net.images(4)


@pytest.mark.parametrize("kind", ["tokens", "rows", "channels last"])
def test_rows_are_pixels(kind):
    model, images = network(kind)
    graph = load(model, calibrate=images)
    assert sum(isinstance(n, ir.Conv) for n in graph.nodes) == 3
    assert not any("MatMul" in n.reason or "Gemm" in n.reason for n in graph.nodes if isinstance(n, ir.Host))
    (ours,), (theirs,) = superlip.predict(graph, images).values(), graph.given.run(images).values()
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 0.05 * np.ptp(theirs)
    verdicts = {row.op: row for row in check(model, calibrate=images)}
    assert verdicts["Gemm" if kind == "rows" else "MatMul"].verdict == "rewritten"


def test_small_products_stay_with_what_is_around_them(monkeypatch):
    monkeypatch.setattr(pointwise, "LEAST_MACS", 1 << 22)
    model, images = network("tokens")
    assert {row.op: row.verdict for row in check(model, calibrate=images)}["MatMul"] == "host"


def test_a_product_whose_results_the_host_moves_is_no_work_of_the_host():
    net = FloatNet((6, 4, 5))
    x = net.op("Reshape", net.conv("x", 8, 6), net.const([1, 8, 20], np.int64))
    x = net.op("MatMul", net.op("Transpose", x, perm=[0, 2, 1]), net.const(net.rng.normal(size=(8, 7))))
    row = next(row for row in check(net.model(x), calibrate=net.images(2)) if row.op == "MatMul")
    assert row.verdict == "rewritten" and row.why.endswith("the host moves what it gives")
