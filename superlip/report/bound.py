"""What physics allow."""

import math
from dataclasses import dataclass

from superlip.compile.design import Design
from superlip.ops import spec_of

__all__ = ["Bound"]


@dataclass(frozen=True)
class Bound:
    """What physics allow: a cluster can't be faster than its arrays multiply, nor than its DRAM brings what it must.

    Parameters
    ----------
    macs : int
        MACs of the network.
    bytes_once : int
        Bytes that must cross the DRAM interface once: the weights of the model, without padding, the image, and
        the outputs. Weights that stay on chip from the image before need not, so a network that fits may be faster.
    cycles : int
        The larger of ``macs`` at the peak of all arrays and ``bytes_once`` at the bandwidth of all boards.
    """

    macs: int
    bytes_once: int
    cycles: int

    @classmethod
    def of(cls, design: Design) -> "Bound":
        """Bound of a design."""
        graph, network = design.graph, design.network
        macs = sum(op.macs for op in network.ops)
        once = sum(spec_of(node).weight_bytes for node in graph.nodes)
        once += sum(math.prod(graph.values[name].shape) for name in {graph.input, *network.outputs})
        return cls.within(macs, once, design)

    @classmethod
    def within(cls, macs: int, bytes_once: int, design: Design) -> "Bound":
        """The same for a part of a design's network."""
        target, boards = design.target, design.boards
        compute, dram = macs / target.node.macs_per_cycle, bytes_once / target.dram.bytes_per_cycle
        return cls(macs, bytes_once, math.ceil(max(compute, dram) / boards))
