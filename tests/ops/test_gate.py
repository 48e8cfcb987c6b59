"""Operands of one number a channel (the same instruction by instruction: tests/compile/test_compiler.py)."""

import numpy as np
import pytest
from nets import Builder

from superlip.ops import apply
from superlip.ops.spec import spec_of


@pytest.mark.parametrize("kind", ["add", "mul"])
def test_operands_may_be_swapped(kind):
    rng = np.random.default_rng(0)
    net = Builder(rng, (5, 4, 3))
    gate = net.pool("image", "average", (4, 3))
    result = getattr(net, kind)("image", gate)
    node = net.nodes[-1]
    image, number = (rng.integers(-128, 128, (2, *net.values[name].shape)).astype(np.int8) for name in node.inputs)
    swapped = spec_of(node).swapped()
    assert swapped.inputs == (gate, "image") and swapped.output == result
    np.testing.assert_array_equal(apply(node, [image, number], net.values), apply(swapped, [number, image], net.values))
