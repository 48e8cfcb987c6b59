"""The result of a run: a table for people, JSON for programs."""

import json
import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace

import numpy as np

from superlip.golden import Agreement
from superlip.graph import ir
from superlip.rtl.isa import Unit

from .attribution import COLUMNS, attribute
from .files import write_whole
from .layer_table import print_layers
from .terminal import print_text

__all__ = ["Bound", "LayerRow", "Report", "largest_steps", "layer_rows", "plan_rows"]


@dataclass(frozen=True)
class LayerRow:
    """One layer of a table: measured (`layer_rows`) or estimated (`plan_rows`).

    ``cycles`` of a measured layer are its own (see ``attribution``): they add up to the latency, and the columns from
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


def layer_rows(design, result, comparison):
    """Rows of a simulated image, the one that took longest, in order of the network."""
    image = int(result.cycles.argmax())
    profile = result.profile[result.profile["image"] == image]
    columns = attribute(design, result, image)
    everything = [("input", None, "-", 0)]
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
                share_of_peak=_share(macs, cycles, design),
            )
        )  # fmt: skip
    return _with_host(design, rows, first=1, measured=dict.fromkeys(("mismatches", *COLUMNS), 0))


def _share(macs, cycles, design):
    """Part of the array's MACs in some cycles that were needed."""
    return macs / (cycles * design.target.node.macs_per_cycle * len(design.compiled.boards)) if cycles else 0.0


def _with_host(design, rows, *, first, measured):
    """Rows with one for each host operation, where it is done; ``rows[first]`` is operation 0.

    ``measured``: fields of a host operation's row that are known because the boards were watched.
    """
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
    return _with_host(design, rows, first=0, measured={})


@dataclass(frozen=True)
class Bound:
    """What physics allow: a cluster can't be faster than its arrays multiply, nor than its DRAM brings what it must.

    Parameters
    ----------
    macs : int
        MACs of the network.
    bytes_once : int
        Bytes that must cross the DRAM interface once: the int8 weights of the model, without padding, the image, and
        the outputs. Weights that stay on chip from the image before need not, so a network that fits may be faster.
    cycles : int
        The larger of ``macs`` at the peak of all arrays and ``bytes_once`` at the bandwidth of all boards.
    """

    macs: int
    bytes_once: int
    cycles: int

    @classmethod
    def of(cls, design):
        """Bound of a design."""
        graph, network = design.graph, design.network
        macs = sum(op.macs for op in network.ops)
        once = sum(node.weights.size for node in graph.nodes if isinstance(node, ir.Conv))
        once += sum(math.prod(graph.values[name].shape) for name in {graph.input, *network.outputs})
        return cls.within(macs, once, design)

    @classmethod
    def within(cls, macs, bytes_once, design):
        """The same for a part of a design's network."""
        target, boards = design.target, len(design.compiled.boards)
        compute, memory = macs / target.node.macs_per_cycle, bytes_once / target.dram.bytes_per_cycle
        return cls(macs, bytes_once, math.ceil(max(compute, memory) / boards))


@dataclass(frozen=True)
class Prediction:
    """The class with the largest value of an image's output, and that value."""

    label: int
    value: float


@dataclass(repr=False)
class Report:
    """A run. The JSON has the keys of the fields, in this order.

    Parameters
    ----------
    cycles, cycles_one_board : int
        Latency of one image, all boards done (the largest of all images), on all boards and on one. What stays on chip
        from one image to the next is there.
    first_image_cycles : int
        Latency of the first image behind a start: with the init programs, which bring what stays on chip.
    macs, share_of_peak, bytes_once, bound_cycles, over_bound
        MACs of the network, their part of those of all arrays in ``cycles``; ``Bound``, and ``cycles`` against it.
    mismatches : int
        Values in which the RTL differs from the golden, over all layers, images and both clusters.
    onnxruntime_mismatches : int or None
        Values of the outputs in which the golden (so the RTL, where ``bit_exact``) differs from what ONNX Runtime's
        integer operators make of the quantized copy of a float model, or of the quantized model as given;
        ``onnxruntime_values``: of how many, ``onnxruntime_largest_steps``: by how much.
    agreement, calibration_agreement : superlip.golden.Agreement or None
        The outputs against those of the model as the user gave it: on the images that were run, and on calibration
        images.
    outputs : dict of str to ndarray, shape (images, ...)
        Of the RTL, by the model's own names. Not in the JSON.
    warnings : list of str
        What makes the numbers above doubtful, and what to do: sentences.
    predictions : list of Prediction or None
        Of each image by the RTL, if the first output is a vector of classes.
    notes : list of str
        What was done to the model that may be worth knowing (``superlip check`` prints it).
    """

    model: str
    agreement: Agreement | None
    calibration_agreement: Agreement | None
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
    onnxruntime_values: int | None
    onnxruntime_largest_steps: float | None
    onnxruntime_top1_agreement: float | None
    layers: list[LayerRow]
    sim_cycles_per_second: float
    layers_one_board: list[LayerRow] = field(default_factory=list)
    first_difference: str | None = None
    sim_cycles: int = 0
    source: str = ""
    finding: str | None = None
    first_image_cycles: int = 0
    macs: int = 0
    share_of_peak: float = 0.0
    bytes_once: int = 0
    bound_cycles: int = 0
    over_bound: float = 0.0
    warnings: list[str] = field(default_factory=list)
    predictions: list[Prediction] | None = None
    notes: list[str] = field(default_factory=list)
    outputs: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls, model, designs, results, images, outputs, cross, agreement):
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
        bound = Bound.of(design)
        firsts = [r.comparison.first for r in results.values() if r.comparison.first is not None]
        return cls(
            model=model,
            agreement=agreement,
            calibration_agreement=design.graph.agreement,
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
            onnxruntime_values=None if cross is None else sum(d.values for d in cross.outputs),
            onnxruntime_largest_steps=None if cross is None else largest_steps(design.graph, cross),
            onnxruntime_top1_agreement=None if cross is None else cross.top1 / cross.images,
            layers=result.layers,
            sim_cycles_per_second=result.result.cycles_per_second,
            layers_one_board=one.layers,
            first_difference=str(firsts[0]) if firsts else None,
            sim_cycles=result.result.simulated_cycles,
            source=images.source,
            finding=next((str(r.finding) for r in results.values() if r.finding is not None), None),
            first_image_cycles=int(result.result.init_cycles + result.result.cycles[0]),
            macs=bound.macs,
            share_of_peak=_share(bound.macs, cycles, design),
            bytes_once=bound.bytes_once,
            bound_cycles=bound.cycles,
            over_bound=cycles / bound.cycles,
            warnings=[*images.warnings, *_warnings(agreement, design.graph.agreement)],
            predictions=_predictions(next(iter(outputs.values()))),
            notes=list(dict.fromkeys(design.graph.notes)),
            outputs=outputs,
        )

    def __repr__(self):
        boards = f"{self.boards} board{'s' if self.boards > 1 else ''}"
        bits = "bits equal" if self.bit_exact else f"{self.mismatches:,} values differ"
        return (
            f"<Report of {self.model!r} on {boards}, node {self.node}: {self.cycles:,} cycles, "
            f"speed-up {self.speedup:.2f}, {bits}>"
        )

    def to_json(self):
        """The report as JSON text, without the outputs' values."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "outputs"}
        for name, value in content.items():
            if isinstance(value, Agreement):
                content[name] = value.to_dict()
            elif isinstance(value, list):
                content[name] = [asdict(item) if is_dataclass(item) else item for item in value]
        return json.dumps(content, indent=1) + "\n"

    def write_json(self, path):
        """Write the JSON to a file, whole or not at all."""
        write_whole(path, self.to_json())

    def print(self, console, *, wide=False):
        """Print table and summary to a rich console; with ``wide``, all columns of the table."""
        unit = f"{self.boards} board{'s' if self.boards > 1 else ''}"
        title = f"{self.model} on {unit}, node {self.node}: cycles of one image, RTL simulation"
        if self.agreement is not None:
            print_text(console, "\n".join([f"{self.model} {self.agreement.lines()[0]}", *self.agreement.lines()[1:]]))
        print_layers(console, self.layers, title, wide=wide)
        print_text(console, self.summary())
        if self.finding:
            print_text(console, self.finding)
            print_text(console, "superlip bisect, with the same arguments, also writes a waveform around it")

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
        lines += [
            f"first image  {self.first_image_cycles:>12,} cycles, with what stays on chip for the next ones",
            f"peak         {100 * self.share_of_peak:.1f} % of {self.macs_per_cycle * self.boards:,} MACs a cycle; "
            f"{self.over_bound:.2f} times the physical bound of {self.bound_cycles:,} cycles "
            f"({self.macs:,} MACs; {self.bytes_once:,} bytes of weights, image and outputs)",
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
                f"integers     {self.onnxruntime_mismatches:,} of {self.onnxruntime_values:,} output values of the "
                f"golden differ from ONNX Runtime on the quantized model"
                + (f", by at most {self.onnxruntime_largest_steps:.2g} steps" if self.onnxruntime_mismatches else "")
            )
        if self.predictions:
            shown = ", ".join(f"{p.label} ({p.value:.3g})" for p in self.predictions[:_SHOWN_PREDICTIONS])
            more = ", ..." if len(self.predictions) > _SHOWN_PREDICTIONS else ""
            lines.append(f"classes      {shown}{more} (largest value of each image)")
        lines.append(
            f"simulation   {self.sim_cycles:,} cycles of the cluster, {self.sim_cycles_per_second:,.0f} cycles/s"
        )
        lines += [f"warning      {text}" for text in self.warnings]
        return "\n".join(lines)


_SHOWN_PREDICTIONS = 5


def _predictions(output):
    """Predictions of an output, ndarray (images, ...), or None if an image's is no vector of numbers."""
    images, *shape = output.shape
    if sum(size > 1 for size in shape) != 1 or not np.issubdtype(output.dtype, np.number):
        return None
    scores = output.reshape(images, -1)
    best = scores.argmax(axis=1)
    return [Prediction(int(label), float(row[label])) for label, row in zip(best, scores, strict=True)]


def largest_steps(graph, cross):
    """Largest difference of any output from ONNX Runtime on the quantized model, in steps of that output."""
    steps = []
    for name, difference in zip(graph.outputs, cross.outputs, strict=True):
        is_real = difference.name not in graph.integer_outputs and not graph.values[name].is_float
        steps.append(difference.largest / (graph.values[name].scale if is_real else 1.0))
    return max(steps)


def _warnings(*agreements):
    """What the judgements say, each sentence once."""
    return list(dict.fromkeys(a.warning for a in agreements if a is not None and a.warning))
