"""Maximum poolings that are fused into the convolution in front of them.

VECTOR takes the maximum of the sums. Requantization, clip and a rising table keep the order of numbers, so the bits are
the same where no sum can leave int32, with its bias or without.
"""

import dataclasses
import math

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.arithmetic import is_rising

from .folding import fewest_passes
from .pixels import Shared, share_pixels
from .places import Places
from .timing import fusing_pays

__all__ = ["Fusion", "Poolings", "pool_before_concatenation"]


LARGEST_WINDOW = 64
"""Sums that a fused pooling may need at once: half of the accumulators of a small node hold them."""


class Fusion:
    """Which pooling of a graph is fused into which convolution.

    Parameters
    ----------
    graph : ir.Graph
    places : Places
        What has its place beforehand is written there, and so not pooled.
    outputs : list of str
        Values that the host reads.
    """

    def __init__(self, graph: ir.Graph, places: Places, outputs: list[str]) -> None:
        self.values, self.places, self.outputs = graph.values, places, outputs
        self.users, self.makers = graph.users(), graph.makers()
        self.shared: dict[str, Shared] = {}
        """By the convolution's output: those that make several pixels at once."""

    def is_alone(self, name: str) -> bool:
        """Whether a value is taken by one node only, and by no host."""
        return len(self.users.get(name, [])) == 1 and name not in self.outputs

    def pool_of(self, node: ir.Node) -> ir.Pool | None:
        """The pooling that is fused into a node."""
        if node.output in self.shared:
            return self.shared[node.output].whole
        if not self.is_alone(node.output) or node.output in self.places.of:
            return None
        (user,) = self.users[node.output]
        return _fusable(self.values, node, user, self.places.tn)

    def share(self, nodes: list[ir.Node], reader: ir.Node | None, row_words: int) -> list[ir.Node]:
        """The same nodes, with those in the place of convolutions that make several pixels at once (``shared``).

        Parameters
        ----------
        reader : ir.Node or None
            All that reads the image.
        row_words : int
            As of `share_pixels`.
        """
        for node in nodes:
            pool = self.pool_of(node) if spec_of(node).is_conv else None
            if pool is not None:
                shared = share_pixels(
                    node, pool, self.values, self.places.tn,
                    copied=self._can_be_copied(node.inputs[0]), is_first=node is reader, row_words=row_words,
                )  # fmt: skip
                if shared is not None:
                    self.shared[node.output] = shared
        return [self.shared[node.output].node if node.output in self.shared else node for node in nodes]

    def _can_be_copied(self, name: str) -> bool:
        """Whether a convolution writes a value, pooled or not, in words of its own."""
        maker = self.makers.get(name)
        if maker is None or any(spec_of(user).joins for user in self.users[name]):
            return False
        front = self.makers.get(maker.inputs[0])
        return spec_of(maker).is_conv or (front is not None and self.pool_of(front) is maker)


def _fusable(values: dict[str, ir.Value], conv: ir.Node, node: ir.Node, tn: int) -> ir.Pool | None:
    """The node, where it is a pooling that can be done on the sums of another one, a convolution, and pays."""
    element = values[conv.output].element
    pool = spec_of(node).pool_of_sums(element)
    if pool is None or not spec_of(conv).keeps_order(element):
        return None
    return pool if _pays(values, conv, pool, tn) else None


def _pays(values: dict[str, ir.Value], conv: ir.Node, pool: ir.Pool, tn: int) -> bool:
    """One whose windows overlap costs the array the rows that chunks have in common, and saves VECTOR the
    requantization of every sum: it pays where VECTOR is the slower one. All sums of a window must be there at once."""
    if math.prod(pool.kernel) > LARGEST_WINDOW:
        return False
    if all(k <= s for k, s in zip(pool.kernel, pool.strides, strict=True)):
        return True
    channels = values[conv.inputs[0]].shape[0]
    sums, results = (math.prod(values[node.output].shape[1:]) for node in (conv, pool))
    return fusing_pays(sums, results, math.prod(pool.kernel), fewest_passes(conv, channels, tn))


class Poolings:
    """Which poolings of a graph the convolutions in front of them can take in, before it is known where these write."""

    def __init__(self, graph: ir.Graph, tn: int) -> None:
        self.graph, self.tn = graph, tn
        self.users, self.makers = graph.users(), graph.makers()

    def is_alone(self, name: str) -> bool:
        """Whether a value is taken by one node only, and is no output."""
        return len(self.users.get(name, [])) == 1 and name not in self.graph.outputs

    def is_taken_in(self, name: str, pool: ir.Node) -> bool:
        """Whether the convolution that makes a value, and makes it for a pooling alone, takes that in."""
        maker = self.makers.get(name)
        if maker is None or not self.is_alone(name):
            return False
        return _fusable(self.graph.values, maker, pool, self.tn) is not None


def pool_before_concatenation(graph: ir.Graph, tn: int) -> ir.Graph:
    """A maximum pooling of a concatenation becomes one of each part, where the convolutions in front take it in."""
    poolings, values, replaced = Poolings(graph, tn), dict(graph.values), {}
    for pool in graph.nodes:
        concat = poolings.makers.get(pool.inputs[0])
        if concat is None or not poolings.is_alone(concat.output):
            continue
        joined = spec_of(concat).joins
        if not joined or not all(poolings.is_taken_in(name, pool) and is_rising(table) for name, table in joined):
            continue
        parts = []
        for number, (name, _) in enumerate(joined):
            pooled = f"{name}.{pool.name}"
            shape = values[name].shape[0], *values[pool.output].shape[1:]
            values[pooled] = dataclasses.replace(values[name], name=pooled, shape=shape)
            parts.append(dataclasses.replace(pool, name=f"{pool.name}.{number}", inputs=(name,), output=pooled))
        inputs = tuple(part.output for part in parts)
        replaced[pool.name] = [*parts, dataclasses.replace(concat, inputs=inputs, output=pool.output)]
        replaced[concat.name] = []
    nodes = [new for node in graph.nodes for new in replaced.get(node.name, [node])]
    return dataclasses.replace(graph, nodes=nodes, values=values) if replaced else graph
