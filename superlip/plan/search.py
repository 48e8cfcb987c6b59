"""Chooses the partition of every layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from superlip.boards import Target

from .cost import Estimator, LayerCost, score, total_cycles
from .network import Network
from .partition import Split, possible_splits
from .trials import Trials

__all__ = ["Division", "divide_network"]

LEAST_GAIN = 1e-6
"""Cycles that a change must save: more than sums are rounded by."""


@dataclass(frozen=True, eq=False)
class Division:
    """How the operations are divided over boards, and what that is expected to cost.

    ``share`` is the part of each weight-shared block that a board loads itself: 1 / boards is the published
    equal split, D / (D + L) balances DRAM bandwidth D against link bandwidth L, 1 means no sharing.
    """

    boards: int
    splits: list[Split]
    share: float
    costs: list[LayerCost]

    @property
    def cycles(self) -> float:
        """Estimated latency of one image."""
        return total_cycles(self.costs)


def divide_network(
    network: Network, target: Target, boards: int, split: Split | Sequence[Split] | None = None
) -> Division:
    """The division with the least estimated latency, or a given one: see `planner.make_plan`.

    Starts from each uniform partition and changes single layers while that helps.
    """
    share = balanced_share(target) if boards > 1 else 1.0
    options = [possible_splits(op, boards) for op in network.ops]
    estimator = Estimator(network, share, target, boards)
    if split is None:
        splits = _search(estimator, options)
    elif isinstance(split, Split):
        splits = _uniform(split, options)
    else:
        splits = list(split)
    return Division(boards, splits, share, estimator.estimate(splits))


def _uniform(split: Split, options: Sequence[Sequence[Split]]) -> list[Split]:
    """``split`` wherever it is possible."""
    return [split if split in choice else choice[0] for choice in options]


def _search(estimator: Estimator, options: Sequence[Sequence[Split]]) -> list[Split]:
    found = []
    for start in Split:
        trials = Trials(estimator, _uniform(start, options))
        improved = True
        while improved:
            improved = False
            for index, choice in enumerate(options):
                for other in choice:
                    if other is not trials.splits[index] and trials.gain(index, other) > LEAST_GAIN:
                        trials.change(index, other)
                        improved = True
        found.append((score(trials.costs), trials.splits))
    return min(found, key=lambda pair: pair[0])[1]


def balanced_share(target: Target) -> float:
    """D / (D + L): the share at which DRAM and link finish a block together (two boards)."""
    dram, link = target.dram.bytes_per_cycle, target.link.bytes_per_cycle
    return dram / (dram + link)
