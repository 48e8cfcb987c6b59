"""A design on images: simulated, and compared with the golden word by word."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from superlip import golden
from superlip.compile.design import Design
from superlip.graph import ir
from superlip.ops import apply
from superlip.sim.result import RunResult

from .host import HostWork
from .verify import Comparison, TraceChecker

__all__ = ["Simulated", "compare", "finish", "simulate"]


@dataclass(frozen=True, eq=False)
class Simulated:
    """One cluster's run: the simulator's result, the comparison, the outputs (name -> elements (B, C, H, W))."""

    result: RunResult
    comparison: Comparison
    outputs: dict[str, np.ndarray]


def simulate(simulator: Any, design: Design, quantized: np.ndarray, *, dram: Any = None, **options: Any) -> Any:
    """Run a design on images (elements, shape (B, C, H, W)) with a trace of all: RunResult, also if a node failed.

    ``dram``: contents of the boards' DRAM instead of the design's; ``options`` as for ``Simulator.run``.
    """
    compiled = design.compiled
    works = [HostWork(compiled, image) for image in quantized]
    return simulator.run(
        boards=len(compiled.boards),
        programs=[board.programs[0] for board in compiled.boards],
        host=[_host_stop(compiled, works, segment) for segment in range(1, compiled.segments)],
        init_programs=[board.init_program for board in compiled.boards],
        dram=[board.dram.extents for board in compiled.boards] if dram is None else dram,
        inputs=[work.begin() for work in works],
        outputs=compiled.output_ranges(),
        stripe=compiled.boards[0].dram.stripe_bytes,
        regions=[board.dram.regions for board in compiled.boards],
        trace_images="all",
        expected_cycles=design.cycles,
        **options,
    )


def compare(design: Design, result: Any, expected: Mapping[str, np.ndarray]) -> Simulated:
    """Compare a run that ended well with the golden (``expected``, of all its images): Simulated."""
    compiled = design.compiled
    checker = TraceChecker(compiled)
    expected = compiled.network.complete(expected)
    comparison = checker.start()
    trace = result.trace[result.trace["image"] >= 0]
    edges = np.searchsorted(trace["image"], np.arange(len(result.outputs) + 1)) if _sorted(trace["image"]) else None
    for image in range(len(result.outputs)):
        mine = trace[edges[image] : edges[image + 1]] if edges is not None else trace[trace["image"] == image]
        checker.compare(image, mine, {name: values[image] for name, values in expected.items()}, comparison)
    per_image = [compiled.outputs([np.asarray(part).tobytes() for part in parts]) for parts in result.outputs]
    outputs = {name: np.stack([image[name] for image in per_image]) for name in design.network.outputs}
    for name, values in outputs.items():
        comparison.missing += int((values != expected[name]).sum())
    return Simulated(result, comparison, outputs)


def _host_stop(compiled, works, segment):
    from superlip.sim.cluster import HostStop  # noqa: PLC0415 - the simulator's tools are an extra

    models = [step.node.model for step in compiled.network.segment_steps(segment)]
    return HostStop(
        reads=compiled.host_ranges(segment),
        compute=lambda image, raw: works[image].between(segment, [part.tobytes() for part in raw]),
        programs=[board.programs[segment] for board in compiled.boards],
        key=hashlib.sha256(b"".join(models)).hexdigest(),
    )


def _sorted(values):
    return bool((np.diff(values) >= 0).all())


def finish(graph: ir.Graph, design: Design, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The model's outputs, by its own names, from the accelerator's: with what the host does at the end."""
    values = dict(outputs)
    for node in design.network.host:
        values[node.output] = apply(node, [values[name] for name in node.inputs], graph.values)
    return golden.own_outputs(graph, values)
