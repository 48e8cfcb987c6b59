"""Two neighbouring pixels in a word, where convolutions of stride 2 read a value of few channels.

Such a convolution reads both pixels of a pair in one pass, where it read half of a word twice. What makes the pairs is
a convolution, too: one with as many filters again, each a step to the right of its first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from superlip.graph import ir
from superlip.ops import spec_of

from .folding import fewest_passes

__all__ = ["pair_pixels"]


def pair_pixels(graph: ir.Graph, outputs: Sequence[str], tn: int) -> ir.Graph:
    """The graph with pairs of pixels where they save passes.

    Parameters
    ----------
    graph : ir.Graph
    outputs : list of str
        Values that the host reads.
    tn : int
        Channels of a word.
    """
    users, values, replaced = graph.users(), dict(graph.values), dict[str, ir.Node]()
    for node in graph.nodes:
        result, readers = graph.values[node.output], users.get(node.output, [])
        channels, height, width = result.shape
        if node.output in outputs or not readers or 2 * channels > tn or width % 2:
            continue
        now, pairs = replaced.get(node.name, node), f"{node.output}.pairs"
        before = [now, *readers]
        after = [
            _two(now, pairs),
            *(spec_of(reader).of_pairs(pairs, width // 2, values[reader.output].shape[2]) for reader in readers),
        ]
        behind = values | {pairs: replace(result, name=pairs, shape=(2 * channels, height, width // 2))}
        new = [made for made in after if made is not None]
        if len(new) < len(after) or _cycles(new, behind, graph.input, tn) >= _cycles(before, values, graph.input, tn):
            continue
        values = behind
        replaced |= {old.name: made for old, made in zip((node, *readers), new, strict=True)}
    if not replaced:
        return graph
    return replace(graph, nodes=[replaced.get(node.name, node) for node in graph.nodes], values=values)


def _two(node: ir.Node, output: str) -> ir.Node | None:
    """Of a convolution: the node that gives pairs of neighbouring pixels, channel C + c that on the right."""
    both = spec_of(node).several([(0, 0), (0, 1)], (1, 2))
    return None if both is None else replace(both, output=output)


def _cycles(nodes: Sequence[ir.Node], values: Mapping[str, ir.Value], image: str, tn: int) -> int:
    """Of MATMUL, for convolutions."""
    total = 0
    for node in nodes:
        channels, (filters, rows, cols) = values[node.inputs[0]].shape[0], values[node.output].shape
        passes = fewest_passes(node, channels, tn, from_image=node.inputs[0] == image)
        total += math.ceil(filters / tn) * passes * rows * cols
    return total
