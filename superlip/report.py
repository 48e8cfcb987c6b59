"""The result of a run: a table for people, JSON for programs."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table

from superlip.rtl.isa import Unit

__all__ = ["LayerRow", "Report", "layer_rows", "layer_table", "plan_rows"]


@dataclass(frozen=True)
class LayerRow:
    """One layer of a table: measured (`layer_rows`) or estimated (`plan_rows`).

    ``cycles`` are those by which the layer moves the end of the image, so they add up to the latency; ``bound`` is
    what took most of them; bytes are sums over the boards.
    """

    name: str
    partition: str
    cycles: int
    bound: str
    macs: int
    dram_bytes: int
    link_bytes: int
    mismatches: int = 0
    host_bytes: int = 0
    """What the host reads from the boards' DRAM and writes to it, for its own operations (partition "host")."""


def layer_rows(design, result, comparison):
    """Rows of a simulated image (the last one: all take the same program), in order of the network."""
    profile = result.profile
    profile = profile[profile["image"] == profile["image"].max(initial=0)]
    rows = []
    done = 0
    everything = [("input", None, "-", 0)]
    everything += [
        (op.name, index, split.value, op.macs)
        for index, (op, split) in enumerate(zip(design.network.ops, design.plan.splits, strict=True))
    ]
    for tag, (name, index, partition, macs) in enumerate(everything):
        mine = profile[(profile["tag"] == tag) & (profile["taken"] > 0)]
        moves = {unit: mine[mine["unit"] == unit] for unit in Unit}
        end = max(int(mine["last_done"].max(initial=0)), done)
        cycles = end - done
        done = end
        rows.append(
            LayerRow(
                name, partition, cycles, _bound(moves, cycles), macs,
                int(moves[Unit.LOAD]["bytes"].sum() + moves[Unit.STORE]["bytes"].sum()),
                int(moves[Unit.SEND]["bytes"].sum()),
                0 if index is None else int(comparison.mismatches[index]),
            )
        )  # fmt: skip
    total = int(result.cycles[-1])
    if rows and total > done:  # from the last unit's end to the end of the program
        last = rows[-1]
        rows[-1] = LayerRow(**{**asdict(last), "cycles": last.cycles + total - done})
    return _with_host(design, rows, first=1)


def _with_host(design, rows, *, first):
    """Rows with one for each host operation, where it is done; ``rows[first]`` is operation 0."""
    compiled, network = design.compiled, design.network
    steps = [
        (step.position, segment, step.node)
        for segment in range(compiled.segments)
        for step in network.segment_steps(segment)
    ]
    steps += [(len(network.ops), None, node) for node in network.host]
    result, seen = list(rows[:first]), set()
    for index in range(len(network.ops) + 1):
        for position, segment, node in steps:
            if position == index:
                result.append(_host_row(compiled, segment, node, seen))
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
    return LayerRow(node.name, "host", 0, "host", 0, 0, 0, host_bytes=moved)


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
    best = max(work, key=work.get)
    return best if 2 * work[best] >= cycles else "latency"


def plan_rows(design):
    """Rows as the planner expects them."""
    plan = design.plan
    rows = [
        LayerRow(op.name, split.value, round(cost.cycles), cost.bound, op.macs, cost.dram_bytes, cost.link_bytes)
        for op, split, cost in zip(design.network.ops, plan.splits, plan.costs, strict=True)
    ]
    return _with_host(design, rows, first=0)


def layer_table(rows, title, *, estimated=False):
    """Rich table of rows."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("layer", "partition"):
        table.add_column(column, no_wrap=True)
    for column in ("cycles", "MACs"):
        table.add_column(column, justify="right")
    table.add_column("bound by")
    with_host = any(row.host_bytes for row in rows)
    for column in ("DRAM bytes", "link bytes", *(["host bytes"] if with_host else [])):
        table.add_column(column, justify="right")
    if not estimated:
        table.add_column("bits")
    for row in rows:
        if row.partition == "host":
            table.add_row(row.name, "host", *[""] * 5, f"{row.host_bytes:,}", style="yellow")
            continue
        cells = [row.name, row.partition, f"{row.cycles:,}", f"{row.macs:,}", row.bound]
        cells += [f"{row.dram_bytes:,}", f"{row.link_bytes:,}", *([""] if with_host else [])]
        if not estimated:
            cells.append("equal" if not row.mismatches else f"[red]{row.mismatches} differ[/red]")
        table.add_row(*cells)
    table.add_section()
    total = ["total", "", f"{sum(r.cycles for r in rows):,}", f"{sum(r.macs for r in rows):,}", ""]
    total += [f"{sum(r.dram_bytes for r in rows):,}", f"{sum(r.link_bytes for r in rows):,}"]
    total += [f"{sum(r.host_bytes for r in rows):,}"] if with_host else []
    table.add_row(*total, *([] if estimated else [""]))
    return table


@dataclass
class Report:
    """A run. The JSON has the keys of the fields up to ``sim_cycles_per_second``, in this order.

    Parameters
    ----------
    cycles, cycles_one_board : int
        Latency of one image, all boards done (the largest of all images), on all boards and on one.
    mismatches : int
        Values in which the RTL differs from the golden, over all layers, images and both clusters.
    onnxruntime_mismatches : int or None
        Values of the network's outputs in which the golden differs from ONNX Runtime (so the RTL, where ``bit_exact``).
    """

    model: str
    boards: int
    node: str
    macs_per_cycle: int
    cycles: int
    cycles_one_board: int
    speedup: float
    clock_mhz_assumed: float
    images: int
    accuracy: float | None
    bit_exact: bool
    mismatches: int
    onnxruntime_mismatches: int | None
    onnxruntime_top1_agreement: float | None
    layers: list[LayerRow]
    sim_cycles_per_second: float
    layers_one_board: list[LayerRow] = field(default_factory=list)
    first_difference: str | None = None
    sim_cycles: int = 0
    source: str = ""
    finding: str | None = None

    @classmethod
    def make(cls, model, designs, results, images, outputs, cross):
        """From the designs and results by number of boards."""
        boards = max(designs)
        design, one = designs[boards], results[1]
        result = results[boards]
        mismatches = sum(r.comparison.total for r in results.values())
        scores = next(iter(outputs.values())).reshape(len(images.images), -1)
        accuracy = None
        if images.labels is not None:
            accuracy = float((scores.argmax(axis=1) == images.labels).mean())
        cycles, single = int(result.result.cycles.max()), int(one.result.cycles.max())
        firsts = [r.comparison.first for r in results.values() if r.comparison.first is not None]
        return cls(
            model=model,
            boards=boards,
            node=design.target.name,
            macs_per_cycle=design.target.node.macs_per_cycle,
            cycles=cycles,
            cycles_one_board=single,
            speedup=single / cycles,
            clock_mhz_assumed=design.target.clock_mhz,
            images=len(images.images),
            accuracy=accuracy,
            bit_exact=mismatches == 0,
            mismatches=mismatches,
            onnxruntime_mismatches=None if cross is None else cross.mismatches,
            onnxruntime_top1_agreement=None if cross is None else cross.top1 / cross.images,
            layers=result.layers,
            sim_cycles_per_second=result.result.cycles_per_second,
            layers_one_board=one.layers,
            first_difference=str(firsts[0]) if firsts else None,
            sim_cycles=result.result.simulated_cycles,
            source=images.source,
            finding=next((str(r.finding) for r in results.values() if r.finding is not None), None),
        )

    def to_json(self):
        """The report as JSON text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def write_json(self, path):
        """Write the JSON to a file, whole or not at all."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_text(self.to_json())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def print(self, console):
        """Print tables and summary to a rich console."""
        unit = f"{self.boards} board{'s' if self.boards > 1 else ''}"
        title = f"{self.model} on {unit}, node {self.node}: one image, RTL simulation"
        console.print(layer_table(self.layers, title))
        console.print(self.summary(), highlight=False)
        if self.finding:
            console.print(self.finding, highlight=False, markup=False, soft_wrap=True)
            console.print("superlip bisect, with the same arguments, also writes a waveform around it", highlight=False)

    def summary(self):
        """The lines under the table."""
        micro = [cycles / self.clock_mhz_assumed for cycles in (self.cycles_one_board, self.cycles)]
        lines = [
            f"one board    {self.cycles_one_board:>12,} cycles  {micro[0]:>10,.1f} us at an assumed "
            f"{self.clock_mhz_assumed:g} MHz (our own best plan for one board)",
        ]
        if self.boards > 1:
            moved = sum(row.link_bytes for row in self.layers)
            saved = sum(r.dram_bytes for r in self.layers_one_board) - sum(r.dram_bytes for r in self.layers)
            lines += [
                f"{self.boards} boards     {self.cycles:>12,} cycles  {micro[1]:>10,.1f} us   "
                f"speed-up {self.speedup:.2f}",
                f"traffic      {moved:,} bytes over the links; DRAM bytes of all boards "
                f"{'down' if saved >= 0 else 'up'} by {abs(saved):,} against one board",
            ]
        if moved := sum(row.host_bytes for row in self.layers):
            count = sum(row.partition == "host" for row in self.layers)
            lines.append(
                f"host         {count} operation{'s' if count > 1 else ''}, {moved:,} bytes from and to DRAM; "
                f"the host's time is not counted"
            )
        lines.append(
            f"bits         RTL {'equals' if self.bit_exact else 'DIFFERS FROM'} the golden in every layer of "
            f"{self.images} images ({self.source}){'' if self.bit_exact else f': {self.mismatches} values differ'}"
        )
        if self.first_difference:
            lines.append(f"             first: {self.first_difference}")
        if self.onnxruntime_mismatches is not None:
            lines.append(
                f"ONNX Runtime {self.onnxruntime_mismatches} output values differ, same class for "
                f"{100 * self.onnxruntime_top1_agreement:.2f} % of the images"
            )
        if self.accuracy is not None:
            lines.append(f"accuracy     {100 * self.accuracy:.2f} % of {self.images} images")
        lines.append(
            f"simulation   {self.sim_cycles:,} cycles of the cluster, {self.sim_cycles_per_second:,.0f} cycles/s"
        )
        return "\n".join(lines)


def write_rows(rows, path):
    """Layer rows as JSON (``superlip plan --json``)."""
    Path(path).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
