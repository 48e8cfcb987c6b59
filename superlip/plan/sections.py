"""Channels that lie in sections, each of which begins a word, for the grouped convolutions that read them.

A group of a grouped convolution whose channels straddle two words takes a pass more for each kernel position than it
has words of channels. Where the lanes left idle behind sections fill no word more than all channels do, what lies
between a convolution (or the host) that writes the channels and those that read them is the same work: VECTOR does
whole words.
"""

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.layout import Placement, Storage
from superlip.ops.vector import VectorSpec

from .folding import most_copies

__all__ = ["sections_of"]


def sections_of(graph: ir.Graph, outputs: list[str], tn: int) -> dict[str, int]:
    """Channels of a section, of the values that have sections: those of one group or, where a word holds more, several.

    Parameters
    ----------
    graph : ir.Graph
    outputs : list of str
        Values that the host reads.
    tn : int
        Channels of a word.
    """
    return _Sections(graph, outputs, tn).find()


class _Sections:
    def __init__(self, graph: ir.Graph, outputs: list[str], tn: int) -> None:
        self.graph, self.fixed, self.tn = graph, {graph.input, *outputs}, tn
        self.makers = graph.makers()
        self.grouped = [node for node in graph.nodes if spec_of(node).groups > 1]
        self.users = graph.users() if self.grouped else {}

    def find(self) -> dict[str, int]:
        """Sections that save passes, convolution by convolution. A depthwise one between others would read more."""
        found: dict[str, int] = {}
        for conv in self.grouped:
            section = self._section(conv)
            alike = self._alike(conv.inputs[0]) if section else None
            if section and alike:
                new = found | dict.fromkeys(alike, section)
                concerned = [node for node in self.grouped if not alike.isdisjoint((*node.inputs, node.output))]
                before, after = ([self._reads(node, at) for node in concerned] for at in (found, new))
                if sum(after) < sum(before) and all(a <= b for a, b in zip(after, before, strict=True)):
                    found = new
        return found

    def _section(self, conv: ir.Node) -> int | None:
        """Channels of a section for the groups of a convolution; None where that would take more words."""
        channels, tn = self.graph.values[conv.inputs[0]].shape[0], self.tn
        group = channels // spec_of(conv).groups
        section = group * max(1, tn // group)
        words = -(-channels // section) * -(-section // tn)
        return section if section % tn and section < channels and words == -(-channels // tn) else None

    def _alike(self, name: str) -> set[str] | None:
        """Values whose channels lie in the lanes in which those of a value lie; None where one must fill its words."""
        found, waiting = set[str](), [name]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            maker, users = self.makers.get(name), self.users.get(name, [])
            if maker is None or name in self.fixed or not self._can_write(maker):
                return None
            if not all(self._can_read(user, name) for user in users):
                return None
            found.add(name)
            waiting += maker.inputs if _is_by_lanes(maker) else ()
            waiting += [user.output for user in users if _is_by_lanes(user)]
        return found

    def _can_write(self, node: ir.Node) -> bool:
        spec = spec_of(node)
        return spec.is_conv or _is_by_lanes(node) or spec.on_host(self.graph.values) is not None

    def _can_read(self, node: ir.Node, name: str) -> bool:
        channels = self.graph.values[name].shape[0]
        return _is_by_lanes(node) or (spec_of(node).is_conv and most_copies(channels, node, self.tn) == 1)

    def _reads(self, conv: ir.Node, sections: dict[str, int]) -> int:
        """Passes of a convolution, for each kernel position, with the values that have sections.

        As if its result began a word, which it may not in a concatenation.
        """
        source, dest = (self._place(name, sections) for name in (conv.inputs[0], conv.output))
        read = [spec_of(conv).channels_read(source, first, end) for *_, first, end in dest.tiles()]
        return sum(place.end_group - place.first_group for place in read)

    def _place(self, name: str, sections: dict[str, int]) -> Placement:
        channels, height, width = self.graph.values[name].shape
        return Placement(Storage(name, channels, height, width, self.tn, section=sections.get(name)), 0, channels)


def _is_by_lanes(node: ir.Node) -> bool:
    """Whether VECTOR works on it lane by lane, and the result's channels lie as the operands' do."""
    return isinstance(spec_of(node), VectorSpec)
