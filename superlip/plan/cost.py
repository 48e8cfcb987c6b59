"""How long a plan will take: the bounds of each layer on each resource, in cycles.

The model follows the published one (Super-LIP, TECS 18(5s), 2019) in form - a layer takes as long as the slowest of
compute, memory and link - with what that leaves out: halo rows, passes shorter than a weight load, the VECTOR unit, the
exchange of activations between layers, and the latency with which a layer starts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target
from superlip.ops.layout import Part, Storage
from superlip.ops.operation import Op
from superlip.rtl.config import NodeConfig

from .network import Network
from .partition import Split, part_of, sends, storage_masks
from .residency import Residents
from .timing import dram_cycles, link_cycles, matmul_cycles, pass_pixels, start_cycles, vector_cycles

__all__ = ["Estimator", "LayerCost", "score", "total_cycles"]

TRAFFIC_WEIGHT = 0.1
"""Part of DRAM and link cycles that counts although other work covers them."""


@dataclass(frozen=True)
class LayerCost:
    """Bounds of one layer, in cycles of the slowest board, and its traffic, in bytes of all boards."""

    compute: float
    vector: float
    dram: float
    link: float
    start: float
    dram_bytes: int
    link_bytes: int

    @property
    def cycles(self) -> float:
        return max(self.compute, self.vector, self.dram, self.link) + self.start

    @property
    def bound(self) -> str:
        """The resource that limits: "compute", "vector", "dram" or "link"."""
        return max(("compute", "vector", "dram", "link"), key=lambda name: getattr(self, name))


class Estimator:
    """Cost of a network under any plan; what plans have in common is computed once.

    Parameters
    ----------
    share : float
        Part of a weight-shared block that a board loads itself.
    """

    def __init__(self, network: Network, share: float, target: Target, boards: int) -> None:
        self.network, self.share, self.target, self.boards = network, share, target, boards
        self.given = network.given()
        self.writers, self.users = network.writers(), network.users()
        self.storages = network.storages()
        self._related = [self._find_related(index) for index in range(len(network.ops))]
        self._costs: dict[tuple, LayerCost] = {}
        self._parts: dict[tuple[int, Split], _Parts] = {}
        self._traffic: dict[tuple, tuple[NDArray[np.int_], NDArray[np.int_]]] = {}

    def parts(self, index: int, split: Split) -> "_Parts":
        """What each board computes of an operation."""
        if (index, split) not in self._parts:
            op, node = self.network.ops[index], self.target.node
            parts = [part_of(op, split, board, self.boards) for board in range(self.boards)]
            compute, vector = max(_compute(op, p, node) for p in parts), max(_vector(op, p) for p in parts)
            self._parts[index, split] = _Parts(parts, [_weights(op, part) for part in parts], compute, vector)
        return self._parts[index, split]

    def traffic(self, name: str, splits: Sequence[Split]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Words of a storage that each board sends to each, shape (boards, boards), and that each makes or is given,
        shape (boards,)."""
        writers, users = self.writers.get(name, []), self.users.get(name, [])
        key = name, *(splits[index] for index in (*writers, *users))
        if key not in self._traffic:
            storage = self.storages[name]
            produced, needed = storage_masks(
                self.network, storage, writers, users, splits, self.boards, storage in self.given
            )
            words = sends(produced, needed).sum(axis=(2, 3)) * storage.width
            self._traffic[key] = words, produced.sum(axis=(1, 2)) * storage.width
        return self._traffic[key]

    def estimate(self, splits: Sequence[Split]) -> list[LayerCost]:
        """Cost of every operation, divided by its split."""
        streamed = _streamed(
            [self.parts(index, split) for index, split in enumerate(splits)], self.target.node, self.boards
        )
        names = [split.value for split in splits]  # which are hashed faster
        costs = []
        for index, related in enumerate(self._related):
            key = index, tuple(streamed[index]), tuple(names[other] for other in related)
            if key not in self._costs:
                self._costs[key] = self._cost(index, splits, streamed[index])
            costs.append(self._costs[key])
        return costs

    def _find_related(self, index: int) -> list[int]:
        """Operations whose splits an operation's cost depends on, beside the weights that are streamed."""
        op = self.network.ops[index]
        names = {place.storage.name for place in (*op.inputs, op.output)}
        names |= {storage.name for storage in self._given_before(index)}
        return sorted({i for name in names for i in (*self.writers.get(name, ()), *self.users.get(name, ()))})

    def _given_before(self, index: int) -> list[Storage]:
        """What the host writes before an operation: its exchange comes first."""
        return [storage for storage, position in self.given.items() if position == index]

    def _cost(self, index: int, splits: Sequence[Split], streamed: Sequence[int]) -> LayerCost:
        """Cost of one operation, of which boards load so many words of weights for each image."""
        target, share, op = self.target, self.share, self.network.ops[index]
        tn, parts = target.node.tn, self.parts(index, splits[index])
        shared = splits[index] is Split.ROWS and share < 1
        loaded = [words * (share if shared else 1) * tn for words in streamed]
        sent = self.traffic(op.output.storage.name, splits)[0].sum(axis=1) * float(tn)
        for storage in self._given_before(index):
            words, given = self.traffic(storage.name, splits)
            sent += words.sum(axis=1) * tn
            loaded = [bytes_ + int(count) * tn for bytes_, count in zip(loaded, given, strict=True)]
        if shared:
            sent += np.array(streamed) * (1 - share) * tn
        exchanged = any(self.traffic(place.storage.name, splits)[0].any() for place in op.inputs)
        return LayerCost(
            compute=parts.compute,
            vector=parts.vector,
            dram=dram_cycles(max(loaded), target),
            link=link_cycles(max(sent), target),
            start=start_cycles(exchanged, target),
            dram_bytes=round(sum(loaded)),
            link_bytes=round(sum(sent)),
        )


class _Parts(NamedTuple):
    """What the boards compute of an operation: by board, with words of weights; cycles of the slowest one."""

    parts: list[Part]
    weights: list[int]
    compute: int
    vector: int


def _weights(op: Op, part: Part) -> int:
    """Words of weights that a part needs, about: as if the last group's channels were not held several times."""
    if not op.is_conv or part.empty:
        return 0
    lanes = sum(lane1 for group, _, lane1, *_ in op.output.tiles() if part.group0 <= group < part.group1)
    return lanes * op.kernel_passes


def _streamed(parts: Sequence[_Parts], node: NodeConfig, boards: int) -> list[list[int]]:
    """Words of weights that boards load for each image, by operation and board: a layer stays as a whole or not."""
    result = [[0] * boards for _ in parts]
    for board in range(boards):
        offers = [
            (index, row.weights[board], row.parts[board].row1 - row.parts[board].row0)
            for index, row in enumerate(parts)
            if row.weights[board]
        ]
        kept = Residents(offers, node.weight_words, node.weight_words // 2).address
        for index, words, _ in offers:
            if index not in kept:
                result[index][board] = words
    return result


def _compute(op: Op, part: Part, node: NodeConfig) -> int:
    """Cycles of MATMUL, in as many chunks as the accumulators of all pixels fill banks."""
    if not op.is_conv or part.empty:
        return 0
    pixels = pass_pixels(op, part.row0, part.row1, fold=op.fold)
    chunks = -(-pixels // (node.acc_words // 2))
    return matmul_cycles((part.group1 - part.group0) * op.kernel_passes, pixels, chunks, node.tm)


def _vector(op: Op, part: Part) -> int:
    """Cycles of VECTOR."""
    groups = part.group1 - part.group0
    return 0 if part.empty else vector_cycles(op, groups * (part.row1 - part.row0) * op.grid[1], groups)


def total_cycles(costs: Iterable[LayerCost]) -> float:
    """Latency of one image: layers one after the other."""
    return float(np.sum([cost.cycles for cost in costs]))


def score(costs: Sequence[LayerCost]) -> float:
    """What the planner minimizes: the latency, and a little for traffic, which never hides quite as well as hoped."""
    return total_cycles(costs) + TRAFFIC_WEIGHT * float(np.sum([cost.dram + cost.link for cost in costs]))
