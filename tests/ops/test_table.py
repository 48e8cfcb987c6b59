"""Functions of one element."""

import numpy as np

from superlip.element import INT8
from superlip.graph import ir
from superlip.ops import spec_of


def test_each_pattern_has_its_entry():
    table = np.random.default_rng(0).permutation(INT8.by_pattern())
    spec = spec_of(ir.Table(name="table", inputs=("x",), output="y", table=table))
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 16, 16)
    value = ir.Value("x", (1, 16, 16), 1.0, 0)
    found = spec.compute([x], [value], value).ravel()
    assert found.tolist() == [table[number % 256] for number in range(-128, 128)]


def test_only_a_table_is_loaded():
    spec = spec_of(ir.Table(name="table", inputs=("x",), output="y", table=INT8.by_pattern()))
    (block,) = spec.params(None, 16)
    assert block.tobytes() == bytes(range(256))
    assert spec.loads == {"load_table": 1}
    assert spec.clip(INT8) == (-128, 127)
