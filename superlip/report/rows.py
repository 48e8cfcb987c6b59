"""Rows of a table of layers: measured, or as the planner expects them."""

from dataclasses import dataclass, replace
from typing import Any

from superlip.compile.design import Design
from superlip.graph.onnx.macs import host_macs
from superlip.rtl.isa import Unit
from superlip.run.verify import Comparison
from superlip.sim.result import RunResult

from .attribution import COLUMNS, attribute

__all__ = ["LayerRow", "layer_rows", "plan_rows", "share_of_peak"]


@dataclass(frozen=True)
class LayerRow:
    """One layer of a table: measured (`layer_rows`) or estimated (`plan_rows`).

    ``cycles`` of a layer are its own (see ``attribution``): they add up to the latency, and, measured, the columns from
    ``busy`` to ``fill_drain`` to them. ``bound`` is what was at work in most of them; bytes are sums over the boards.
    """

    name: str
    partition: str
    cycles: int
    bound: str
    macs: int
    dram_bytes: int
    link_bytes: int
    mismatches: int | None = None
    """From here on, but for the bytes: of measured rows only."""
    host_bytes: int = 0
    """What the host reads from the boards' DRAM and writes to it, for its own operations (partition "host")."""
    busy: int | None = None
    weights: int | None = None
    ifm: int | None = None
    accumulators: int | None = None
    link: int | None = None
    fill_drain: int | None = None
    share_of_peak: float | None = None
    """MACs of the layer against those of all arrays in its cycles."""
    host_macs: int = 0
    """Products of the host's own operations, which are not among ``macs``."""


def layer_rows(design: Design, result: RunResult, comparison: Comparison) -> list[LayerRow]:
    """Rows of a simulated image, the one that took longest, in order of the network."""
    image = int(result.cycles.argmax())
    profile = result.profile[result.profile["image"] == image]
    columns = attribute(design, result, image)
    everything: list[tuple[str, int | None, str, int]] = [("input", None, "-", 0)]
    everything += [
        (op.name, index, split.value, op.macs)
        for index, (op, split) in enumerate(zip(design.network.ops, design.plan.splits, strict=True))
    ]
    rows = []
    for tag, (name, index, partition, macs) in enumerate(everything):
        mine = profile[(profile["tag"] == tag) & (profile["taken"] > 0)]
        moves = {unit: mine[mine["unit"] == unit] for unit in Unit}
        cycles = int(columns[tag].sum())
        rows.append(
            LayerRow(
                name, partition, cycles, _bound(moves, cycles), macs,
                int(moves[Unit.LOAD]["bytes"].sum() + moves[Unit.STORE]["bytes"].sum()),
                int(moves[Unit.SEND]["bytes"].sum()),
                0 if index is None else int(comparison.mismatches[index]),
                **dict(zip(COLUMNS, map(int, columns[tag]), strict=True)),
                share_of_peak=share_of_peak(macs, cycles, design),
            )
        )  # fmt: skip
    return _with_host(design, rows, first=1, measured=dict.fromkeys(("mismatches", *COLUMNS), 0))


def share_of_peak(macs: int, cycles: int, design: Design) -> float:
    """Part of the array's MACs in some cycles that were needed."""
    return macs / (cycles * design.target.node.macs_per_cycle * design.boards) if cycles else 0.0


def _with_host(design, rows, *, first, measured):
    """Rows with one for each host operation, where it is done; ``rows[first]`` is operation 0.

    ``measured``: fields of a host operation's row that are known because the boards were watched.
    """
    compiled, network = design.compiled, design.network
    steps: list[tuple[int, int | None, Any]] = [
        (step.position, segment, step.node)
        for segment in range(compiled.segments)
        for step in network.segment_steps(segment)
    ]
    steps += [(len(network.ops), None, node) for node in network.host]
    result, seen = list(rows[:first]), set()
    for index in range(len(network.ops) + 1):
        for position, segment, node in steps:
            if position == index:
                result.append(replace(_host_row(compiled, segment, node, seen), **measured))
        result += rows[first + index : first + index + 1]
    return result


def _host_row(compiled, segment, node, seen):
    """Row of a host operation: what it reads that no earlier one at this stop has read, and what it writes."""
    network = compiled.network
    names = network.outputs if segment is None else network.host_reads(segment)
    new = [name for name in dict.fromkeys(node.inputs) if name in names and (segment, name) not in seen]
    seen.update((segment, name) for name in new)
    pieces = [piece for name in new for piece in compiled.read_pieces(name)]
    pieces += compiled.write_pieces(node.output) if segment is not None else []
    moved = sum(length for piece in pieces for _, length in piece.ranges)
    return LayerRow(node.name, "host", 0, "host", 0, 0, 0, host_bytes=moved, host_macs=host_macs(node.model))


_RESOURCES = {
    "compute": (Unit.MATMUL,),
    "vector": (Unit.VECTOR,),
    "dram": (Unit.LOAD, Unit.STORE),
    "link": (Unit.SEND,),
}


def _bound(moves, cycles):
    """The resource that worked longest on the layer's instructions, or "latency" if none did half of the time."""
    work = {}
    for name, units in _RESOURCES.items():
        active = [
            int((moves[u]["busy"] - (moves[u]["stalled"] if name == "compute" else 0)).max(initial=0)) for u in units
        ]
        work[name] = max(active)
    best = max(work, key=lambda name: work[name])
    return best if 2 * work[best] >= cycles else "latency"


def plan_rows(design: Design) -> list[LayerRow]:
    """Rows of a plan: cycles reckoned from the programs, bounds and bytes as the planner expects them."""
    plan, (of_input, *cycles) = design.plan, design.layer_cycles.tolist()
    rows = [LayerRow("input", "-", of_input, "dram", 0, 0, 0)]
    rows += [
        LayerRow(op.name, split.value, own, cost.bound, op.macs, cost.dram_bytes, cost.link_bytes)
        for op, split, cost, own in zip(design.network.ops, plan.splits, plan.costs, cycles, strict=True)
    ]
    return _with_host(design, rows, first=1, measured={})
