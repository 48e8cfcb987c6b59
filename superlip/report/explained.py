"""Why a plan divides each operation as it does: what bounds it, and what the other ways would cost."""

from dataclasses import asdict, dataclass

from superlip.compile.design import Design
from superlip.plan.cost import Estimator, LayerCost
from superlip.plan.partition import Split, possible_splits
from superlip.plan.trials import Trials

__all__ = ["Explained", "explain"]

BOUNDS = {"compute": "MATMUL", "vector": "VECTOR", "dram": "DRAM", "link": "link"}
"""Resources that may bound an operation, and what the report calls them."""


@dataclass(frozen=True)
class Explained:
    """An operation in a plan. Cycles are estimates (``superlip.plan.cost``), bytes are sums over all boards.

    Parameters
    ----------
    name, partition : str
    cycles : int
        Of the operation, as it is divided; ``one_board``: by one board alone.
    bound, bound_one_board : str
        What limits it: "compute", "vector", "dram" or "link".
    compute, vector, dram, link, start : int
        Cycles that each resource of the slowest board is at work, and until the first results.
    instead : dict of str to int
        By partition, the cycles by which the whole network would take longer with it here.
    dram_bytes, link_bytes : int
        Weights and what the host wrote; results that other boards need, and shared weights.
    """

    name: str
    partition: str
    cycles: int
    bound: str
    compute: int
    vector: int
    dram: int
    link: int
    start: int
    one_board: int
    bound_one_board: str
    instead: dict[str, int]
    dram_bytes: int
    link_bytes: int

    def lines(self) -> list[str]:
        """Two lines of text, or one where there is one board."""
        work = ", ".join(f"{text} {getattr(self, name):,}" for name, text in BOUNDS.items())
        took = f"{self.cycles:,} cycles by {BOUNDS[self.bound]}"
        first = f"{self.name}  {self.partition}  {took}: {work}, start {self.start:,}"
        if not self.instead:
            return [first]
        others = ", ".join(f"{name} {cycles:+,}" for name, cycles in self.instead.items())
        moved = f"{self.link_bytes:,} bytes over the links, {self.dram_bytes:,} from DRAM"
        return [
            first,
            f"    one board {self.one_board:,} by {BOUNDS[self.bound_one_board]}; instead: {others}; {moved}",
        ]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def explain(design: Design) -> list[Explained]:
    """Each operation of a design's plan, in order."""
    network, target, plan = design.network, design.target, design.plan
    alone = Estimator(network, 1.0, target, 1).estimate([Split.ALL] * len(network.ops))
    ways = [possible_splits(op, plan.boards) for op in network.ops]
    trials = Trials(Estimator(network, plan.share, target, plan.boards), plan.splits)
    return [
        _explained(op.name, plan.splits[index], cost, alone[index], _instead(trials, index, options))
        for index, (op, cost, options) in enumerate(zip(network.ops, plan.costs, ways, strict=True))
    ]


def _instead(trials: Trials, index: int, options: list[Split]) -> dict[str, int]:
    """By partition that is not chosen, the cycles by which all would take longer."""
    others = [split for split in options if split is not trials.splits[index]]
    return {split.value: round(trials.longer(index, split)) for split in others}


def _explained(name: str, split: Split, cost: LayerCost, alone: LayerCost, instead: dict[str, int]) -> Explained:
    work = {part: round(getattr(cost, part)) for part in (*BOUNDS, "start")}
    return Explained(
        name=name, partition=split.value, cycles=round(cost.cycles), bound=cost.bound, **work,
        one_board=round(alone.cycles), bound_one_board=alone.bound, instead=instead, dram_bytes=cost.dram_bytes,
        link_bytes=cost.link_bytes,
    )  # fmt: skip
