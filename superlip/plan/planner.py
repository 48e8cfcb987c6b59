"""Chooses the partition of every layer."""

from dataclasses import dataclass

from .cost import Estimator, score, total_cycles
from .partition import Split, possible_splits

__all__ = ["Plan", "PlanError", "make_plan"]


class PlanError(ValueError):
    """A plan that can't be made; the message says what can."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Partition of every op over ``boards`` boards, and what it is expected to cost.

    ``share`` is the part of each weight-shared block that a board loads itself: 1 / boards is the published
    equal split, D / (D + L) balances DRAM bandwidth D against link bandwidth L, 1 means no sharing.
    """

    boards: int
    splits: list[Split]
    share: float
    costs: list

    @property
    def cycles(self):
        """Estimated latency of one image."""
        return total_cycles(self.costs)


def make_plan(network, target, boards, *, split=None):
    """The plan with the least estimated latency.

    Starts from each uniform partition and changes single layers while that helps.

    Parameters
    ----------
    network : Network
    target : Target
    boards : int
    split : Split, optional
        Use this split wherever it is possible, instead of choosing.

    Raises
    ------
    PlanError
        If ``boards`` is not what the target can join.
    """
    if not 1 <= boards <= target.max_boards:
        can = " or ".join(str(n) for n in range(1, target.max_boards + 1))
        raise PlanError(f"{boards} boards asked for; node {target.name} can be joined {can} at a time today")
    share = balanced_share(target) if boards > 1 else 1.0
    options = [possible_splits(op, boards) for op in network.ops]
    estimator = Estimator(network, share, target, boards)
    if split is not None:
        splits = [split if split in choice else choice[0] for choice in options]
        return Plan(boards, splits, share, estimator.estimate(splits))

    def cost(splits):
        return score(estimator.estimate(splits))

    best = None
    for start in Split:
        splits = [start if start in choice else choice[0] for choice in options]
        cycles = cost(splits)
        improved = boards > 1
        while improved:
            improved = False
            for index, choice in enumerate(options):
                for other in choice:
                    trial = [*splits[:index], other, *splits[index + 1 :]]
                    if other is not splits[index] and (new := cost(trial)) < cycles:
                        splits, cycles, improved = trial, new, True
        if best is None or cycles < best[0]:
            best = cycles, splits
    return Plan(boards, best[1], share, estimator.estimate(best[1]))


def balanced_share(target):
    """D / (D + L): the share at which DRAM and link finish a block together (two boards)."""
    dram, link = target.dram.bytes_per_cycle, target.link.bytes_per_cycle
    return dram / (dram + link)
