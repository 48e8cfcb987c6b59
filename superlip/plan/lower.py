"""From the quantized graph to the operations of a node: what runs, on which words.

Lowering decides where each value lies (`Placement`) and rewrites what the array would do badly: the first
convolution of an image with few channels is folded, that is, the host lays kernel rows and columns out as channels once
(im2col), so that the array's Tn inputs are in use.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from superlip.graph import ir

from .layout import Placement, Storage

__all__ = ["LoweringError", "Network", "Op", "lower"]


class LoweringError(ValueError):
    """A node that the accelerator can't run; the message names it and says why."""


@dataclass(frozen=True, eq=False)
class Op:
    """One operation of the node: an ir node with the places of its operands.

    ``zero_points`` are those of the inputs and of the output (last).
    """

    name: str
    node: ir.Node
    inputs: tuple[Placement, ...]
    output: Placement
    zero_points: tuple[int, ...]

    @property
    def is_conv(self):
        return isinstance(self.node, ir.Conv)

    @property
    def window(self):
        """(kernel, strides, pads, dilations), each (y, x); pads (top, left, bottom, right)."""
        node = self.node
        if isinstance(node, ir.Conv):
            return node.weights.shape[2:], node.strides, node.pads, node.dilations
        if isinstance(node, ir.Pool):
            return node.kernel, node.strides, node.pads, (1, 1)
        return (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)

    @property
    def macs(self):
        """Multiply-accumulates of the model's convolution (0 for other operations)."""
        if not isinstance(self.node, ir.Conv):
            return 0
        return int(np.prod(self.node.weights.shape)) * self.output.storage.height * self.output.storage.width

    def input_rows(self, row0, row1):
        """Rows of the input (clipped to it) that output rows [row0, row1) need."""
        (kh, _), (sy, _), (top, *_), (dy, _) = self.window
        low = row0 * sy - top
        high = (row1 - 1) * sy - top + (kh - 1) * dy + 1
        height = self.inputs[0].storage.height
        return max(0, min(low, height)), max(0, min(high, height))


@dataclass(eq=False)
class Network:
    """What a cluster computes, from its input image to its outputs.

    ``prepare`` turns images (int8, shape (B, C, H, W)) into what lies in DRAM (int8, shape (B, C', H', W')). ``host`` are the
    nodes after the accelerator's last.
    """

    graph: ir.Graph
    ops: list[Op]
    places: dict[str, Placement]
    input: Placement
    prepare: Callable
    outputs: list[str]
    host: list[ir.Host] = field(default_factory=list)

    def users(self):
        """Storage name -> indices of the ops that read it."""
        users = {}
        for index, op in enumerate(self.ops):
            for place in op.inputs:
                users.setdefault(place.storage.name, []).append(index)
        return users


_VECTOR_NODES = (ir.Pool, ir.Add, ir.Mul, ir.Table)


def lower(graph, tn):
    """Lower a graph for nodes of ``tn`` channels a word.

    Raises
    ------
    LoweringError
        If a node can't run on the accelerator.
    """
    host = [node for node in graph.nodes if isinstance(node, ir.Host)]
    nodes = [node for node in graph.nodes if not isinstance(node, ir.Host)]
    on_host = {node.output for node in host}
    for node in nodes:
        if any(name in on_host for name in node.inputs):
            raise LoweringError(f"{node.name}: follows a host operation; host operations must be last")
        if not isinstance(node, (ir.Conv, *_VECTOR_NODES)):
            raise LoweringError(f"{node.name}: {type(node).__name__} does not run on the accelerator")
    if not nodes:
        raise LoweringError(f"{graph.name}: no operation for the accelerator")

    nodes, prepare, input_shape = _fold_input(graph, nodes, tn)
    places = {}
    places[graph.input] = Placement(Storage(graph.input, input_shape[0], *input_shape[1:], tn), 0, input_shape[0])
    ops = []
    for node in nodes:
        value = graph.values[node.output]
        channels, height, width = value.shape
        places[node.output] = Placement(Storage(node.output, channels, height, width, tn), 0, channels)
        zero_points = tuple(graph.values[name].zero_point for name in (*node.inputs, node.output))
        ops.append(Op(node.name, node, tuple(places[i] for i in node.inputs), places[node.output], zero_points))
    needed = [name for node in host for name in node.inputs if name not in on_host]
    outputs = list(dict.fromkeys([name for name in graph.outputs if name not in on_host] + needed))
    return Network(graph, ops, places, places[graph.input], prepare, outputs, host)


def _fold_input(graph, nodes, tn):
    """Fold the first convolution's kernel into the image's channels, where that makes fewer passes."""
    value = graph.values[graph.input]
    readers = [node for node in nodes if graph.input in node.inputs]
    unchanged = nodes, (lambda images: images), value.shape
    if len(readers) != 1 or not isinstance(readers[0], ir.Conv) or graph.input in graph.outputs:
        return unchanged
    conv = readers[0]
    m, n, kh, kw = conv.weights.shape
    if conv.groups != 1 or -(-n * kh * kw // tn) >= -(-n // tn) * kh * kw:
        return unchanged
    folded = dataclasses.replace(
        conv,
        weights=np.ascontiguousarray(conv.weights.reshape(m, n * kh * kw, 1, 1)),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
    )
    _, rows, cols = graph.values[conv.output].shape

    def prepare(images):
        top, left, bottom, right = conv.pads
        padded = np.pad(
            images, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=np.int8(value.zero_point)
        )
        (sy, sx), (dy, dx) = conv.strides, conv.dilations
        taps = [
            padded[
                :,
                :,
                ky * dy : ky * dy + (rows - 1) * sy + 1 : sy,
                kx * dx : kx * dx + (cols - 1) * sx + 1 : sx,
            ]
            for ky in range(kh)
            for kx in range(kw)
        ]
        return np.stack(taps, axis=2).reshape(len(images), n * kh * kw, rows, cols)

    return [folded if node is conv else node for node in nodes], prepare, (n * kh * kw, rows, cols)
