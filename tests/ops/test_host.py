"""Nodes that ONNX Runtime runs."""

import numpy as np
import pytest
from nets import Builder

from superlip.ops import apply, spec_of
from superlip.ops.lowering import LoweringError


def test_a_batch_is_run_image_by_image():
    net = Builder(np.random.default_rng(0), (3, 2, 2))
    y = net.host("image", "Softmax")
    (node,) = net.nodes
    images = np.random.default_rng(1).integers(-128, 128, (4, 3, 2, 2)).astype(np.int8)
    together = apply(node, [images], net.values)
    assert together.dtype == np.int8 and together.shape == images.shape
    np.testing.assert_array_equal(together, np.concatenate([apply(node, [i[None]], net.values) for i in images]))
    source, result = net.values["image"], net.values[y]
    reals = np.exp((images.astype(float) - source.zero_point) * source.scale)
    wanted = reals / reals.sum(axis=1, keepdims=True) / result.scale + result.zero_point
    assert np.abs(np.clip(wanted, -128, 127) - together).max() < 0.6


def test_it_is_the_hosts_and_not_the_accelerators():
    net = Builder(np.random.default_rng(0), (3, 2, 2))
    net.host("image")
    spec = spec_of(net.nodes[0])
    assert spec.on_host(net.values) is net.nodes[0]
    with pytest.raises(LoweringError, match="host0: Host does not run on the accelerator"):
        spec.lower(None)
