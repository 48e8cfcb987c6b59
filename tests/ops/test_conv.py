"""What else is known of a convolution; its sums: tests/ops/test_arithmetic.py."""

import dataclasses

import numpy as np
import pytest

from superlip.element import INT8
from superlip.graph import ir
from superlip.ops import Window, spec_of

CONV = ir.Conv(
    name="conv", inputs=("x",), output="y", weights=np.ones((6, 4, 3, 2), np.int8), bias=np.zeros(6, np.int32),
    scale=np.ones(6, np.float32), strides=(2, 1), pads=(1, 0, 1, 0),
)  # fmt: skip


def spec(**fields):
    """The specification of the convolution with other fields."""
    return spec_of(dataclasses.replace(CONV, **fields))


def test_size():
    assert spec().weight_bytes == 6 * 4 * 3 * 2
    result = ir.Value("y", (6, 5, 7), 1.0, 0)
    assert spec().macs(result) == spec().work(result) == 6 * 5 * 7 * 4 * 3 * 2
    assert spec().window == Window((3, 2), (2, 1), (1, 0, 1, 0), (1, 1))


def test_a_table_is_applied_to_the_clipped_result():
    table = np.roll(np.arange(-128, 128)[::-1], 128).astype(np.int8)  # -1 - x
    x, value = np.full((1, 4, 3, 2), 1, np.int8), ir.Value("x", (4, 3, 2), 1.0, 0)
    plain = {"pads": (0, 0, 0, 0), "strides": (1, 1), "high": 20}
    assert (spec(**plain).compute([x], [value], value) == 20).all()
    assert (spec(**plain, table=table).compute([x], [value], value) == -21).all()
    zero_point = {"table_zero_point": -10}
    assert (spec(**plain, table=table, **zero_point).compute([x], [value], value) == -1 - (24 - 10)).all()


@pytest.mark.parametrize(
    "fields, keeps",
    [
        ({}, True),
        ({"table": INT8.by_pattern()}, True),
        ({"table": -1 - INT8.by_pattern()}, False),
        ({"scale": np.array([1, 1, 0, 1, 1, 1], np.float32)}, False),
        ({"bias": np.full(6, 2**31 - 1 - 24 * 127, np.int32)}, True),
        ({"bias": np.full(6, 2**31 - 24 * 127, np.int32)}, False),
        ({"bias": np.full(6, -(2**31) + 24 * 128, np.int32)}, True),
        ({"bias": np.full(6, -(2**31) + 24 * 128 - 1, np.int32)}, False),
    ],
)
def test_the_order_of_sums(fields, keeps):
    assert spec(**fields).keeps_order(INT8) == keeps


def test_without_its_window():
    weights = np.arange(48).astype(np.int8).reshape(2, 4, 3, 2)
    node = spec(weights=weights).unfolded()
    assert node.weights[:, :, 0, 0].tolist() == weights.reshape(2, -1).tolist()
    assert spec_of(node).window == Window()
    assert spec(groups=2).unfolded() is None


def test_which_share_passes():
    assert spec().folds
    assert not spec(strides=(1, 2)).folds and not spec(dilations=(1, 2)).folds and not spec(groups=2).folds
    assert not spec(weights=np.ones((6, 4, 3, 1), np.int8)).folds


def test_what_a_concatenation_may_ask():
    assert spec().can_write(3, 8) and spec().takes_table
    assert not spec(table=INT8.by_pattern()).takes_table
