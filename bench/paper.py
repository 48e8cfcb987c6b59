"""The published model: ``python bench/paper.py [--network] [--ours]``.

Prints the numbers of its authors beside those of ``superlip.plan.paper``, and how long its search takes beside the same
search as plain loops (``paper_loops.py``), each of them over the same space: seconds of a core. ``--network`` does so
for a network, too, on which the loops take minutes; ``--ours`` prints what superlip's planner expects of AlexNet
instead.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from paper_loops import search_by_loops

from superlip import api
from superlip.boards import TARGETS, Target
from superlip.plan.paper import (
    FIXED16,
    FLOAT32,
    ONE_BOARD,
    ZCU102,
    Design,
    Fpga,
    Layer,
    Partition,
    Precision,
    Rates,
    latency,
    layers_of,
    partitions,
    search,
    usage,
)

REFERENCE_LAYER = Layer(name="conv5", m=128, n=192, r=13, c=13, k=3)
"""AlexNet's fifth, of one of its two groups."""
RUNS = 21
"""Of the search, whose median counts."""


@dataclass(frozen=True)
class Reference:
    """Cycles of `REFERENCE_LAYER` by the function of the paper's authors (XFER_FPGA), in 32 bits.

    ``lanes`` are words a cycle of each stream; ``tile`` is that on one board, ``divided`` that on two.
    """

    tile: tuple[int, int, int, int]
    lanes: int
    one_board: int
    partition: Partition
    divided: tuple[int, int, int, int]
    cycles: int
    ratio: float
    b: int = 1

    def __str__(self):
        return f"<{', '.join(map(str, self.tile))}>, {self.lanes} lanes, B={self.b}, {self.partition}"

    def times(self, ap: float | None = None):
        """Ours, of one board and of two, whose links bring ``ap`` words a cycle, by default as many as the lanes."""
        layer, rates = replace(REFERENCE_LAYER, b=self.b), Rates.each(self.lanes)
        several = Design(*self.divided, rates=replace(rates, ap=ap or self.lanes))
        return latency(layer, Design(*self.tile, rates=rates)), latency(layer, several, self.partition)

    def computed(self, ap: float | None = None) -> tuple[float, float]:
        """Cycles of the two."""
        one, several = self.times(ap)
        return one.cycles, several.cycles

    def least_link_rate(self) -> float:
        """Words a cycle over the links from which on they don't bound."""
        terms = self.times(ap=1)[1].terms
        others = max(cycles for name, cycles in terms.items() if not name.startswith("link"))
        return max(cycles for name, cycles in terms.items() if name.startswith("link")) / others


SMALL, LARGE = (8, 32, 13, 13), (64, 7, 13, 13)
REFERENCE = (
    Reference(SMALL, 2, 259_584, Partition(pm=2), SMALL, 73_008, 3.556),
    Reference(SMALL, 2, 259_584, Partition(pr=2), (8, 32, 7, 13), 139_776, 1.86),
    Reference(LARGE, 2, 112_896, Partition(pr=2), (64, 7, 7, 13), 56_448, 2.00),
    Reference(LARGE, 2, 225_792, Partition(pb=2), LARGE, 85_176, 2.65, b=2),
    Reference(LARGE, 4, 85_176, Partition(pm=2), LARGE, 42_588, 2.00),
)
REFERENCE_USAGE = {SMALL: (1280, 592), LARGE: (2240, 1038)}
"""(DSPs, block RAMs) of the tiles."""
REFERENCE_BEST = ((32, 15), 79_092)
"""<Tm, Tn> and cycles of the best tile of 13 x 13, 4 lanes, 2520 DSPs, 1824 block RAMs."""

ALEXNET = (
    Layer(name="conv1", m=96, n=3, r=55, c=55, k=11),
    Layer(name="conv2", m=256, n=96, r=27, c=27, k=5, groups=2),
    Layer(name="conv3", m=384, n=256, r=13, c=13, k=3),
    Layer(name="conv4", m=384, n=384, r=13, c=13, k=3, groups=2),
    Layer(name="conv5", m=256, n=384, r=13, c=13, k=3, groups=2),
)
"""Its convolutions, as the field's papers have them."""


@dataclass(frozen=True)
class Space:
    """What both searches search: all tiles of some layers, and all partitions by rows, columns and channels."""

    name: str
    layers: tuple[Layer, ...]
    precision: Precision
    boards: int

    @property
    def partitions(self) -> list[Partition]:
        return [one for one in partitions(self.boards) if one.pb == 1]


SPACES = (
    Space("conv5, 32 bits, one board", (REFERENCE_LAYER,), FLOAT32, 1),
    Space("conv5, 32 bits, two boards", (REFERENCE_LAYER,), FLOAT32, 2),
    Space("conv5, 16 bits, two boards", (REFERENCE_LAYER,), FIXED16, 2),
)
NETWORK = Space("AlexNet, 32 bits, one board", ALEXNET, FLOAT32, 1)


@dataclass(frozen=True)
class Measured:
    """Seconds of a core of both searches, the tiles that fit, and what was found; ``equal``: by both."""

    space: Space
    tiles: int
    loops: float
    ours: float
    found: str
    equal: bool

    @property
    def times(self) -> float:
        """How many times as fast ours is."""
        return self.loops / self.ours


def measure(space: Space, fpga: Fpga = ZCU102) -> Measured:
    """Both searches over the same space."""
    asked = {"precision": space.precision, "partition": space.partitions}
    seconds = []
    for _ in range(RUNS):
        begin = time.process_time()
        found = search(space.layers, fpga, space.boards, **asked)
        seconds.append(time.process_time() - begin)
    begin = time.process_time()
    key, partition, design, tiles = search_by_loops(
        space.layers, fpga, space.partitions, space.precision, [fpga.rates(space.precision)]
    )
    loops = time.process_time() - begin
    same = (found.cycles, found.usage.dsp, found.usage.bram18) == key
    equal = same and (found.partition, found.design) == (partition, design)
    return Measured(space, tiles, loops, statistics.median(seconds), str(found), equal)


def print_reference() -> None:
    print("| tile, lanes, partition | one board: authors | ours | two boards: authors | ours | ratio: authors | ours |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in REFERENCE:
        one, two = row.computed()
        cells = row.one_board, one, row.cycles, two
        print(f"| {row} | {' | '.join(f'{cell:,.0f}' for cell in cells)} | {row.ratio} | {one / two:.3f} |")
    for tile, (dsps, rams) in REFERENCE_USAGE.items():
        taken = usage(Design(*tile, rates=Rates.each(2)), [REFERENCE_LAYER])
        print(f"{tile}: {dsps} DSP and {rams} BRAM18 of the authors, {taken.dsp} and {taken.bram18} here")
    best = search([REFERENCE_LAYER], ZCU102, tr=13, tc=13)
    print(f"best <Tm, Tn> of 13 x 13, 4 lanes: {REFERENCE_BEST} of the authors; here {best}")
    print(f"links that suffice for all of it: {max(row.least_link_rate() for row in REFERENCE):g} words a cycle")


def print_speed(spaces) -> None:
    print("| space | tiles that fit | plain loops | `search` | times as fast | same optimum |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for space in spaces:
        row = measure(space)
        cells = f"{row.tiles:,} | {row.loops:.2f} s | {1000 * row.ours:.2f} ms | {row.times:,.0f}"
        print(f"| {space.name} | {cells} | {'yes' if row.equal else 'NO'}: {row.found} |", flush=True)


def print_ours() -> None:
    """AlexNet on nodes of 64 x 64 int8 MACs: superlip's planner, and the paper's equations with the same partition."""
    target = TARGETS["zcu102"]
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_bvlc_alexnet.onnx"
    graph = api.load(path, random_weights=0)
    layers = {layer.name: layer for layer in layers_of(graph)}
    rows, sums = {name: [] for name in layers}, []
    for boards in (1, 2):
        plan = api.plan(graph, boards=boards, node=target)
        for op, split, cost in zip(plan.network.ops, plan.plan.splits, plan.plan.costs, strict=True):
            if op.node.name in layers:
                paper = latency(*paper_case(layers[op.node.name], split.value, boards, target))
                rows[op.node.name] += [cost.cycles, paper.cycles, split.value]
        sums += [sum(row[-3] for row in rows.values()), sum(row[-2] for row in rows.values()), ""]
    print("| layer: M, N, R x C, kernel | one board: planner | paper | two boards: planner | paper | partition |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for name, row in [*rows.items(), ("sum", sums)]:
        title = "sum"
        if name in layers:
            each = layers[name]
            title = f"{each.m}, {each.n}, {each.r} x {each.c}, {' x '.join(map(str, each.k))}"
            title += f", {each.groups} groups" * (each.groups > 1)
        cells = " | ".join(f"{row[column]:,.0f}" for column in (0, 1, 3, 4))
        print(f"| {title} | {cells} | {row[5]} |")


def paper_case(layer: Layer, split: str, boards: int, target: Target) -> tuple[Layer, Design, Partition]:
    """A layer on superlip's node as the published model has it: one tile, and all rates for each stream."""
    dram, link = target.dram.bytes_per_cycle, target.link.bytes_per_cycle
    design = Design(target.node.tm, target.node.tn, layer.r, layer.c, rates=Rates(ip=dram, wp=dram, op=dram, ap=link))
    return layer, design, {"Pr": Partition(pr=boards), "Pm": Partition(pm=boards)}.get(split, ONE_BOARD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--ours", action="store_true")
    arguments = parser.parse_args()
    if arguments.ours:
        print_ours()
        return
    print_reference()
    print_speed([*SPACES, NETWORK] if arguments.network else SPACES)


if __name__ == "__main__":
    main()
