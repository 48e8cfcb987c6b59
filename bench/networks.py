"""Networks on the simulated RTL: ``python bench/networks.py [--networks NAME ...] [--boards 1 2] [--node zcu102]``.

Every network with random weights and one random image; each value that the boards compute is compared with the golden,
and the outputs with ONNX Runtime. Writes a table as JSON (with the rows of all layers) and as Markdown, anew after each
row. Quantized networks and simulators are kept in the cache; one thing runs at a time.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import pickle
import platform
import runpy
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from superlip.boards import load_target
from superlip.rtl.isa import Unit
from superlip.sim.cache import entry
from superlip.sim.cluster import Simulator

import superlip.graph
from superlip import flow, golden
from superlip.attribution import COLUMNS
from superlip.data import load_images
from superlip.report import Bound

ROOT = Path(__file__).parent.parent
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"  # networks that ONNX ships without weights


@dataclass(frozen=True)
class Source:
    """Where a network comes from; ``seed``: of its made-up weights."""

    title: str
    path: Path
    seed: int | None = 0

    def model(self):
        """What ``flow.load`` takes, and the bytes that say which it is."""
        if self.path.suffix == ".py":
            model = runpy.run_path(str(self.path))["network"]()
            return model, model.SerializeToString()
        return self.path, self.path.read_bytes()


NETWORKS = {
    "alexnet": Source("AlexNet", LIGHT / "light_bvlc_alexnet.onnx"),
    "vgg16": Source("VGG-16", ROOT / "examples" / "vgg16" / "make.py"),
    "vgg19": Source("VGG-19", LIGHT / "light_vgg19.onnx"),
    "squeezenet": Source("SqueezeNet", LIGHT / "light_squeezenet.onnx"),
    "resnet50": Source("ResNet-50", LIGHT / "light_resnet50.onnx"),
    "inception1": Source("Inception v1", LIGHT / "light_inception_v1.onnx"),
    "tiny_yolov2": Source("Tiny-YOLOv2", ROOT / "examples" / "tiny_yolov2" / "make.py"),
}

WITHOUT_DENSE = "vgg16"
"""This one has a second row: up to the result of its last convolution, as the literature counts VGG-16."""


def say(text):
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def load_graph(source):
    """The quantized graph, from the cache if neither the model nor what quantizes it has changed."""
    model, content = source.model()
    folders = [Path(superlip.graph.__file__).parent, Path(golden.__file__).parent]
    code = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.py"))]
    versions = [importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime")]
    key = hashlib.sha256(repr((content, code, versions, source.seed)).encode()).hexdigest()[:20]

    def make(folder):
        say(f"{source.title}: quantizing")
        (folder / "graph.pickle").write_bytes(pickle.dumps(flow.load(model, random_weights=source.seed)))

    return pickle.loads((entry("graphs", key, make, note=say) / "graph.pickle").read_bytes())


class Builder:
    """Builds the simulator when it is first wanted, and notes how long that took."""

    def __init__(self, target):
        self.target = target
        self.simulator, self.seconds = None, None

    def get(self):
        if self.simulator is None:
            notes, began = [], time.perf_counter()
            self.simulator = Simulator.build(self.target, note=lambda text: (notes.append(text), say(text)))
            if notes:
                self.seconds = round(time.perf_counter() - began, 1)
        return self.simulator


class Network:
    """A network with its image and what the reference makes of it."""

    def __init__(self, name):
        source = NETWORKS.get(name) or Source(Path(name).stem, Path(name), None)
        self.name, self.title = name, source.title
        self.graph = load_graph(source)
        self.images = load_images(source.path, self.graph, limit=1).images
        self.quantized = golden.quantize_input(self.graph, self.images)
        say(f"{self.title}: golden and ONNX Runtime")
        self.expected = golden.run(self.graph, self.quantized)
        self.cross = golden.reference(self.graph, self.images, results=self.expected) if self.graph.model else None

    def rows(self, boards, target, builder):
        """Rows of the table for a number of boards."""
        began = time.perf_counter()
        design = flow.plan(self.graph, boards=boards, node=target)
        planning = time.perf_counter() - began
        simulator = builder.get()
        say(f"{self.title}: simulating {boards} board{'s' if boards > 1 else ''}, {design.plan.cycles:,.0f} expected")
        began = time.perf_counter()
        simulated = flow.compare(design, flow.simulate(simulator, design, self.quantized).check(), self.expected)
        result, comparison = simulated.result, simulated.comparison
        cycles, bound = int(result.cycles[-1]), Bound.of(design)
        row = {
            "network": self.name,
            "title": self.title,
            "boards": boards,
            "cycles": cycles,
            "first_image_cycles": int(result.init_cycles + result.cycles[0]),
            **_against(bound, cycles, design),
            "dram_bytes": sum(layer.dram_bytes for layer in simulated.layers),
            "link_bytes": sum(layer.link_bytes for layer in simulated.layers),
            "host_bytes": sum(layer.host_bytes for layer in simulated.layers),
            "values_compared": int(comparison.values.sum()),
            "mismatches": comparison.total,
            "onnxruntime_values": sum(d.values for d in self.cross.outputs) if self.cross else None,
            "onnxruntime_mismatches": self.cross.mismatches if self.cross else None,
            "planning_seconds": round(planning, 1),
            "simulator_build_seconds": builder.seconds,
            "simulation_seconds": round(result.seconds, 1),
            "simulation_and_comparison_seconds": round(time.perf_counter() - began, 1),
            "sim_cycles_per_second": round(result.cycles_per_second),
            "columns": {name: sum(getattr(layer, name) for layer in simulated.layers) for name in COLUMNS},
            "layers": [asdict(layer) for layer in simulated.layers],
        }
        say(f"{self.title}: {cycles:,} cycles on {boards}, {100 * row['share_of_peak']:.1f} % of the peak")
        rows = [row]
        if self.name == WITHOUT_DENSE:
            rows.append(_convolutions(design, simulated, row))
        return rows


def _against(bound, cycles, design):
    peak = design.target.node.macs_per_cycle * len(design.compiled.boards)
    return {
        "share_of_peak": bound.macs / peak / cycles,
        "macs": bound.macs,
        "bytes_once": bound.bytes_once,
        "bound_cycles": bound.cycles,
        "over_bound": cycles / bound.cycles,
    }


def _convolutions(design, simulated, whole):
    """The row of the layers in front of the dense ones: until VECTOR has written the last of their results."""
    ops, result = design.network.ops, simulated.result
    last = next(i for i, op in enumerate(ops) if op.is_conv and tuple(op.grid) == (1, 1)) - 1
    profile = result.profile[result.profile["image"] == len(result.cycles) - 1]
    mine = profile[(profile["unit"] == Unit.VECTOR) & (profile["tag"] >= 1) & (profile["tag"] <= last + 1)]
    cycles = int(mine["last_done"].max()) + 1
    convolutions = [op for op in ops[: last + 1] if op.is_conv]
    once = sum(op.node.weights.size for op in convolutions)
    graph = design.graph
    names = {graph.input, ops[last].output.storage.name}
    once += sum(int(np.prod(graph.values[name].shape)) for name in names if name in graph.values)
    bound = Bound.within(sum(op.macs for op in convolutions), once, design)
    layers = [row for row in simulated.layers if row.partition != "host"][: last + 2]  # the input's is the first
    return whole | {
        "network": f"{whole['network']}, convolutions",
        "title": f"{whole['title']}, convolution layers",
        "cycles": cycles,
        "first_image_cycles": whole["first_image_cycles"] - whole["cycles"] + cycles,
        **_against(bound, cycles, design),
        "dram_bytes": sum(layer.dram_bytes for layer in layers),
        "link_bytes": sum(layer.link_bytes for layer in layers),
        "host_bytes": 0,
        "values_compared": int(simulated.comparison.values[: last + 1].sum()),
        "mismatches": sum(layer.mismatches for layer in layers),
        "onnxruntime_values": None,
        "onnxruntime_mismatches": None,
        "columns": None,
        "layers": [],
    }


def write(path, text):
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


def facts(target):
    """What the figures were made on."""
    return {
        "node": target.name,
        "macs_per_cycle": target.node.macs_per_cycle,
        "dram_bytes_per_cycle": target.dram.bytes_per_cycle,
        "link_bytes_per_cycle": target.link.bytes_per_cycle,
        "clock_mhz_assumed": target.clock_mhz,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
    }


def markdown(rows, about, command):
    """The table as a page."""
    lines = [
        "# Performance",
        "",
        f"Made by `{command}`.",
        "",
        f"RTL simulation of the `{about['node']}` node: {about['macs_per_cycle']:,} int8 MACs a cycle, DRAM of "
        f"{about['dram_bytes_per_cycle']:g} bytes a cycle, a link of {about['link_bytes_per_cycle']:g}; random weights "
        "and one random image. *Cycles* are an image's latency with what stays on chip there already, *first image* "
        "that of the first one behind a start. *Peak*: the network's MACs against those of all arrays in these cycles. "
        "*Bound*: the larger of the MACs at the peak and of the bytes that must cross the DRAM interface once (int8 "
        "weights, image, outputs) at its bandwidth, over all boards. *Bits*: all values of all layers, RTL against "
        "golden. *ONNX Runtime*: output values that differ. Times are those of "
        f"{about['cores']} cores ({about['machine']}).",
        "",
    ]
    lines += _table(
        ["network", "boards", "cycles", "first image", "peak", "MACs", "bound", "cycles / bound", "DRAM bytes",
         "link bytes", "bits", "ONNX Runtime"],
        [
            [
                row["title"], row["boards"], f"{row['cycles']:,}", f"{row['first_image_cycles']:,}",
                f"{100 * row['share_of_peak']:.1f} %", f"{row['macs']:,}", f"{row['bound_cycles']:,}",
                f"{row['over_bound']:.3f}", f"{row['dram_bytes']:,}", f"{row['link_bytes']:,}",
                "equal" if not row["mismatches"] else f"{row['mismatches']:,} differ", _onnxruntime(row),
            ]
            for row in rows
        ],
    )  # fmt: skip
    lines += ["", "## Where the cycles go", "", _EXPLAINED, ""]
    whole = [row for row in rows if row["columns"]]
    lines += _table(
        ["network", "boards", "busy", "weights", "IFM", "accumulators", "link", "fill and drain"],
        [
            [row["title"], row["boards"], *(f"{100 * row['columns'][name] / row['cycles']:.1f} %" for name in COLUMNS)]
            for row in whole
        ],
    )
    lines += ["", "## What the simulation takes", ""]
    lines += _table(
        ["network", "boards", "cycles/s", "simulation", "planning and compiling", "building the simulator"],
        [
            [
                row["title"], row["boards"], f"{row['sim_cycles_per_second']:,}", f"{row['simulation_seconds']:,.0f} s",
                f"{row['planning_seconds']:,.0f} s",
                _built(row["simulator_build_seconds"]),
            ]
            for row in whole
        ],
    )  # fmt: skip
    if about["node"] == "zcu102":
        lines += ["", "## What limits it", _LIMITS.rstrip()]
    return "\n".join([*lines, ""])


_LIMITS = """
Fully connected layers are a stream of weights: one pixel, and a word of weights a cycle, which is what DRAM delivers.
They can't begin before the last convolution has ended, and what can be loaded ahead is what the weight buffer holds
(12,288 words, a cycle each). So for VGG-16 no order of work is faster than its convolutions at the peak (3,746,736
cycles) and 123,633,664 bytes at 64 a cycle (1,931,776) less 12,288: 5,666,224 cycles, 1.500 times the bound, which
counts the two as if they overlapped. What is measured beyond that: conv1_1 (its image and its result, 50,176 words
each, share DRAM, and 27 of 64 lanes are in use), 2 % of DRAM cycles between bursts, and fill and drain of layers.
AlexNet is the same at another scale.

ResNet-50: additions of 56 x 56 pixels and 256 channels take VECTOR two reads a word, and the activation buffer has no
room to let the next convolutions begin meanwhile; 7 x 7 pixels are fewer than the 64 cycles that a weight set takes
to load (there DRAM is the limit, too). Inception v1: 6 x 6 pixels, likewise, and channels that don't fill words.
Tiny-YOLOv2: its first layer has 16 channels, a quarter of the array, at 173,056 pixels. SqueezeNet: VECTOR reads nine
sums for each pixel of its overlapping poolings, and 16 and 48 channels fill a part of a word.
"""

_EXPLAINED = (
    "Cycles of MATMUL on the board that ends last: it sends a pixel, or waits for weights, for its input, for "
    "accumulators that VECTOR has not emptied, for another board; or it has no instruction. They add up to the "
    "latency; `superlip run` has the same columns for every layer."
)


def _built(seconds):
    return "cached" if seconds is None else f"{seconds:,.0f} s, once"


def _onnxruntime(row):
    if row["onnxruntime_mismatches"] is None:
        return ""
    return f"{row['onnxruntime_mismatches']:,} of {row['onnxruntime_values']:,}"


def _table(header, rows):
    left = {"network", "bits"}
    marks = ["---" if name in left else "---:" for name in header]
    return [f"| {' | '.join(map(str, cells))} |" for cells in (header, marks, *rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), metavar="NAME", help=f"{', '.join(NETWORKS)}, or an ONNX file"
    )
    parser.add_argument("--boards", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--node", default="zcu102")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "performance.json", metavar="FILE")
    parser.add_argument("--markdown", type=Path, default=ROOT / "docs" / "performance.md", metavar="FILE")
    arguments = parser.parse_args()
    for name in arguments.networks:
        if name not in NETWORKS and not Path(name).is_file():
            parser.error(f"there is no network {name}: one of {', '.join(NETWORKS)}, or an ONNX file")
    target = load_target(arguments.node)
    builder = Builder(target)
    command = shlex.join(["python", "bench/networks.py", *sys.argv[1:]])
    about = facts(target)
    rows = []
    for name in arguments.networks:
        network = Network(name)
        for boards in arguments.boards:
            rows += network.rows(boards, target, builder)
            write(arguments.json, json.dumps({"command": command, **about, "rows": rows}, indent=1) + "\n")
            write(arguments.markdown, markdown(rows, about, command))
    return 0 if not any(row["mismatches"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
