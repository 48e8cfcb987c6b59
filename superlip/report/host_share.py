"""How much of a network the host computes, in one sentence: what check, plan and report say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from superlip.graph.onnx.macs import host_macs
from superlip.plan.network import Network

from .rows import LayerRow

__all__ = ["HostShare"]


@dataclass(frozen=True)
class HostShare:
    """What the host does for one image.

    Parameters
    ----------
    operations : int
    stops : int
        Times that the boards wait for it in the middle of an image.
    bytes_moved : int
        From the boards' DRAM and to it.
    macs, accelerated_macs : int
        Of the host, and of the accelerator.
    """

    operations: int
    stops: int
    bytes_moved: int
    macs: int
    accelerated_macs: int

    @classmethod
    def of_rows(cls, rows: Sequence[LayerRow]) -> "HostShare":
        """Of a report's or a plan's rows."""
        host = [row.partition == "host" for row in rows]
        return cls(
            sum(host), sum(not before and after for before, after in pairwise(host)) - (bool(host) and host[-1]),
            sum(row.host_bytes for row in rows), sum(row.host_macs for row in rows), sum(row.macs for row in rows),
        )  # fmt: skip

    @classmethod
    def of_network(cls, network: Network) -> "HostShare":
        """Of a network that nobody has planned: bytes without what fills words up."""
        values, known, moved = network.graph.values, {network.graph.input, *network.parts}, 0
        nodes = [step.node for step in network.steps]
        for node in (*nodes, *network.host):
            names = [name for name in dict.fromkeys(node.inputs) if name not in known and not values[name].is_float]
            if node in nodes and not values[node.output].is_float:
                names.append(node.output)
            known.update((*names, node.output))
            moved += sum(channels * height * width for channels, height, width in (values[n].shape for n in names))
        every = list(dict.fromkeys((*nodes, *network.host)))
        macs = sum(host_macs(node.model) for node in every)
        return cls(len(every), len(network.cuts), moved, macs, sum(op.macs for op in network.ops))

    def __str__(self) -> str:
        operations = f"{self.operations} operation{'s' if self.operations > 1 else ''}"
        stops = {0: "", 1: ", for which the boards stop once"}.get(
            self.stops, f", for which the boards stop {self.stops} times"
        )
        share = self.macs / max(1, self.macs + self.accelerated_macs)
        macs = f" with {self.macs:,} MACs, {100 * share:.1f} % of the network's" if self.macs else ""
        moved = f", {self.bytes_moved:,} bytes from and to DRAM" if self.bytes_moved else ""
        return f"{operations}{macs}{moved}{stops}; the host's time is not counted"
