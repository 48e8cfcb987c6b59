"""Two halves of an image side by side in the words of the first layers, whose few channels leave lanes idle.

MATMUL and VECTOR do whole words, so a layer of 32 channels takes as long on a node of 64 as one of 64. Here the upper
half of the image lies in its first channels and the lower half in as many more: half as many words, each of them full.
A convolution for both is a grouped one, and a depthwise one has twice as many filters.

Windows see rows on either side of the seam, so both halves have some rows in common, which are computed twice; and a
row outside of the image is beside one inside. Where windows read such a row, the convolution in front writes it by
itself, with weights and bias of 0 in the channels for which it lies outside: their sums give the zero point, which is
what padding holds. The last layer of the chain reads one half, then the other, and writes each where it belongs.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from superlip.graph import ir
from superlip.ops import spec_of

from .folding import fewest_passes

__all__ = ["halve"]

LEAST_GAIN = 0.05
"""Part of the cycles of the layers concerned that halves must save."""


class _Rows(NamedTuple):
    """Rows that both halves of a value hold: [upper, upper + rows) and [lower, lower + rows)."""

    upper: int
    lower: int
    rows: int


def halve(graph: ir.Graph, outputs: Sequence[str], tn: int, *, depthwise: bool = False) -> ir.Graph:
    """The graph with the first layers on halves of the image, where that saves cycles.

    Its values are those of the graph before, and those of halves.

    Parameters
    ----------
    graph : ir.Graph
    outputs : list of str
        Values that the host reads.
    tn : int
        Channels of a word.
    depthwise : bool
        Whether VECTOR runs depthwise convolutions.
    """
    if graph.parts:
        return graph
    chain = _chain(graph, outputs)
    ways = [_Halves(graph, chain[:length], tn, depthwise) for length in range(2, len(chain) + 1)]
    best = max((way for way in ways if way.is_possible()), key=_Halves.saved, default=None)
    return graph if best is None or best.saved() <= 0 else best.build()


def _chain(graph: ir.Graph, outputs: Sequence[str]) -> list[ir.Node]:
    """Convolutions one behind the other, from the image on, each the only reader of what it takes."""
    users, chain = graph.users(), list[ir.Node]()
    name = graph.input
    while name not in outputs and len(users.get(name, [])) == 1:
        node = users[name][0]
        element, last = graph.values[name].element, chain[-1] if chain else None
        if not spec_of(node).is_conv:
            if last is not None and spec_of(node).pool_of_sums(element) is not None:
                chain.pop()  # the pooling is fused into it
            break
        chain.append(node)
        name = node.output
    return chain


class _Halves:
    """A chain of nodes, the last of which puts the halves together again."""

    def __init__(self, graph: ir.Graph, chain: list[ir.Node], tn: int, depthwise: bool) -> None:
        self.graph, self.chain, self.tn, self.depthwise = graph, chain, tn, depthwise
        self.shapes = [graph.values[chain[0].inputs[0]].shape, *(graph.values[node.output].shape for node in chain)]
        half = self.shapes[-2][1] // 2
        self.rows = [_Rows(0, half, half)]  # of what each node reads
        for node in reversed(chain[:-1]):
            (kh, _), (sy, _), (top, *_), (dy, _) = spec_of(node).window
            upper, lower, count = self.rows[0]
            self.rows.insert(0, _Rows(upper * sy - top, lower * sy - top, (count - 1) * sy + (kh - 1) * dy + 1))

    def is_possible(self) -> bool:
        """Whether the last node reads pixel by pixel, and whatever windows see outside of the image can be written."""
        last = spec_of(self.chain[-1]).window
        if last.kernel != (1, 1) or last.strides != (1, 1) or any(last.pads) or self.shapes[-2][1] % 2:
            return False
        if self._is_vectors(self.chain[-1]):
            return False
        for number, node in enumerate(self.chain[:-1]):
            if spec_of(node).beside(2) is None:
                return False
            above, below = self._outside(number)
            if number and (above or below):
                maker, rows = self.chain[number - 1], self.rows[number]
                if above + below >= rows.rows or rows.lower < 0 or rows.upper + rows.rows > self.shapes[number][1]:
                    return False  # a row lies outside in both halves, or in the other one
                if self._is_vectors(maker) or spec_of(maker).resting(slice(0), self.graph.values[maker.output]) is None:
                    return False
        return True

    def _is_vectors(self, node: ir.Node) -> bool:
        return self.depthwise and spec_of(node).depthwise() is not None

    def _outside(self, number: int) -> tuple[int, int]:
        """Rows above and below the image that windows of a node read."""
        if spec_of(self.chain[number]).window.kernel[0] == 1:
            return 0, 0
        upper, lower, count = self.rows[number]
        return max(0, -upper), max(0, lower + count - self.shapes[number][1])

    # -- cycles -----------------------------------------------------------------------------------------------------

    def saved(self) -> float:
        """Cycles that halves save, 0 if too few of them."""
        before = sum(self._cycles(number) for number in range(len(self.chain)))
        after = sum(self._cycles_halved(number) for number in range(len(self.chain)))
        return before - after if before - after > LEAST_GAIN * before else 0.0

    def _words(self, first: int, end: int) -> int:
        """Words that channels [first, end) lie in."""
        return -(-end // self.tn) - first // self.tn

    def _cycles(self, number: int) -> int:
        (channels, height, width), (filters, rows, cols) = self.shapes[number : number + 2]
        if self._is_vectors(self.chain[number]):
            return self._words(0, channels) * height * width
        passes = fewest_passes(self.chain[number], channels, self.tn, from_image=number == 0)
        return self._words(0, filters) * passes * rows * cols

    def _passes(self, number: int, words: int) -> int:
        """Passes of a convolution whose result is made of so many words."""
        return words if number == 0 else words * math.prod(spec_of(self.chain[number]).window.kernel)

    def _taps(self, number: int) -> int:
        """Channels that one of the node's input becomes: the host lays out what the first node's window sees."""
        return math.prod(spec_of(self.chain[number]).window.kernel) if number == 0 else 1

    def _cycles_halved(self, number: int) -> int:
        channels, filters = self.shapes[number][0], self.shapes[number + 1][0]
        width, cols = self.shapes[number][2], self.shapes[number + 1][2]
        is_last = number == len(self.chain) - 1
        if self._is_vectors(self.chain[number]):
            return self._words(0, 2 * channels) * self.rows[number].rows * width
        rows = self.rows[number + 1].rows if not is_last else self.rows[number].rows
        read = channels * self._taps(number)
        if is_last:
            tiles = [self._words(0, read), self._words(read, 2 * read)] * self._words(0, filters)
        else:
            edges = [(first, min(first + self.tn, 2 * filters)) for first in range(0, 2 * filters, self.tn)]
            tiles = [self._words(a // filters * read, ((b - 1) // filters + 1) * read) for a, b in edges]
        return sum(self._passes(number, words) for words in tiles) * rows * cols

    # -- nodes ------------------------------------------------------------------------------------------------------

    def build(self) -> ir.Graph:
        """The graph with halves. The first node that stands for one of the model's keeps its name."""
        values, nodes = dict(self.graph.values), list[ir.Node]()
        image = self.graph.values[self.graph.input]
        name = self._put(values, self.graph.input, 0)
        upper, lower, count = self.rows[0]
        nodes.append(
            ir.Halves(
                name=name, inputs=(image.name,), output=name, first=(upper, lower), rows=count, value=image.zero_point
            )
        )
        for number in range(len(self.chain) - 1):
            name = self._beside(values, nodes, number, name)
        self._together(values, nodes, name)
        replaced = {node.name for node in self.chain}
        first = next(at for at, node in enumerate(self.graph.nodes) if node.name in replaced)
        kept = [node for node in self.graph.nodes if node.name not in replaced]
        return replace(self.graph, nodes=[*kept[:first], *nodes, *kept[first:]], values=values)

    def _put(self, values: dict[str, ir.Value], name: str, number: int) -> str:
        """The value that holds the halves of another one, which is number ``number`` of the chain: its name."""
        channels, _, width = self.shapes[number]
        halves = f"{name}.halves"
        values[halves] = replace(values[name], name=halves, shape=(2 * channels, self.rows[number].rows, width))
        return halves

    def _beside(self, values: dict[str, ir.Value], nodes: list[ir.Node], number: int, source: str) -> str:
        """A node of the chain for both halves."""
        node = self.chain[number]
        both = spec_of(node).beside(2)
        assert both is not None
        result = self._put(values, node.output, number + 1)
        above, below = self._outside(number + 1) if number + 2 <= len(self.chain) else (0, 0)
        count, channels = self.rows[number + 1].rows, self.shapes[number + 1][0]
        cuts = [
            (".above", 0, above, slice(0, channels)), ("", above, count - below, None),
            (".below", count - below, count, slice(channels, 2 * channels)),
        ]  # fmt: skip
        parts = [(suffix, row0, row1, still) for suffix, row0, row1, still in cuts if row0 < row1]
        if len(parts) == 1:
            nodes.append(replace(both, inputs=(source,), output=result))
            return result
        (kh, _), (sy, _), (_, left, _, right), (dy, _) = spec_of(both).window
        height, outputs = self.rows[number].rows, []
        for suffix, row0, row1, still in parts:
            part = both if still is None else spec_of(both).resting(still, self.graph.values[node.output])
            assert part is not None
            end = (row1 - 1) * sy + (kh - 1) * dy + 1
            output = f"{result}{suffix or '.inside'}"
            shape = values[result].shape
            values[output] = replace(values[result], name=output, shape=(shape[0], row1 - row0, shape[2]))
            pads = (-row0 * sy, left, end - height, right)
            part = spec_of(part).padded(pads)
            nodes.append(replace(part, name=node.name + suffix, inputs=(source,), output=output))
            outputs.append(output)
        nodes.append(ir.Stack(name=result, inputs=tuple(outputs), output=result, axis=1, tables=(None,) * len(outputs)))
        return result

    def _together(self, values: dict[str, ir.Value], nodes: list[ir.Node], source: str) -> None:
        """The last node of the chain, for one half after the other."""
        node, channels = self.chain[-1], self.shapes[-2][0]
        result = self.graph.values[node.output]
        filters, height, width = result.shape
        outputs = []
        for number, (half, suffix) in enumerate((("upper", ""), ("lower", ".lower"))):
            part, output = f"{source}.{half}", f"{node.output}.{half}"
            values[part] = replace(values[source], name=part, shape=(channels, *values[source].shape[1:]))
            values[output] = replace(result, name=output, shape=(filters, height // 2, width))
            start = number * channels
            nodes.append(ir.Slice(name=part, inputs=(source,), output=part, start=start, stop=start + channels))
            nodes.append(replace(node, name=node.name + suffix, inputs=(part,), output=output))
            outputs.append(output)
        rows = f"{node.name}.rows"
        nodes.append(ir.Stack(name=rows, inputs=tuple(outputs), output=node.output, axis=1, tables=(None, None)))
