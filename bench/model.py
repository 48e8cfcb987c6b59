"""Reckoned cycles beside the RTL's: ``python bench/model.py [--networks NAME ...] [--boards 1 2] [--node zcu102]``.

Each network is planned and compiled, its cycles are reckoned from the programs (``superlip.timing``), and one image
runs on the simulated RTL. Writes docs/model.md, a line a run; rows of the same network, boards and node are replaced,
others stay. NAME is one of ``bench/networks.py`` or an ONNX file; weights of graphs that ship without are made up.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from networks import NETWORKS, say

from superlip import api
from superlip.boards import load_target
from superlip.report.attribution import attribute
from superlip.run.simulate import simulate
from superlip.sim.cluster import Simulator

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "model.md"
DATA = ROOT / "docs" / "model.json"
SMALL = 0.01
"""Layers below this part of a network's cycles are not among the worst."""
KEY = ("network", "boards", "node")

HEAD = """# Reckoned cycles, and the RTL's

`superlip plan` and `Design.cycles` reckon an image's cycles from the compiled programs, instruction by instruction
(`superlip/timing/`), without simulating the node. Here they are beside the cycles of the RTL simulation, of networks
and of their layers (attributed as [numbers.md](numbers.md) says). "Planner" is the estimate by bounds with which
plans are chosen (`superlip/plan/cost.py`). "Worst layer" is of those that have 1 % of the network's cycles or more.
Made by `bench/model.py`.

| network | boards | node | RTL | reckoned | error | planner | layers, mean | worst layer | CPU seconds |
|---|---|---|---|---|---|---|---|---|---|
"""

TAIL = """
## What is not modelled

* When it is whose turn in a bank. A requester that others keep from a bank has a turn once in 128 cycles, by a
  counter that runs from the reset on: where an image begins in these 128 cycles depends on what came before it. The
  model has the turn in the middle. It matters where VECTOR's parameters lie in the bank that MATMUL reads without a
  gap: they come earlier or later by up to 128 cycles a turn.
* DRAM and link beat by beat: bursts share bandwidth as fluids, reads and writes half each, and a burst of the fetch
  that comes in the same cycles as LOAD's may be served before or behind it.
* Reads of SEND that keep VECTOR from a bank, and those of SEND and STORE that keep FEED from one. (SEND's against
  MATMUL's, VECTOR's and MATMUL's against STORE's, VECTOR's writes against the link's, and both against LOAD's are
  modelled.)
* Rows that cross from one bank to the next: they count for the bank in which they begin.
* Boards that don't start in the same cycle, and links that are not up yet.
"""


def measure(name, boards, target, simulator):
    """A row of the table."""
    source = NETWORKS.get(name)
    if source is None:
        graph, title = api.load(name, random_weights=3, accept_accuracy=True), Path(name).stem
    elif source.seed is None:
        graph, title = api.load(source.path), source.title
    else:
        graph, title = api.load(source.model(), random_weights=3, accept_accuracy=True), source.title
    design = api.plan(graph, boards=boards, node=target)
    began = time.process_time()
    reckoned = design.cycles
    seconds = time.process_time() - began
    say(f"{title} on {boards}: {reckoned:,} cycles reckoned in {seconds:.2f} s of CPU")
    image = np.zeros((1, *graph.values[graph.input].shape), np.int8)
    result = simulate(simulator, design, image).check()
    cycles, layers = int(result.cycles[0]), attribute(design, result, 0).sum(axis=1)
    errors = np.abs(design.layer_cycles - layers) / np.maximum(layers, 1)
    large = layers >= SMALL * cycles
    return {
        "network": title, "boards": boards, "node": target.name, "cycles": cycles, "reckoned": reckoned,
        "planner": round(design.plan.cycles), "layers_mean": float(errors[layers > 0].mean()),
        "layers_worst": float(errors[large].max()), "seconds": round(seconds, 2),
        "layers": [[int(ours), int(theirs)] for ours, theirs in zip(design.layer_cycles, layers, strict=True)],
    }  # fmt: skip


def line(row):
    """A row as Markdown."""

    def off(cycles):
        return f"{100 * (cycles / row['cycles'] - 1):+.2f} %"

    return (
        f"| {row['network']} | {row['boards']} | {row['node']} | {row['cycles']:,} | {row['reckoned']:,} | "
        f"{off(row['reckoned'])} | {off(row['planner'])} | {100 * row['layers_mean']:.2f} % | "
        f"{100 * row['layers_worst']:.2f} % | {row['seconds']:.2f} |"
    )


def text(rows):
    """The whole file."""
    return HEAD + "\n".join(map(line, rows)) + "\n" + TAIL


def write(rows):
    """Data and table."""
    DATA.write_text(json.dumps(rows, indent=1) + "\n")
    TABLE.write_text(text(rows))


def main(arguments):
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--networks", nargs="+", default=["digits"], help="names of bench/networks.py, or files")
    parser.add_argument("--boards", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--node", default="zcu102")
    options = parser.parse_args(arguments)
    target = load_target(options.node)
    simulator = Simulator.build(target, note=say)
    rows = json.loads(DATA.read_text()) if DATA.exists() else []
    for name in options.networks:
        for boards in options.boards:
            row = measure(name, boards, target, simulator)
            rows = [old for old in rows if any(old[key] != row[key] for key in KEY)]
            rows.append(row)
            write(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
