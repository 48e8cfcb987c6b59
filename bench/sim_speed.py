"""Speed of the native simulation: ``python bench/sim_speed.py [--node tiny] [--boards 2] [--images 100] [--runs 3]``.

Prints cluster cycles a second (not multiplied by the number of nodes) of the example network, and its latency.
"""

import argparse
import os
from pathlib import Path

from superlip import api
from superlip.boards import load_target
from superlip.golden import quantize_input
from superlip.run.images import load_images
from superlip.sim.cluster import Simulator

MODEL = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--node", default="tiny")
    parser.add_argument("--boards", type=int, default=2)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    graph = api.load(MODEL)
    design = api.plan(graph, boards=arguments.boards, node=load_target(arguments.node))
    compiled = design.compiled
    data = load_images(MODEL, graph, limit=arguments.images)
    simulator = Simulator.build(design.target)
    speeds = []
    for _ in range(arguments.runs):
        result = simulator.run(
            boards=arguments.boards,
            programs=[board.programs[0] for board in compiled.boards],
            init_programs=[board.init_program for board in compiled.boards],
            dram=[board.dram.extents for board in compiled.boards],
            inputs=[compiled.input_writes(image) for image in quantize_input(graph, data.images)],
            outputs=compiled.output_ranges(),
            stripe=compiled.boards[0].dram.stripe_bytes,
            regions=[board.dram.regions for board in compiled.boards],
        ).check()
        speeds.append(result.cycles_per_second)
    runs = ", ".join(f"{speed:,.0f}" for speed in sorted(speeds))
    print(
        f"{MODEL.name}, node {design.target.name}, {arguments.boards} boards, {os.cpu_count()} cores: "
        f"{int(result.cycles.max()):,} cycles an image; {result.simulated_cycles:,} cycles a run at {runs} cycles/s"
    )


if __name__ == "__main__":
    main()
