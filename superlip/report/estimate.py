"""What a plan promises: cycles of every layer and of all, against one board, and whether the node can fit its FPGA."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console

from superlip.boards import Target
from superlip.compile.design import Design
from superlip.plan.planner import expected_cycles, lowered
from superlip.tools.terminal import counted, print_text

from .explained import Explained
from .host_share import HostShare
from .rows import LayerRow, plan_rows
from .table import print_layers

__all__ = ["Estimate", "misfits"]

_SUMS = ("macs", "dram_bytes", "link_bytes", "host_bytes")
BRAM36_BITS, URAM_BITS = 36 << 10, 288 << 10


@dataclass(frozen=True)
class Estimate:
    """Of one image, not measured.

    ``cycles``, and those of the layers, are reckoned from the compiled programs (``superlip.timing``); so is
    ``cycles_one_board``, what our best plan for one board takes. ``cycles_of_planner`` is what the planner expected, by
    the bounds with which it chose; ``bound`` of a layer is the resource that it had in mind. ``target`` has the fields
    of ``superlip.boards.Target``; ``warnings`` are sentences.
    """

    model: str
    target: dict
    boards: int
    cycles: int
    cycles_one_board: int
    cycles_of_planner: int
    macs: int
    dram_bytes: int
    link_bytes: int
    host_bytes: int
    layers: list[LayerRow]
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, design: Design) -> "Estimate":
        """Of a design, which is compared with the plan for one board."""
        rows, target, boards = plan_rows(design), design.target, design.boards
        cycles = single = design.cycles
        warnings = misfits(target)
        if design.plan.boards > 1 and design.alone is not None:
            single = design.alone.cycles
        elif design.plan.boards > 1:
            single = round(expected_cycles(lowered(design.graph, target, 1), target, 1))
            warnings.append("it does not fit one board: the cycles of one are what the planner would expect if it did")
        warnings += [] if design.why_idle is None else [design.why_idle]
        sums = {name: sum(getattr(row, name) for row in rows) for name in _SUMS}
        return cls(
            design.graph.name, asdict(target), boards, cycles, single, round(design.plan.cycles), **sums, layers=rows,
            warnings=warnings,
        )  # fmt: skip

    @property
    def speedup(self) -> float:
        """Against one board."""
        return self.cycles_one_board / self.cycles

    def microseconds(self, cycles: float) -> float:
        """At the clock that the target assumes."""
        return cycles / self.target["clock_mhz"]

    def to_json(self, explained: Sequence[Explained] | None = None) -> str:
        """As JSON text; a layer has only what a plan knows of it. ``explained``: why, of `explain`."""
        totals = {
            "cycles": self.cycles,
            "microseconds": self.microseconds(self.cycles),
            "cycles_one_board": self.cycles_one_board,
            "microseconds_one_board": self.microseconds(self.cycles_one_board),
            "speedup": self.speedup,
            "cycles_of_planner": self.cycles_of_planner,
            **{name: getattr(self, name) for name in _SUMS},
        }
        layers = [{key: value for key, value in asdict(row).items() if value is not None} for row in self.layers]
        content: dict[str, object] = {
            "model": self.model, "target": self.target, "boards": self.boards, "totals": totals, "layers": layers,
            "warnings": self.warnings,
        }  # fmt: skip
        if explained is not None:
            content["explained"] = [each.to_dict() for each in explained]
        return json.dumps(content, indent=1) + "\n"

    def print(self, console: Console, *, wide: bool = False) -> None:
        """Print table and summary; with ``wide``, all columns of the table."""
        title = f"{self.model} on {counted(self.boards, 'board')}, node {self.target['name']}: estimate of one image"
        print_layers(console, self.layers, title, estimated=True, wide=wide)
        print_text(console, self.summary())

    def summary(self) -> str:
        """The lines under the table."""
        clock = f"at an assumed {self.target['clock_mhz']:g} MHz"
        lines = [f"one board    {self.cycles_one_board:>12,} cycles  {self._shown(self.cycles_one_board)} us {clock}"]
        if self.boards > 1:
            lines.append(
                f"{self.boards} boards     {self.cycles:>12,} cycles  {self._shown(self.cycles)} us   "
                f"speed-up {self.speedup:.2f}"
            )
        lines.append(
            f"planner      {self.cycles_of_planner:>12,} cycles by the bounds it chose with; the others: programs"
        )
        traffic = f"{self.dram_bytes:,} bytes from and to DRAM"
        lines.append(f"traffic      {traffic}" + (f", {self.link_bytes:,} over the links" if self.boards > 1 else ""))
        host = HostShare.of_rows(self.layers)
        if host.operations:
            lines.append(f"host         {host}")
        return "\n".join([*lines, *(f"warning      {text}" for text in self.warnings)])

    def _shown(self, cycles):
        return f"{self.microseconds(cycles):>10,.1f}"


def misfits(target: Target) -> list[str]:
    """Why a node can't fit its FPGA, as sentences: lower bounds, which are sure without ``superlip resources``."""
    node, there = target.node, target.resources
    dsp = math.ceil(node.macs_per_cycle / (2 if node.mac == "packed" else 1))
    bits = (node.act_words + node.weight_words) * node.word_bits
    room = there.bram36 * BRAM36_BITS + there.uram * URAM_BITS
    found = []
    if dsp > there.dsp:
        found.append(f"{dsp:,} DSPs for {node.tm}x{node.tn} MACs, and the FPGA has {there.dsp:,g}")
    if bits > room:
        found.append(
            f"{bits >> 13:,} KiB for the buffers (act_words, weight_words), and the FPGA has {room / 8192:,.0f} KiB"
        )
    return [f"node {target.name} can't fit: it takes at least {text}" for text in found]
