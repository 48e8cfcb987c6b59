"""Networks on the simulated RTL: ``python bench/networks.py [--networks NAME ...] [--boards 1 2] [--node zcu102]``.

Every network is calibrated on photographs and run on others (``pictures.py``). Its outputs are held against the float
model as given, beside those of ONNX Runtime's own quantizer; each value that the boards compute against the golden, and
the golden's outputs against ONNX Runtime. Writes a table as JSON (with the rows of all layers) and as Markdown, anew
after each row. Quantized networks and simulators are kept in the cache; one thing runs at a time.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pictures
from judged import Source, judge

from superlip import api, golden
from superlip.boards import load_target
from superlip.ops import spec_of
from superlip.report.attribution import COLUMNS
from superlip.report.bound import Bound
from superlip.report.measured import measure
from superlip.report.report import largest_steps
from superlip.rtl.isa import Unit
from superlip.run.simulate import simulate
from superlip.sim.cluster import Simulator

ROOT = Path(__file__).parent.parent
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"  # networks that ONNX ships without weights


NETWORKS = {
    "alexnet": Source("AlexNet", LIGHT / "light_bvlc_alexnet.onnx"),
    "vgg16": Source("VGG-16", ROOT / "examples" / "vgg16" / "make.py"),
    "vgg19": Source("VGG-19", LIGHT / "light_vgg19.onnx"),
    "squeezenet": Source("SqueezeNet", LIGHT / "light_squeezenet.onnx"),
    "resnet50": Source("ResNet-50", LIGHT / "light_resnet50.onnx"),
    "inception1": Source("Inception v1", LIGHT / "light_inception_v1.onnx"),
    "tiny_yolov2": Source("Tiny-YOLOv2", ROOT / "examples" / "tiny_yolov2" / "make.py"),
    "digits": Source("digits", ROOT / "examples" / "digits" / "digits.onnx", None),
}

WITHOUT_DENSE = "vgg16"
"""This one has a second row: up to the result of its last convolution, as the literature counts VGG-16."""


def say(text):
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


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
    """A network with what the reference makes of its images; the first of them is measured."""

    def __init__(self, name):
        source = NETWORKS.get(name) or Source(Path(name).stem, Path(name), None)
        self.name, self.title, self.seed = name, source.title, source.seed
        self.judged = judge(source, say)
        self.graph = self.judged.graph
        self.quantized = golden.quantize_input(self.graph, self.judged.images.images[:1])
        self.expected = {name: values[:1] for name, values in self.judged.expected.items()}
        self._say_agreement()

    def _say_agreement(self):
        ours, best = self.judged.agreement, self.judged.attainable
        if ours is not None:
            say(f"{self.title}: {ours.decibels:.1f} dB" + (f", ONNX Runtime {best.decibels:.1f} dB" if best else ""))

    def rows(self, boards, target, builder):
        """Rows of the table for a number of boards."""
        began = time.perf_counter()
        design = api.plan(self.graph, boards=boards, node=target)
        planning = time.perf_counter() - began
        simulator = builder.get()
        say(f"{self.title}: simulating {boards} board{'s' if boards > 1 else ''}, {design.plan.cycles:,.0f} expected")
        began = time.perf_counter()
        measured = measure(design, simulate(simulator, design, self.quantized).check(), self.expected)
        result, comparison = measured.result, measured.comparison
        cycles, bound, cross = int(result.cycles[-1]), Bound.of(design), self.judged.cross
        row = {
            "network": self.name,
            "title": self.title,
            "boards": boards,
            **self._agreement(),
            "cycles": cycles,
            "first_image_cycles": int(result.init_cycles + result.cycles[0]),
            **_against(bound, cycles, design),
            "dram_bytes": sum(layer.dram_bytes for layer in measured.layers),
            "link_bytes": sum(layer.link_bytes for layer in measured.layers),
            "host_bytes": sum(layer.host_bytes for layer in measured.layers),
            "values_compared": int(comparison.values.sum()),
            "mismatches": comparison.total,
            "onnxruntime_values": sum(d.values for d in cross.outputs) if cross else None,
            "onnxruntime_mismatches": cross.mismatches if cross else None,
            "onnxruntime_largest_steps": largest_steps(self.graph, cross) if cross else None,
            "planning_seconds": round(planning, 1),
            "simulator_build_seconds": builder.seconds,
            "simulation_seconds": round(result.seconds, 1),
            "simulation_and_comparison_seconds": round(time.perf_counter() - began, 1),
            "sim_cycles_per_second": round(result.cycles_per_second),
            "columns": {name: sum(getattr(layer, name) for layer in measured.layers) for name in COLUMNS},
            "layers": [asdict(layer) for layer in measured.layers],
        }
        say(f"{self.title}: {cycles:,} cycles on {boards}, {100 * row['share_of_peak']:.1f} % of the peak")
        rows = [row]
        if self.name == WITHOUT_DENSE:
            rows.append(_convolutions(design, measured, row))
        return rows

    def _agreement(self):
        """What the outputs are like beside those of the model as given."""
        ours, best = self.judged.agreement, self.judged.attainable
        return {
            "weights": "the file's" if self.seed is None else f"random, seed {self.seed}",
            "agreement": ours.to_dict() if ours else None,
            "onnxruntime_quantizer": best.to_dict() if best else None,
        }


def _against(bound, cycles, design):
    peak = design.target.node.macs_per_cycle * len(design.compiled.boards)
    return {
        "share_of_peak": bound.macs / peak / cycles,
        "macs": bound.macs,
        "bytes_once": bound.bytes_once,
        "bound_cycles": bound.cycles,
        "over_bound": cycles / bound.cycles,
    }


def _convolutions(design, measured, whole):
    """The row of the layers in front of the dense ones: until VECTOR has written the last of their results."""
    ops, result = design.network.ops, measured.result
    last = next(i for i, op in enumerate(ops) if op.is_conv and tuple(op.grid) == (1, 1)) - 1
    profile = result.profile[result.profile["image"] == len(result.cycles) - 1]
    mine = profile[(profile["unit"] == Unit.VECTOR) & (profile["tag"] >= 1) & (profile["tag"] <= last + 1)]
    cycles = int(mine["last_done"].max()) + 1
    convolutions = [op for op in ops[: last + 1] if op.is_conv]
    graph, made = design.graph, {op.node.output for op in convolutions}
    once = sum(spec_of(node).weight_bytes for node in graph.nodes if node.output in made)
    names = {graph.input, ops[last].output.storage.name}
    once += sum(int(np.prod(graph.values[name].shape)) for name in names if name in graph.values)
    bound = Bound.within(sum(op.macs for op in convolutions), once, design)
    layers = [row for row in measured.layers if row.partition != "host"][: last + 2]  # the input's is the first
    return whole | {
        "network": f"{whole['network']}, convolutions",
        "title": f"{whole['title']}, convolution layers",
        "cycles": cycles,
        "first_image_cycles": whole["first_image_cycles"] - whole["cycles"] + cycles,
        **_against(bound, cycles, design),
        "dram_bytes": sum(layer.dram_bytes for layer in layers),
        "link_bytes": sum(layer.link_bytes for layer in layers),
        "host_bytes": 0,
        "values_compared": int(measured.comparison.values[: last + 1].sum()),
        "mismatches": sum(layer.mismatches for layer in layers),
        "onnxruntime_values": None,
        "onnxruntime_mismatches": None,
        "onnxruntime_largest_steps": None,
        "agreement": None,
        "onnxruntime_quantizer": None,
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
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def markdown(rows, about, command):
    """The table as a page."""
    lines = [
        "# Performance",
        "",
        f"Made by `{command}`.",
        "",
        f"RTL simulation of the `{about['node']}` node: {about['macs_per_cycle']:,} int8 MACs a cycle, DRAM of "
        f"{about['dram_bytes_per_cycle']:g} bytes a cycle, a link of {about['link_bytes_per_cycle']:g}. *Agreement*: "
        "the outputs against those of the float model, signal to error, and in brackets what ONNX Runtime's own "
        "quantizer (Q/DQ, per channel) reaches on the same images. *Cycles* are an image's latency with what stays on "
        "chip there already, *first image* that of the first one behind a start. *Peak*: the network's MACs against "
        "those of all arrays in these cycles. "
        "*Bound*: the larger of the MACs at the peak and of the bytes that must cross the DRAM interface once (int8 "
        "weights, image, outputs) at its bandwidth, over all boards. *Bits*: all values of all layers, RTL against "
        "golden. *Integers*: output values of the golden that differ from ONNX Runtime on the quantized model. Times "
        "are those of "
        f"{about['cores']} cores ({about['machine']}){_busy(about)}.",
        "",
    ]
    lines += _table(
        ["network", "boards", "agreement", "cycles", "first image", "peak", "MACs", "bound", "cycles / bound",
         "DRAM bytes", "link bytes", "bits", "integers"],
        [
            [
                row["title"], row["boards"], _decibels(row), f"{row['cycles']:,}", f"{row['first_image_cycles']:,}",
                f"{100 * row['share_of_peak']:.1f} %", f"{row['macs']:,}", f"{row['bound_cycles']:,}",
                f"{row['over_bound']:.3f}", f"{row['dram_bytes']:,}", f"{row['link_bytes']:,}",
                "equal" if not row["mismatches"] else f"{row['mismatches']:,} differ", _integers(row),
            ]
            for row in rows
        ],
    )  # fmt: skip
    lines += ["", "## Against the float model", "", _IMAGES, ""]
    judged = list({row["network"]: row for row in rows if row["agreement"]}.values())
    lines += _table(
        ["network", "weights are", "images", "signal to error", "ONNX Runtime's quantizer", "largest error",
         "same class", "accuracy, float"],
        [[row["title"], row["weights"], *_judgement(row)] for row in judged],
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
room to let the next convolutions begin meanwhile; where images are 7 x 7 pixels, DRAM brings weights more slowly than
they are used. Inception v1: channels that don't fill words. Tiny-YOLOv2: its first layer makes four pixels of 16
channels at once, which 48 of the array's 64 inputs see, and waits for DRAM for as long again: the image and the result,
words of 64 lanes for 48 taps and 16 channels, are 43,264 words each. The second makes two pixels with a kernel of
4 x 3, a third more than its own. SqueezeNet: VECTOR reads nine sums for each pixel of its overlapping poolings, and 16
and 48 channels fill a part of a word. Its images decide which branch of a concatenation has the smaller range and is
rescaled on the way, which makes a difference of 65 cycles.
digits has 8 x 8 pixels, and is made for the `tiny` node: here most cycles are latencies, and a second board is idle.

Depthwise networks (RTL simulation of one `zcu102` node; 224 x 224 pixels, random weights): MobileNet v1 takes 196,152
cycles, 1.41 times its bound, and v2 237,463. VECTOR reads each pixel of a depthwise layer once and requantizes every
word; layers of up to 32 channels work on two halves of the image at once. v2 expands 16 and 24 channels to 96 and 144,
so that most of it is VECTOR's time.
"""

_IMAGES = (
    f"Calibrated on photographs ({', '.join(pictures.CALIBRATION)}) and run on {' and '.join(pictures.HELD_OUT)}, "
    "all of scikit-image; digits on handwritten digits. Classes of random weights mean nothing, and a Softmax behind "
    "them is left out: it would give a 1 and zeros, which agree whatever is lost before."
)

_EXPLAINED = (
    "Cycles of MATMUL on the board that ends last: it sends a pixel, or waits for weights, for its input, for "
    "accumulators that VECTOR has not emptied, for another board; or it has no instruction. They add up to the "
    "latency; `superlip run` has the same columns for every layer."
)


def _busy(about):
    """What the machine did besides, where that was much."""
    load = about["load_before"]
    return f", which had other work (a load of {load:g} before the start)" if load and load > 1 else ""


def _built(seconds):
    return "cached" if seconds is None else f"{seconds:,.0f} s, once"


def _decibels(row):
    """Agreement, and in brackets what ONNX Runtime's quantizer reaches."""
    if row["agreement"] is None:
        return ""
    best = row["onnxruntime_quantizer"]
    return f"{row['agreement']['decibels']:.1f} dB" + (f" ({best['decibels']:.1f})" if best else "")


def _judgement(row):
    ours, best = row["agreement"], row["onnxruntime_quantizer"]
    output = min(ours["outputs"], key=lambda output: output["decibels"])
    classes = ours["same_class"] is not None and not ours["has_random_weights"]
    return [
        f"{ours['images']}: {ours['source']}",
        f"{ours['decibels']:.1f} dB",
        f"{best['decibels']:.1f} dB" if best else "",
        f"{output['largest']:.3g}, {output['largest_steps']:.1f} steps",
        f"{100 * ours['same_class']:.1f} %" if classes else "",
        "" if ours["accuracy"] is None else f"{100 * ours['accuracy']:.1f} %, {100 * ours['accuracy_given']:.1f} %",
    ]


def _integers(row):
    if row["onnxruntime_mismatches"] is None:
        return ""
    differ = f"{row['onnxruntime_mismatches']:,} of {row['onnxruntime_values']:,}"
    return differ + (f", {row['onnxruntime_largest_steps']:.2g} steps" if row["onnxruntime_mismatches"] else "")


def _table(header, rows):
    left = {"network", "bits", "weights are", "images"}
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
    failures = failed(rows)
    for failure in failures:
        say(failure)
    return 1 if failures else 0


BEHIND_DB = 1.5
"""What a network may lose against ONNX Runtime's own quantizer."""


def failed(rows):
    """Sentences on what is wrong in rows."""
    sentences = []
    for row in rows:
        if row["mismatches"]:
            sentences.append(f"{row['title']}: {row['mismatches']:,} values of RTL and golden differ")
        ours, best = row["agreement"], row["onnxruntime_quantizer"]
        if ours and ours["is_poor"]:
            sentences.append(f"{row['title']}: only {ours['decibels']:.1f} dB against the model as given")
        if best and ours["decibels"] < best["decibels"] - BEHIND_DB:
            sentences.append(f"{row['title']}: {ours['decibels']:.1f} dB, ONNX Runtime {best['decibels']:.1f} dB")
    return list(dict.fromkeys(sentences))


if __name__ == "__main__":
    sys.exit(main())
