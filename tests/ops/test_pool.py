"""Poolings, window by window; what VECTOR gets for them: tests/ops/test_vector.py."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.element import INT8, INT16
from superlip.graph import ir
from superlip.ops import spec_of


@st.composite
def poolings(draw):
    """(node, image) with pads smaller than the kernel."""
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    kernel = draw(st.integers(1, min(3, rows))), draw(st.integers(1, min(3, cols)))
    pads = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
    kind, strides = draw(st.sampled_from(["max", "average"])), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    counts = np.maximum(np.arange(kernel[0] * kernel[1] + 1), 1).astype(np.float32)
    node = ir.Pool(
        name="pool", inputs=("x",), output="y", kind=kind, kernel=kernel, strides=strides, pads=pads, low=-100,
        count_include_pad=draw(st.booleans()), scale=np.float32(1) / counts if kind == "average" else None,
    )  # fmt: skip
    image = np.random.default_rng(draw(st.integers(0, 99))).integers(-128, 128, (1, 1, rows, cols)).astype(np.int8)
    return node, image


@given(poolings(), st.integers(-128, 127))
@settings(deadline=None)
def test_each_window(case, zero_point):
    node, image = case
    value = ir.Value("x", image.shape[1:], 1.0, zero_point)
    result = spec_of(node).compute([image], [value], value)[0, 0]
    assert result.dtype == np.int8
    for (row, col), found in np.ndenumerate(result):
        y, x = row * node.strides[0] - node.pads[0], col * node.strides[1] - node.pads[1]
        window = image[0, 0, max(0, y) : y + node.kernel[0], max(0, x) : x + node.kernel[1]].astype(int)
        if node.kind == "max":
            assert found == max(window.max(), -100)
        else:
            count = node.kernel[0] * node.kernel[1] if node.count_include_pad else window.size
            mean = np.float32((window - zero_point).sum()) * node.scale[count]
            assert found == min(max(np.rint(mean) + zero_point, -100), 127)


def test_which_can_be_done_on_sums():
    def pool(**fields):
        return ir.Pool(name="pool", inputs=("x",), output="y", **{"kind": "max", "kernel": (2, 2), **fields})

    node = pool()
    assert spec_of(node).pool_of_sums(INT8) is node
    others = [pool(kind="average"), pool(kernel=(1, 1)), pool(high=100), pool(low=-127)]
    assert [spec_of(other).pool_of_sums(INT8) for other in others] == [None] * 4
    assert spec_of(node).pool_of_sums(INT16) is None  # it clips to 8 bits
