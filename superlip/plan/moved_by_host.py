"""Movements of pixels that a node's memories have no room for, as work of the host.

DepthToSpace, Resize and the like write pixels with others between them. What goes to DRAM is written as whole rows, so
their results must stay on chip, which large images do not.
"""

from dataclasses import replace

import numpy as np
from onnx import helper

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import small_model, tensor_type
from superlip.ops import apply, spec_of

__all__ = ["moved_by_host"]


def moved_by_host(graph: ir.Graph, value: str) -> ir.Graph | None:
    """The graph with the host as the maker of a value.

    Parameters
    ----------
    value : str
        A result of DepthToSpace, Resize or Interpolate.

    Returns
    -------
    ir.Graph, or None where another node makes the value
    """
    node = next((n for n in graph.nodes if n.output == value), None)
    if node is None or not spec_of(node).spreads_pixels:
        return None
    nodes = [_host(n, graph.values) if n is node else n for n in graph.nodes]
    notes = [*graph.notes, f"{node.name} moves pixels on the host: its result has no room in the activation buffer"]
    return replace(graph, nodes=nodes, notes=notes)


def _host(node: ir.Node, values: dict[str, ir.Value]) -> ir.Host:
    return ir.Host(
        name=node.name, inputs=node.inputs, output=node.output, onnx_names=node.onnx_names,
        model=spec_of(node).host_model(values) or _moving(node, values),
        reason="its result has no room in the activation buffer",
    )  # fmt: skip


def _moving(node: ir.Node, values: dict[str, ir.Value]) -> bytes:
    """ONNX model of a node that only moves elements."""
    source, result = values[node.inputs[0]], values[node.output]
    numbers = np.arange(np.prod(source.shape), dtype=np.int32).reshape(1, *source.shape)
    index = apply(node, [numbers], values)  # only moved, whatever type they have
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["numbers"]),
        helper.make_node("Gather", ["numbers", "index"], ["moved"]),
    ]
    kind = tensor_type(source.element.dtype)
    constants = {"flat": np.array([-1], np.int64), "index": index.reshape(1, *result.shape)}
    return small_model(nodes, [("image", kind, [1, *source.shape])], ["moved"], constants, {"": 17})
