"""Nodes that not even the host can run."""

import pytest
from onnx import TensorProto
from onnx_models import FloatNet

from superlip import graph

SHAPE = (3, 8, 8)


def test_what_nothing_runs_is_refused_by_name():
    net = FloatNet(SHAPE)
    x = net.op("Cast", net.op("NonZero", net.conv("x", 4, 3)), to=TensorProto.FLOAT)
    with pytest.raises(graph.ModelError, match=r"NonZero 'n1': the size of its result depends on the image"):
        graph.load(net.model(x), random_weights=0)
    net = FloatNet(SHAPE)
    x = net.op("RandomNormalLike", net.conv("x", 4, 3))
    with pytest.raises(graph.ModelError, match=r"RandomNormalLike 'n1': it gives other numbers each time"):
        graph.load(net.model(net.conv(x, 4, 4)), random_weights=0)
