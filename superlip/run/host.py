"""The host's part in the work on an image."""

from collections.abc import Sequence

import numpy as np

from superlip.compile.compiled import Compiled
from superlip.ops import apply

__all__ = ["HostWork"]


class HostWork:
    """What the host does for one image: ``begin``, then ``between`` once before each further segment.

    It keeps the image and the results of its own steps, and so reads only what the boards made.
    """

    def __init__(self, compiled: Compiled, image: np.ndarray):
        self.compiled, self.image = compiled, image
        self.values = {compiled.network.graph.input: image, **compiled.input_parts(image)}

    def begin(self) -> list[tuple[int, int, bytes]]:
        """DRAM contents before the first segment: list of (board, byte offset, bytes)."""
        return self.compiled.input_writes(self.image) + self._run(0)

    def between(self, segment: int, raw: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """DRAM contents before a segment, from the bytes of ``host_ranges`` of it, in that order."""
        network = self.compiled.network
        self.values |= self.compiled.values(network.host_reads(segment), raw)
        return self._run(segment)

    def _run(self, segment):
        writes, network = [], self.compiled.network
        for step in network.segment_steps(segment):
            node = step.node
            value = apply(node, [self.values[name][None] for name in node.inputs], network.graph.values)[0]
            self.values[node.output] = value
            writes += self.compiled.writes(node.output, value)
        return writes
