"""What else is known of a convolution; its sums: tests/ops/test_arithmetic.py."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.element import INT8
from superlip.graph import ir
from superlip.ops import Window, spec_of
from superlip.ops.layout import Part, Placement, Storage
from superlip.ops.operation import Op

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
    assert spec(groups=2).unfolded().groups == 2
    assert spec(groups=6, weights=weights[:, :1]).unfolded() is None  # VECTOR may run it


def filled(**fields):
    """Random weights, a bias and scales for each filter."""
    rng = np.random.default_rng(1)
    return {
        "weights": rng.integers(-9, 9, (6, 4, 3, 2)).astype(np.int8), "bias": np.arange(6, dtype=np.int32),
        "scale": np.linspace(0.1, 1, 6, dtype=np.float32),
    } | fields  # fmt: skip


@pytest.mark.parametrize("groups", [1, 2])
def test_two_images_side_by_side(groups):
    """Each by itself; rows that pad are the caller's."""
    count = 4 // groups * groups
    x, y = np.arange(-80, 80, dtype=np.int8).reshape(2, 4, 5, 4)[:, None], ir.Value("y", (6, 3, 3), 1.0, 3)
    fields = filled(weights=filled()["weights"][:, : count // groups], groups=groups)
    one, both = spec(**fields, pads=(0, 1, 0, 0)), spec_of(spec(**fields, pads=(2, 1, 2, 0)).beside(2))
    found = both.compute([np.concatenate(list(x), axis=1)], [y], y)
    np.testing.assert_array_equal(found, np.concatenate([one.compute([image], [y], y) for image in x], axis=1))


@pytest.mark.parametrize(
    "fields, rests",
    [
        ({}, True), ({"low": 4}, False), ({"high": 2}, False), ({"low": 3, "high": 3}, True),
        ({"table": INT8.by_pattern(), "table_zero_point": 3}, True),
        ({"table": INT8.by_pattern(), "table_zero_point": 2}, False),
        ({"table": np.full(256, 3, np.int8)}, True),
    ],
)  # fmt: skip
def test_channels_that_give_the_zero_point(fields, rests):
    still = spec(**filled(**fields)).resting(slice(1, 4), ir.Value("y", (6, 3, 3), 1.0, 3))
    assert (still is not None) == rests
    if still is not None:
        x, y = np.arange(80, dtype=np.int8).reshape(1, 4, 5, 4), ir.Value("y", (6, 3, 3), 1.0, 3)
        found, plain = (spec_of(node).compute([x], [y], y) for node in (still, spec(**filled(**fields)).node))
        assert (found[:, 1:4] == 3).all()
        np.testing.assert_array_equal(found[:, [0, 4, 5]], plain[:, [0, 4, 5]])


def test_which_share_passes():
    assert spec().folds
    assert not spec(strides=(1, 2)).folds and not spec(dilations=(1, 2)).folds and not spec(groups=2).folds
    assert not spec(weights=np.ones((6, 4, 3, 1), np.int8)).folds


@pytest.mark.parametrize(
    "groups, filters, read", [(1, (3, 5), (0, 12)), (2, (0, 8), (0, 6)), (2, (8, 9), (6, 6)), (4, (3, 9), (0, 9))]
)
def test_channels_that_filters_read(groups, filters, read):
    place = Placement(Storage("x", 16, 1, 1, 8), 4, 12)
    conv = spec(weights=np.zeros((16, 12 // groups, 1, 1), np.int8), groups=groups)
    assert conv.channels_read(place, *filters) == place.part(*read)


def test_what_a_part_needs_where_results_lie_in_sections():
    """Two filters for each group of eight channels, a word; results in sections of six."""
    source = Placement(Storage("x", 64, 1, 1, 8), 0, 64)
    dest = Placement(Storage("y", 16, 1, 1, 8, section=6), 0, 16)
    node = dataclasses.replace(CONV, weights=np.zeros((16, 8, 1, 1), np.int8), groups=8, strides=(1, 1), pads=(0,) * 4)
    op = Op("conv", node, (source,), dest, (0, 0), (1, 1))
    needs = [op.needs(Part(group, group + 1, 0, 1)) for group in range(3)]
    assert needs == [[Part(0, 3, 0, 1)], [Part(3, 6, 0, 1)], [Part(6, 8, 0, 1)]]


def test_what_a_concatenation_may_ask():
    assert spec().can_write(3, 8) and spec().takes_table
    assert not spec(table=INT8.by_pattern()).takes_table


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 2)] * 4), steps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4), seed=st.integers(0, 99),
)  # fmt: skip
def test_several_results_at_once(kernel, strides, pads, steps, places, seed):
    """Channel ``p * channels + c`` is channel c, ``places[p]`` from every ``steps``-th result."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (6, 4, *kernel)).astype(np.int8)
    bias, scale = rng.integers(-999, 999, 6).astype(np.int32), rng.uniform(1e-4, 1e-2, 6).astype(np.float32)
    plain = spec(weights=weights, bias=bias, scale=scale, strides=strides, pads=pads)
    several = spec_of(plain.several(places, steps))
    x, value = rng.integers(-128, 128, (2, 4, 16, 17)).astype(np.int8), ir.Value("x", (4, 16, 17), 1.0, -7)
    results, found = (each.compute([x], [value], value) for each in (plain, several))
    rows, cols = found.shape[2:]
    assert rows and cols and found.shape[1] == 6 * len(places)
    for number, (y, x) in enumerate(places):
        wanted = results[:, :, y :: steps[0], x :: steps[1]][:, :, :rows, :cols]
        np.testing.assert_array_equal(found[:, 6 * number : 6 * number + 6], wanted)


def test_no_several_results_of_groups_or_of_dilated_kernels():
    assert spec(groups=2).several([(0, 0), (0, 1)], (1, 2)) is None
    assert spec(dilations=(1, 2)).several([(0, 0), (0, 1)], (1, 2)) is None
