"""How long a plan will take: the bounds of each layer on each resource, in cycles.

The model follows the published one (Super-LIP, TECS 18(5s), 2019; ``paper/``) in form - a layer takes as long as the
slowest of compute, memory and link - with what that leaves out: halo rows, passes shorter than a weight load, the
VECTOR unit, the exchange of activations between layers, and the latency with which a layer starts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from superlip.boards import Target
from superlip.ops.layout import Part, Storage
from superlip.ops.operation import Op
from superlip.rtl.config import NodeConfig

from .chunks import vector_chunks
from .network import Network
from .partition import Divided, Split, divided, sends, storage_masks
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

    @cached_property
    def cycles(self) -> float:
        return max(self.compute, self.vector, self.dram, self.link) + self.start

    @cached_property
    def score(self) -> float:
        """What the planner minimizes: cycles, and a little for traffic, which never hides quite as well as hoped."""
        return self.cycles + TRAFFIC_WEIGHT * (self.dram + self.link)

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
        self._around = {name: _picker(self._users_and_writers(name)) for name in self.storages}
        self._before = [[s.name for s in self._given_before(index)] for index in range(len(network.ops))]
        self._inputs = [sorted({place.storage.name for place in op.inputs}) for op in network.ops]
        self._costs: dict[tuple, LayerCost] = {}
        self._parts: dict[tuple[int, Split], _Parts] = {}
        self._traffic: dict[tuple, _Traffic] = {}

    def parts(self, index: int, split: Split) -> "_Parts":
        """What each board computes of an operation."""
        if (index, split) not in self._parts:
            op, node = self.network.ops[index], self.target.node
            whole = divided(op, split, self.boards)
            compute = max(_compute(op, part, node) for part in whole.parts)
            vector = max(_vector(op, part, node) for part in whole.parts)
            self._parts[index, split] = _Parts(whole, [_weights(op, part) for part in whole.parts], compute, vector)
        return self._parts[index, split]

    def traffic(self, name: str, splits: Sequence[Split]) -> "_Traffic":
        """What of a storage crosses links, and what each board makes or is given."""
        key = name, self._around[name](splits)
        if key not in self._traffic:
            storage = self.storages[name]
            writers, users = (
                [self.parts(index, splits[index]).divided for index in of.get(name, ())]
                for of in (self.writers, self.users)
            )
            produced, needed = storage_masks(storage, writers, users, self.boards, storage in self.given)
            sent = sends(produced, needed).sum(axis=(1, 2, 3)) * storage.width
            held = produced.sum(axis=(1, 2)) * storage.width
            self._traffic[key] = _Traffic(sent.tolist(), held.tolist(), bool(sent.any()))
        return self._traffic[key]

    def estimate(self, splits: Sequence[Split]) -> list[LayerCost]:
        """Cost of every operation, divided by its split."""
        traffic = {name: self.traffic(name, splits) for name in self.storages}
        streamed = self.streamed(splits)
        return [self.cost(index, split, traffic, streamed[index]) for index, split in enumerate(splits)]

    def streamed(self, splits: Sequence[Split]) -> list[tuple[int, ...]]:
        """Words of weights that boards load for each image, by operation and board."""
        return _streamed(
            [self.parts(index, split) for index, split in enumerate(splits)], self.target.node, self.boards
        )

    @cached_property
    def touched(self) -> list[list[str]]:
        """By operation, the storages of which its split changes the traffic."""
        return [sorted({p.storage.name for p in (*op.inputs, op.output)}) for op in self.network.ops]

    @cached_property
    def affected(self) -> list[list[int]]:
        """By operation, those whose cost its split may change, beside what of weights is streamed."""
        near: dict[str, set[int]] = {name: set(self._users_and_writers(name)) for name in self.storages}
        for index, names in enumerate(self._before):
            for name in names:
                near[name].add(index)
        return [sorted(set().union(*(near[name] for name in names))) for names in self.touched]

    def _users_and_writers(self, name: str) -> list[int]:
        return [*self.writers.get(name, []), *self.users.get(name, [])]

    def _given_before(self, index: int) -> list[Storage]:
        """What the host writes before an operation: its exchange comes first."""
        return [storage for storage, position in self.given.items() if position == index]

    def cost(self, index: int, split: Split, traffic: Mapping[str, "_Traffic"], streamed: tuple[int, ...]) -> LayerCost:
        """Cost of one operation, of which boards load so many words of weights for each image.

        ``traffic`` is that of the storages, by name.
        """
        result = traffic[self.network.ops[index].output.storage.name]
        before = tuple(traffic[name] for name in self._before[index])
        exchanged = any(traffic[name].crosses for name in self._inputs[index])
        key = index, split, streamed, result, before, exchanged
        if key not in self._costs:
            self._costs[key] = self._cost(index, split, streamed, result, before, exchanged)
        return self._costs[key]

    def _cost(
        self,
        index: int,
        split: Split,
        streamed: Sequence[int],
        result: "_Traffic",
        before: Iterable["_Traffic"],
        exchanged: bool,
    ) -> LayerCost:
        """``before`` is the traffic of what the host writes in front of the operation."""
        target, share = self.target, self.share
        tn, parts = target.node.tn, self.parts(index, split)
        shared = split is Split.ROWS and share < 1
        loaded = [words * (share if shared else 1) * tn for words in streamed]
        sent = [words * float(tn) for words in result.sent]
        for traffic in before:
            sent = [bytes_ + words * tn for bytes_, words in zip(sent, traffic.sent, strict=True)]
            loaded = [bytes_ + words * tn for bytes_, words in zip(loaded, traffic.held, strict=True)]
        if shared:
            sent = [bytes_ + words * (1 - share) * tn for bytes_, words in zip(sent, streamed, strict=True)]
        return LayerCost(
            compute=parts.compute,
            vector=parts.vector,
            dram=dram_cycles(max(loaded), target),
            link=link_cycles(max(sent), target),
            start=start_cycles(exchanged, target),
            dram_bytes=round(sum(loaded)),
            link_bytes=round(sum(sent)),
        )


@dataclass(frozen=True, eq=False)
class _Traffic:
    """Words of a storage: those that each board sends, those that each makes or is given; do any cross a link?"""

    sent: list[int]
    held: list[int]
    crosses: bool


def _picker(indices: Sequence[int]) -> Callable[[Sequence[Split]], Any]:
    """What takes some elements of a sequence."""
    return itemgetter(*indices) if indices else len


class _Parts(NamedTuple):
    """What the boards compute of an operation, with words of weights by board; cycles of the slowest one."""

    divided: Divided
    weights: list[int]
    compute: int
    vector: int


def _weights(op: Op, part: Part) -> int:
    """Words of weights that a part needs, about: as if the last group's channels were not held several times."""
    if not op.is_conv or part.empty:
        return 0
    lanes = sum(lane1 for group, _, lane1, *_ in op.output.tiles() if part.group0 <= group < part.group1)
    return lanes * op.kernel_passes


def _streamed(parts: Sequence[_Parts], node: NodeConfig, boards: int) -> list[tuple[int, ...]]:
    """Words of weights that boards load for each image, by operation and board: a layer stays as a whole or not."""
    result = [[0] * boards for _ in parts]
    for board in range(boards):
        offers = [
            (index, row.weights[board], row.divided.parts[board].row1 - row.divided.parts[board].row0)
            for index, row in enumerate(parts)
            if row.weights[board]
        ]
        kept = Residents(offers, node.weight_words, node.weight_words // 2).address
        for index, words, _ in offers:
            if index not in kept:
                result[index][board] = words
    return [tuple(row) for row in result]


def _compute(op: Op, part: Part, node: NodeConfig) -> int:
    """Cycles of MATMUL, in as many chunks as the accumulators of all pixels fill banks."""
    if not op.is_conv or part.empty:
        return 0
    pixels = pass_pixels(op, part.row0, part.row1, fold=op.fold)
    chunks = -(-pixels // (node.acc_words // 2))
    return matmul_cycles((part.group1 - part.group0) * op.kernel_passes, pixels, chunks, node.tm)


def _vector(op: Op, part: Part, node: NodeConfig) -> int:
    """Cycles of VECTOR."""
    if part.empty:
        return 0
    at_once = [part] if op.is_conv else vector_chunks(op, part, node)
    return vector_cycles(op, [rows.row1 - rows.row0 for rows in at_once], part.group1 - part.group0)


def total_cycles(costs: Iterable[LayerCost]) -> float:
    """Latency of one image: layers one after the other."""
    return float(np.sum([cost.cycles for cost in costs]))


def score(costs: Iterable[LayerCost]) -> float:
    """Of a network: see `LayerCost.score`."""
    return float(np.sum([cost.score for cost in costs]))
