"""Other partitions of single operations: what they cost, reckoned for what they change alone."""

import math
from bisect import bisect_left
from collections.abc import Sequence

from .cost import Estimator, LayerCost
from .partition import Split
from .residency import Residents

__all__ = ["Trials"]


class Trials:
    """How the operations are divided so far, with ``costs``, and what another division of one of them gains.

    Parameters
    ----------
    estimator : Estimator
    splits : list of Split
        To begin with, by operation.
    """

    def __init__(self, estimator: Estimator, splits: Sequence[Split]) -> None:
        self.estimator, self.splits = estimator, list(splits)
        self._traffic = {name: estimator.traffic(name, self.splits) for name in estimator.storages}
        self._weights = [_Weights(estimator, self.splits, board) for board in range(estimator.boards)]
        self._streamed = estimator.streamed(self.splits)
        self.costs = [self._cost(index, words) for index, words in enumerate(self._streamed)]

    def gain(self, index: int, split: Split) -> float:
        """What is saved of the `score` with another division of one operation."""
        old = self.splits[index]
        streamed = self._newly_streamed(index, split)
        new = self._costs_with(index, split, streamed)
        self._set(index, old)
        return math.fsum(self.costs[op].score for op in new) - math.fsum(cost.score for cost in new.values())

    def longer(self, index: int, split: Split) -> float:
        """Cycles by which the network takes longer with another division of one operation."""
        old = self.splits[index]
        new = self._costs_with(index, split, self._newly_streamed(index, split))
        self._set(index, old)
        return math.fsum(cost.cycles for cost in new.values()) - math.fsum(self.costs[op].cycles for op in new)

    def change(self, index: int, split: Split) -> None:
        """Divide one operation so from now on."""
        streamed = self._newly_streamed(index, split)
        for op, cost in self._costs_with(index, split, streamed).items():
            self.costs[op] = cost
        for op, words in streamed.items():
            self._streamed[op] = words
        for weights in self._weights:
            weights.change(index, split)

    def _set(self, index: int, split: Split) -> None:
        self.splits[index] = split
        for name in self.estimator.touched[index]:
            self._traffic[name] = self.estimator.traffic(name, self.splits)

    def _cost(self, index: int, streamed: tuple[int, ...]) -> LayerCost:
        return self.estimator.cost(index, self.splits[index], self._traffic, streamed)

    def _costs_with(self, index: int, split: Split, streamed: dict[int, tuple[int, ...]]) -> dict[int, LayerCost]:
        """Costs of the operations that a change concerns, which is then made."""
        self._set(index, split)
        ops = {*self.estimator.affected[index], *streamed}
        return {op: self._cost(op, streamed.get(op, self._streamed[op])) for op in ops}

    def _newly_streamed(self, index: int, split: Split) -> dict[int, tuple[int, ...]]:
        """By operation, words of weights that the boards load for each image, where a change makes them others."""
        changed = [weights.changed(index, split) for weights in self._weights]
        return {
            op: tuple(mine.get(op, words) for mine, words in zip(changed, self._streamed[op], strict=True))
            for op in set().union(*changed)
        }


class _Weights:
    """Which operations' weights stay in one board's buffer."""

    def __init__(self, estimator: Estimator, splits: Sequence[Split], board: int) -> None:
        self.estimator, self.board = estimator, board
        self.offers = {index: self._offer(index, split) for index, split in enumerate(splits)}
        self.total = sum(words for words, _ in self.offers.values())
        self._choose()

    def _offer(self, index: int, split: Split) -> tuple[int, int]:
        """(words, rows) of an operation's weights: the rows are how often they are used."""
        parts = self.estimator.parts(index, split)
        part = parts.divided.parts[self.board]
        return parts.weights[self.board], part.row1 - part.row0

    def _residents(self, offers: dict[int, tuple[int, int]]) -> Residents[int]:
        capacity = self.estimator.target.node.weight_words
        blocks = [(index, words, rows) for index, (words, rows) in offers.items() if words]
        return Residents(blocks, capacity, capacity // 2)

    def _choose(self) -> None:
        self.kept = self._residents(self.offers).address
        # In the order in which they were chosen, with what was taken when they had been.
        self.order = [(self.offers[index][1], index) for index in self.kept]
        self.ends = [end + self.offers[index][0] for index, end in self.kept.items()]

    def changed(self, index: int, split: Split) -> dict[int, int]:
        """Words that are streamed of the operations of which others are, if one is divided otherwise."""
        offer = self._offer(index, split)
        if offer == self.offers[index]:
            return {}
        if self._is_by_itself(index, offer):
            return {index: offer[0]}
        offers = {**self.offers, index: offer}
        kept = self._residents(offers).address
        ops = (self.kept.keys() ^ kept.keys()) | {index}
        return {op: 0 if op in kept else offers[op][0] for op in ops}

    def change(self, index: int, split: Split) -> None:
        offer = self._offer(index, split)
        by_itself = self._is_by_itself(index, offer)
        self.total += offer[0] - self.offers[index][0]
        self.offers[index] = offer
        if not by_itself:
            self._choose()

    def _is_by_itself(self, index: int, offer: tuple[int, int]) -> bool:
        """Whether an operation's weights don't stay, before a change and behind it, and so are in nobody's way."""
        words, rows = offer
        capacity = self.estimator.target.node.weight_words
        if index in self.kept or min(self.total, self.total - self.offers[index][0] + words) <= capacity:
            return False
        at = bisect_left(self.order, (rows, index))
        end = self.ends[at - 1] if at else 0
        return not words or end + words > capacity - capacity // 2
