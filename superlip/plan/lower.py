"""From the quantized graph to the operations of a node: what runs, on which words.

The specification of each operator (``superlip.ops``) says which operations it is made of. Lowering decides where each
value lies, and what is done otherwise than the graph says it:

* The first convolution of an image with few channels is folded, and kernel columns share passes (``folding.py``).
* VECTOR runs depthwise convolutions, where the node has what that takes: MATMUL would use one lane of each column.
* A maximum pooling is fused into the convolution in front of it where that pays (``pooling.py``). One of few channels
  then makes several pixels of a window at once (``pixels.py``).
* The inputs of a concatenation are written where it lies (``concatenation.py``). Where lanes don't fit, an identity
  convolution moves them; it is exact.
* Channels lie so that a group of a grouped convolution begins a word, where that saves passes (``sections.py``).
* Host operations come behind the last accelerated one where nothing accelerated needs them (``host_division.py``);
  others are put between two operations, as late as can be, so that several of them share one stop of the boards. What
  needs the image alone is done before the first operation, and stops nothing.
"""

import dataclasses
import sys

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.identity import identity
from superlip.ops.layout import Placement, Storage
from superlip.ops.lowering import LoweringError
from superlip.ops.operation import Op
from superlip.rtl.config import NodeConfig

from .blocks import block_limit
from .concatenation import join_slices, place_concatenations, place_stacks
from .folding import fold_columns, fold_input, folding_pays, image_reader
from .halving import halve
from .host_division import divide_host
from .network import HostStep, Network
from .pairing import pair_pixels
from .pixels import Shared
from .places import Places
from .pool_axes import pool_axis_by_axis
from .pooling import Fusion, pool_before_concatenation
from .sections import sections_of

__all__ = ["lower", "lower_for"]


def lower(
    graph: ir.Graph, tn: int, *, depthwise: bool = False, weight_words: int | None = None, halves: bool = False
) -> Network:
    """Lower a graph.

    Parameters
    ----------
    graph : ir.Graph
    tn : int
        Channels of a word.
    depthwise : bool
        Whether the node's VECTOR has DEPTHWISE.
    weight_words : int, optional
        Of the node's weight buffer; without, no kernel is too large for it.
    halves : bool
        Whether the first layers may work on two halves of the image (``halving.py``), which one board can.

    Raises
    ------
    LoweringError
        If a node can't run on the accelerator.
    """
    row_words = sys.maxsize if weight_words is None else block_limit(weight_words)
    macs = {node.name: spec_of(node).macs(graph.values[node.output]) for node in graph.nodes}
    outputs = _read_by_host(graph)
    graph = pool_axis_by_axis(pool_before_concatenation(join_slices(graph), tn), tn)
    graph = pair_pixels(graph, outputs, tn)
    if halves:
        graph = halve(graph, outputs, tn, depthwise=depthwise)
    return _Lowering(graph, tn, depthwise, row_words, macs).run()


def lower_for(graph: ir.Graph, node: NodeConfig, *, halves: bool = False) -> Network:
    """Lower a graph for nodes of these sizes; ``halves`` as for ``lower``.

    Raises
    ------
    LoweringError
        If a node of the graph can't run on the accelerator.
    """
    return lower(graph, node.tn, depthwise=node.depthwise_rows > 0, weight_words=node.weight_words, halves=halves)


def _read_by_host(graph: ir.Graph) -> list[str]:
    """Values that the host reads, or some of its nodes."""
    hosts = [node for node in graph.nodes if spec_of(node).on_host(graph.values) is not None]
    return [*graph.outputs, *(name for node in hosts for name in node.inputs)]


class _Lowering:
    """The `Lowering` that specifications see.

    ``macs``: multiply-accumulates of the model's operations, by the names of the nodes that stand for them: of several
    the first one has that name.
    """

    def __init__(self, graph: ir.Graph, tn: int, depthwise: bool, row_words: int, macs: dict[str, int]) -> None:
        self.graph, self.tn, self.depthwise, self.row_words, self.macs = graph, tn, depthwise, row_words, macs
        self.ops: list[Op] = []
        self.nodes, self.host = divide_host(graph)
        if all(self._on_host(node) for node in self.nodes):
            raise LoweringError(f"{graph.name}: no operation for the accelerator")
        needed = [name for host in self.host for name in host.inputs]
        made = {node.output for node in self.nodes if not graph.values[node.output].is_float} | {graph.input}
        self.outputs = list(dict.fromkeys(name for name in (*graph.outputs, *needed) if name in made))
        self.places = Places(graph.values, tn, sections_of(graph, self.outputs, tn))
        self.fusion = Fusion(graph, self.places, self.outputs)
        self.pooled: set[str] = set()
        self.moved: dict[str, Placement] = {}
        self.writers: dict[str, list[Op]] = {}

    def run(self) -> Network:
        nodes = self.fusion.share(self.nodes, image_reader(self.graph, self.nodes, self.outputs), self.row_words)
        sizes = {name: shared.size for name, shared in self.fusion.shared.items()}
        nodes, taps, shape = fold_input(self.graph, nodes, self.outputs, self.tn, sizes)
        name = self.graph.input
        image = Placement(Storage(name, *shape, self.tn, self.graph.values[name].element), 0, shape[0])
        self.put(name, image)
        self.tables = place_concatenations(nodes, self.places, self.fusion)
        self.rows = place_stacks(nodes, self.places, self.fusion)
        steps: list[HostStep] = []
        waiting: list[ir.Host] = []
        at_once = {self.graph.input, *(part.value for part in self.graph.parts)}
        for node in nodes:
            on_host = self._on_host(node)
            if on_host is not None and at_once.issuperset(on_host.inputs):
                at_once.add(on_host.output)
                steps += self._stop([on_host], 0)
                continue
            if on_host is not None:
                waiting.append(on_host)
                continue
            if any(host.output in node.inputs for host in waiting):
                steps += self._stop(waiting, len(self.ops))
                waiting = []
            if node.output not in self.pooled:
                spec_of(node).lower(self)
        ops, places = fold_columns(self.ops, self.tn), self.places
        return Network(self.graph, ops, places.of, image, taps, self.outputs, places.contents, self.host, steps)

    def _stop(self, hosts: list[ir.Host], position: int) -> list[HostStep]:
        """Steps of the host between two operations, or before the first."""
        for host in hosts:
            if not self.graph.values[host.output].is_float:  # that one the host keeps
                self.places.own(host.output)
        return [HostStep(host, position) for host in hosts]

    def _on_host(self, node: ir.Node) -> ir.Host | None:
        return spec_of(node).on_host(self.graph.values)

    def place(self, name: str) -> Placement:
        return self.places.place(name)

    def table_of(self, name: str) -> ir.Elements | None:
        return self.tables.get(name)

    def put(self, name: str, place: Placement) -> None:
        self.places.of[name] = place

    def add(self, op: Op) -> None:
        self.ops.append(op)
        self.writers.setdefault(op.output.storage.name, []).append(op)

    def convolution(self, node: ir.Conv) -> None:
        pool, sums = self.fusion.pool_of(node), self.graph.values[node.output]
        zero_points = self._zero_points(node)
        result = node.output if pool is None else pool.output
        if result in self.tables:
            node = node.through(self.tables[result], sums)
        by_lanes = spec_of(node).depthwise() if self.depthwise and pool is None else None
        if by_lanes is not None:
            self.elementwise(by_lanes)
            return
        inputs, dest, origin = (self._several_times(node),), self.place(result), (self.rows.get(result, 0), 0)
        op = Op(node.name, node, inputs, dest, zero_points, sums.shape[1:], origin=origin, macs=self._macs(node))
        if pool is not None:
            self.pooled.add(result)
            shared = self.fusion.shared.get(node.output, Shared(node, pool, op.grid, pool))
            size = None if shared.pool is None else shared.size
            op = dataclasses.replace(
                op, name=f"{node.name} + {pool.name}", grid=dest.size, pool=shared.pool, sums_size=size,
                pixels=shared.pixels,
            )  # fmt: skip
        self.add(op)

    def _several_times(self, node: ir.Conv) -> Placement:
        """Where a convolution's input lies: moved, where words do not hold its channels as often as they could."""
        (name,) = node.inputs
        source = self.place(name)
        writers = self.writers.get(source.storage.name, [])
        if source.channels == source.storage.channels and [op.is_conv for op in writers] in ([], [True]):
            return source  # as often as they can
        if not folding_pays(node, source, self.graph.values[node.output].shape):
            return source
        if name not in self.moved:
            self.moved[name] = self.places.storage(f"{name}.several", name, 0)
            self.add(identity(f"{node.name}.move", source, self.moved[name]))
        return self.moved[name]

    def elementwise(self, node: ir.Node) -> None:
        """All operands must begin at the same lane; sections are the same in all (``sections.py``)."""
        inputs = [self.place(name) for name in node.inputs]
        if node.output not in self.places.of:
            lanes = {place.offset % self.tn for place in inputs}
            self.places.own(node.output, lanes.pop() if len(lanes) == 1 else 0)
        dest = self.place(node.output)
        lane = dest.offset % self.tn
        for number, (name, source) in enumerate(zip(node.inputs, inputs, strict=True)):
            if source.offset % self.tn == lane:
                continue
            if name in self.moved and lane == 0:
                inputs[number] = self.moved[name]
            else:
                inputs[number] = self.places.storage(f"{name}.moved{len(self.ops)}", name, lane)
                self.add(identity(f"{node.name}.move", source, inputs[number]))
        zero_points = self._zero_points(node)
        self.add(Op(node.name, node, tuple(inputs), dest, zero_points, dest.size, macs=self._macs(node)))

    def _macs(self, node: ir.Node) -> int:
        return self.macs.get(node.name, 0)

    def _zero_points(self, node: ir.Node) -> tuple[int, ...]:
        return tuple(self.graph.values[name].zero_point for name in (*node.inputs, node.output))
