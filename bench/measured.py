"""What becomes of a network that somebody brings: a row of docs/networks.md."""

import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import psutil
from brought import Network

from superlip import api, golden
from superlip.boards import load_target
from superlip.graph import ModelError, ir
from superlip.graph.onnx.check import NodeVerdict, examine
from superlip.plan.lower import lower_for
from superlip.report.host_share import HostShare
from superlip.run.accuracy import judge, onnxruntime_quantized
from superlip.run.simulate import compare, simulate
from superlip.sim.cluster import SimulationError

__all__ = ["BOARDS", "OnBoards", "Row", "loading", "measure"]

BOARDS = 1, 2


@dataclass(frozen=True)
class OnBoards:
    """What some boards do with one image: cycles as planned, and by the simulated RTL where that was asked for.

    ``mismatches``: of ``values`` that the boards computed, against the golden. ``failure``: why there is nothing more.
    """

    planned: int = 0
    cycles: int | None = None
    values: int = 0
    mismatches: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Row:
    """What was found of a network; ``failure`` where it was not taken.

    ``seconds`` and ``megabytes`` are what loading takes, the latter beside the file; ``boards``: by their number.
    """

    title: str
    shape: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    nodes: str = ""
    host: str = ""
    macs: int = 0
    accelerated: float = 0.0
    ours: str = ""
    theirs: str = ""
    boards: dict[str, OnBoards] = field(default_factory=dict)
    failure: str = ""

    @classmethod
    def from_dict(cls, kept: dict) -> "Row":
        """As ``dataclasses.asdict`` gave it."""
        boards = {count: OnBoards(**each) for count, each in kept["boards"].items()}
        return cls(**kept | {"boards": boards})

    @property
    def is_equal(self) -> bool:
        """No bit is known to differ, and nothing to fail."""
        return not self.failure and not any(each.failure or each.mismatches for each in self.boards.values())


def measure(network: Network, folder: Path, simulator=None) -> Row:
    """Load, judge and plan a network, and run one image of it where there is a simulator."""
    shape = " x ".join(map(str, network.shape))
    try:
        loaded = _load(network.path(folder), calibrate=network.images(0), input_shape=network.input_shape)
        images = network.images(1)
        quantized = golden.quantize_input(loaded.graph, images)
        expected = golden.run(loaded.graph, quantized)
        ours = judge(loaded.graph, images, results=expected)
    except (ModelError, ValueError, ImportError, subprocess.CalledProcessError) as error:
        return Row(network.title, shape, failure=str(error).splitlines()[0])
    try:
        theirs = quality(onnxruntime_quantized(loaded.graph, images))
    except ModelError:
        theirs = "can't"
    first = {name: values[:1] for name, values in expected.items()}
    runs = {boards: _on_boards(loaded.graph, quantized[:1], first, boards, simulator) for boards in BOARDS}
    share = HostShare.of_network(runs[1][1])
    macs = share.macs + share.accelerated_macs
    kinds = Counter(row.op.rpartition("/")[2] for row in loaded.verdicts if row.verdict == "host")
    return Row(
        network.title, shape, loaded.seconds, loaded.megabytes,
        f"{len(loaded.verdicts)}, {sum(kinds.values())} on the host",
        "; ".join(filter(None, [
            ", ".join(f"{count} {op}" if count > 1 else op for op, count in kinds.most_common(6)),
            f"stops: {share.stops}" if share.stops else "",
        ])),
        macs, share.accelerated_macs / max(1, macs), quality(ours), theirs,
        {str(boards): run for boards, (run, _) in runs.items()},
    )  # fmt: skip


def loading(network: Network, folder: Path) -> tuple[float, float]:
    """(seconds of a core, MB beside the weights) of loading a network, best in a process of its own.

    Raises
    ------
    ModelError
        If it can't be loaded.
    """
    loaded = _load(network.path(folder), calibrate=network.images(0), input_shape=network.input_shape)
    return loaded.seconds, loaded.megabytes


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A graph, what was said of each node, and what that took: seconds of a core, and MB beside the weights."""

    graph: ir.Graph
    verdicts: list[NodeVerdict]
    seconds: float
    megabytes: float


def _load(path, **given):
    weights = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, begin = psutil.Process().memory_info().rss, time.process_time()
    verdicts, graph = examine(path, **given)
    seconds = time.process_time() - begin
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    if graph is None:
        row = next(row for row in verdicts if row.verdict == "unsupported")
        raise ModelError(f"{row.op} {row.node!r}: {row.why}")
    return _Loaded(graph, verdicts, seconds, max(0, int(peak.split()[1]) * 1024 - before - weights) / 1e6)


def _on_boards(graph, quantized, expected, boards, simulator):
    """(what the boards do, the network as planned, or as imported where it could not be planned)."""
    network = lower_for(graph, load_target("zcu102").node)
    try:
        design = api.plan(graph, boards=boards)
        network, planned = design.network, round(design.plan.cycles)
        if simulator is None:
            return OnBoards(planned), network
        result = simulate(simulator, design, quantized).check()
        comparison = compare(design, result, expected).comparison
    except (ValueError, SimulationError) as error:
        return OnBoards(failure=str(error).splitlines()[0]), network
    return OnBoards(planned, int(result.cycles[-1]), int(comparison.values.sum()), comparison.total), network


def quality(agreement) -> str:
    """dB of each output, and the part of images in the same class where there is one."""
    each = (output.decibels for output in agreement.outputs)
    decibels = ", ".join(f"{quality:.1f}" if np.isfinite(quality) else "equal" for quality in each)
    same = "" if agreement.same_class is None else f"; {100 * agreement.same_class:.0f} %"
    return decibels + same
