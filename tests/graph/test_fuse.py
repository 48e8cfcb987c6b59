"""Tables that go into the node in front of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from superlip import golden
from superlip.element import INT8
from superlip.graph import ir
from superlip.graph.onnx.importer.fuse import fuse_tables, remove_unused

TABLES = arrays(np.int8, INT8.patterns)
CLIPS = st.tuples(st.integers(*INT8.bounds), st.integers(*INT8.bounds)).map(
    lambda ends: np.clip(INT8.by_pattern(), min(ends), max(ends)).astype(np.int8)
)


def chain(tables, *, outputs=(), clip=INT8.bounds):
    """A convolution and tables behind it."""
    values = {"x": ir.Value("x", (2, 3, 3), 0.1, 4)}
    weights = np.array([[[[3]], [[-2]]], [[[1]], [[5]]]], np.int8)
    nodes = [
        ir.Conv(
            name="conv", inputs=("x",), output="t0", weights=weights, bias=np.int32([7, -9]),
            scale=np.float32([0.3, 0.2]), low=clip[0], high=clip[1],
        )
    ]  # fmt: skip
    nodes += [
        ir.Table(name=f"table{i}", inputs=(f"t{i}",), output=f"t{i + 1}", table=table) for i, table in enumerate(tables)
    ]
    values |= {node.output: ir.Value(node.output, (2, 3, 3), 0.1, 4) for node in nodes}
    return ir.Graph("g", values, nodes, "x", [*outputs, nodes[-1].output], b"")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(TABLES, CLIPS), max_size=3), st.tuples(st.integers(-128, 0), st.integers(1, 127)))
def test_the_graph_computes_what_it_did(tables, clip):
    image = np.random.default_rng(0).integers(-128, 128, (1, 2, 3, 3)).astype(np.int8)
    graph = chain(tables, clip=clip)
    before = golden.run(graph, image)[graph.outputs[0]]
    fuse_tables(graph)
    assert [type(node) for node in graph.nodes] == [ir.Conv]
    np.testing.assert_array_equal(golden.run(graph, image)[graph.outputs[0]], before)


def test_a_clip_needs_no_table():
    graph = chain([np.clip(INT8.by_pattern(), -5, 60).astype(np.int8)], clip=(-128, 40))
    fuse_tables(graph)
    (node,) = graph.nodes
    assert node.table is None and (node.low, node.high) == (-5, 40)


def test_clips_that_have_nothing_in_common():
    """Relu, and behind it a clip to negative numbers: its upper end is all that is left."""
    graph = chain([np.clip(INT8.by_pattern(), -7, -1).astype(np.int8)], clip=(0, 127))
    fuse_tables(graph)
    assert (graph.nodes[0].low, graph.nodes[0].high) == (-1, -1)


def test_what_somebody_else_takes_is_kept():
    graph = chain([~INT8.by_pattern()], outputs=["t0"])
    fuse_tables(graph)
    assert [type(node) for node in graph.nodes] == [ir.Conv, ir.Table]


@pytest.mark.parametrize("count", [0, 2])
def test_what_nobody_takes_goes(count):
    graph = chain([~INT8.by_pattern()] * count)
    graph.nodes.append(ir.Table(name="idle", inputs=("t0",), output="idle", table=INT8.by_pattern()))
    graph.values["idle"] = graph.values["t0"]
    remove_unused(graph)
    assert "idle" not in graph.values and len(graph.nodes) == 1 + count
