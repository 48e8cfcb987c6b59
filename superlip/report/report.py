"""The result of a run: a table for people, JSON for programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from superlip.compile.design import Design
from superlip.golden import Agreement
from superlip.graph import ir
from superlip.tools.files import write_whole
from superlip.tools.terminal import print_text

from .bound import Bound
from .host_share import HostShare
from .rows import LayerRow, share_of_peak
from .table import print_layers

__all__ = ["Report"]


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
    def make(
        cls,
        model: str,
        designs: Mapping[int, Design],
        results: Mapping[int, Any],
        images: Any,
        outputs: dict[str, np.ndarray],
        cross: Any,
        agreement: Agreement | None,
    ) -> "Report":
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
            share_of_peak=share_of_peak(bound.macs, cycles, design),
            bytes_once=bound.bytes_once,
            bound_cycles=bound.cycles,
            over_bound=cycles / bound.cycles,
            warnings=[
                *images.warnings,
                *_warnings(agreement, design.graph.agreement),
                *([] if design.why_idle is None else [design.why_idle]),
            ],
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

    def to_json(self) -> str:
        """The report as JSON text, without the outputs' values."""
        content: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "outputs"}
        for name, value in content.items():
            if isinstance(value, Agreement):
                content[name] = value.to_dict()
            elif isinstance(value, list):
                content[name] = [
                    asdict(item) if is_dataclass(item) and not isinstance(item, type) else item for item in value
                ]
        return json.dumps(content, indent=1) + "\n"

    def write_json(self, path: str | Path) -> None:
        """Write the JSON to a file, whole or not at all."""
        write_whole(path, self.to_json())

    def print(self, console: Console, *, wide: bool = False) -> None:
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

    def summary(self) -> str:
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
        host = HostShare.of_rows(self.layers)
        if host.operations:
            lines.append(f"host         {host}")
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


def largest_steps(graph: ir.Graph, cross: Any) -> float:
    """Largest difference of any output from ONNX Runtime on the quantized model, in steps of that output."""
    steps = []
    for name, difference in zip(graph.outputs, cross.outputs, strict=True):
        is_real = difference.name not in graph.integer_outputs and not graph.values[name].is_float
        steps.append(difference.largest / (graph.values[name].scale if is_real else 1.0))
    return max(steps)


def _warnings(*agreements):
    """What the judgements say, each sentence once."""
    return list(dict.fromkeys(a.warning for a in agreements if a is not None and a.warning))
