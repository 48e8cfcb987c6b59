"""What loading takes grows with the network, not faster: counted, so that no clock has to be right."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx_models import FloatNet
from paths import ROOT

from superlip import graph
from superlip.graph import session
from superlip.graph.onnx import equalize, load, quantize

CHANNELS, SIZE, IMAGES = 40, 12, 3
WEIGHTS = CHANNELS * CHANNELS * 9


def deep(depth):
    """Convolutions with Relu or HardSwish behind them, and every fourth time a movement that is the host's."""
    net = FloatNet((CHANNELS, SIZE, SIZE))
    x = "x"
    for block in range(depth):
        x = net.op("HardSwish" if block % 2 else "Relu", net.conv(x, CHANNELS, CHANNELS))
        if block % 4 == 1:
            x = net.op("Reshape", x, net.const([1, CHANNELS, SIZE, SIZE], np.int64))
        if block % 4 == 3:
            x = net.op("Transpose", x, perm=[0, 1, 3, 2])
    return net.model(net.conv(x, CHANNELS, CHANNELS)), net.images(IMAGES)


@pytest.fixture
def counts(monkeypatch):
    """What has been done, by name; a function that begins anew."""
    found = {}

    def counted(where, name, what=lambda *_, **__: 1):
        function = getattr(where, name)

        def call(*given, **named):
            found[name] = found.get(name, 0) + what(*given, **named)
            return function(*given, **named)

        monkeypatch.setattr(where, name, call)

    def nodes_run(model, images, *_):
        return len(model.graph.node) * len(images)

    counted(load, "import_model", lambda model, *_: len(model.graph.node))
    counted(load, "quantize_model", lambda prepared, *_: len(prepared.nodes))
    counted(load, "observe_ranges", nodes_run)
    counted(equalize, "run_tensors", lambda model, names, images, *_: nodes_run(model, images))
    counted(quantize, "quantize_weights")
    counted(quantize, "reach_of")
    counted(session, "with_uint8_products", len)
    counted(onnx.shape_inference, "infer_shapes", lambda model, **_: model.ByteSize())
    return found


def cost(counts, depth, **options):
    counts.clear()
    model, images = deep(depth)
    graph.load(model, calibrate=images, **options)
    return dict(counts)


def test_loading_is_linear(counts):
    short, long = cost(counts, 8), cost(counts, 24)
    assert long.keys() == short.keys()
    for what, count in long.items():
        assert count <= 3.3 * short[what], what


def test_nothing_is_done_twice(counts):
    """An image goes through it for equalisation and for the ranges; one import finds all that is the host's."""
    found = cost(counts, 8)
    nodes = 8 * 2 + 4 + 1
    assert found["run_tensors"] == found["observe_ranges"] == nodes * IMAGES
    assert found["quantize_weights"] == 9 and found["reach_of"] == 4
    assert found["quantize_model"] == 2 * nodes


def test_no_session_and_no_shapes_take_a_copy_of_the_weights(counts, monkeypatch):
    found = cost(counts, 8)
    assert found["with_uint8_products"] < WEIGHTS and found["infer_shapes"] < 9 * WEIGHTS


_HASHES = """
import hashlib
from superlip import graph
from test_loading import deep

model, images = deep(24)
g = graph.load(model, calibrate=images)
print(hashlib.sha256(g.model).hexdigest(), [(v.name, v.scale, v.zero_point) for v in g.values.values()])
"""


def test_a_network_is_quantized_the_same_each_time():
    """Python orders a set of names otherwise in each process: no sum and no list is made in that order."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "graph")])
    found = {
        subprocess.run(
            [sys.executable, "-c", _HASHES], check=True, capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": paths},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1 and found.pop()
