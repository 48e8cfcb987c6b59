"""What one board holds in its activation buffer, whatever overlaps and goes to DRAM."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from superlip.ops.layout import Part, View
from superlip.ops.operation import Op
from superlip.rtl.config import NodeConfig

from .chunks import Chunk, Strip, chunks_of, vector_chunks
from .lifetimes import Lifetimes
from .network import Network
from .partition import Exchange, rows_written

__all__ = ["ActivationPlan", "BoardBuffer", "Trial", "arrival"]

AHEAD = 1
"""Streamed parameters come so many operations ahead of their own: what hides the latency of DRAM."""


@dataclass(frozen=True)
class Trial:
    """What the boards try together.

    ``in_dram`` are names of storages; ``after`` is of an `Overlap`; buffers of up to ``spread`` words are
    spread over the banks. ``streamed`` are operations whose parameters are loaded for each image; those of others stay.
    """

    in_dram: frozenset[str]
    after: tuple[int, ...]
    spread: int = 0
    streamed: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class ActivationPlan:
    """Addresses of one board's activation buffer; operations by their number, storages by name.

    Parameters
    ----------
    parameters : list of dict
        For each operation: key of a parameter block -> word address; of those that are streamed what the board uses.
    views : dict of str to View
        Storages that are resident.
    strips : list of list of Strip
        For each operation (one strip, if its inputs are resident).
    stages : dict of (operation, storage) to list of addresses
    slots : dict of operation to list of addresses
        Where writes of a storage in DRAM are put before they are stored.
    inboxes : dict of storage to View
    trial : Trial
        What goes to DRAM, and the last operation that must be complete before each one begins.
    """

    parameters: list[dict[int, int]]
    views: dict[str, View]
    strips: list[list[Strip]]
    stages: dict[tuple[int, str], list[int]]
    slots: dict[int, list[int]]
    inboxes: dict[str, View]
    trial: Trial


class BoardBuffer:
    """One board's activation buffer: what must find room in it, whatever is tried.

    Parameters
    ----------
    parts : list of Part
        What the board computes, by operation.
    parameter_words : list of dict of key to int
    """

    def __init__(
        self,
        network: Network,
        lives: Lifetimes,
        parts: Sequence[Part],
        exchange: Exchange,
        parameter_words: Sequence[dict[int, int]],
        config: NodeConfig,
        board: int,
    ) -> None:
        self.network, self.lives, self.parts, self.config = network, lives, parts, config
        self.parameter_words = parameter_words
        self.needed = {name: mask[board] for name, mask in exchange.needed.items()}
        self.produced = {name: mask[board] for name, mask in exchange.produced.items()}
        self.rows = {name: self._rows(name) for name in lives.storages}
        self.words = {
            name: (high - low) * lives.storages[name].width * lives.storages[name].groups
            for name, (low, high) in self.rows.items()
        }
        self.chunks = [self._chunks(op, part) for op, part in zip(network.ops, parts, strict=True)]
        self.used_words = [self._used_words(index) for index in range(len(network.ops))]
        self.gives_way = [self._gives_way(index, op) for index, op in enumerate(network.ops)]

    def _used_words(self, index: int) -> dict[int, int]:
        """Words of the parameter blocks that this board's part of an operation takes, by key."""
        op, part, words = self.network.ops[index], self.parts[index], self.parameter_words[index]
        if op.is_conv:
            return {group: count for group, count in words.items() if part.group0 <= group < part.group1}
        if not words or part.empty:
            return {}
        used = {
            step.params for chunk in self.chunks[index] for step in op.vector.steps(op, part, chunk.row0, chunk.row1)
        }
        return {key: count for key, count in words.items() if key in used}

    def _gives_way(self, index: int, op: Op) -> list[tuple[str, int]]:
        """Operands in whose place an operation may write: (storage, its last other reader, -1: none), which it ends."""
        lives, name = self.lives, op.output.storage.name
        if not op.spec.works_in_place or len(lives.writers[name]) > 1:
            return []
        found = []
        for source in dict.fromkeys(place.storage.name for place in op.inputs):
            one, other = lives.storages[source], lives.storages[name]
            dead = lives.last[source] == index + 1 and source not in lives.stored
            if dead and self.rows[source] == self.rows[name] and (one.groups, one.width) == (other.groups, other.width):
                found.append((source, max((i for i in lives.users.get(source, ()) if i != index), default=-1)))
        return found

    def _rows(self, name: str) -> tuple[int, int]:
        """Rows of a storage that this board holds: (first, end)."""
        held = (self.needed[name] | self.produced[name]).any(axis=0)
        for index in self.lives.writers.get(name, []):
            if not self.parts[index].empty:
                held[rows_written(self.network.ops[index], self.parts[index])] = True
        return _range(held)

    def _chunks(self, op: Op, part: Part) -> list[Chunk]:
        if part.empty:
            return []
        return chunks_of(op, part, self.config.acc_words // 2) if op.is_conv else vector_chunks(op, part, self.config)

    def traffic(self, in_dram: frozenset[str], streamed: frozenset[int]) -> int:
        """Words that cross DRAM for an image because they are not on chip, about: rows that strips share count once."""
        lives = self.lives
        words = sum(sum(self.used_words[index].values()) for index in streamed)
        for name in in_dram:
            # What the host writes is loaded once, and what it reads is stored once, in any case.
            anyway = name in lives.stored or name not in lives.writers
            words += self.words[name] * (len(lives.users.get(name, ())) + (name in lives.writers) - anyway)
        return words

    def largest(self, first: int, last: int, in_dram: Collection[str]) -> str | None:
        """The largest storage in the buffer that is alive in steps ``first`` to ``last``; None if there is none."""
        lives = self.lives
        alive = [
            name
            for name in lives.storages
            if name not in in_dram
            and lives.first[name] <= last
            and first <= lives.last[name]
            and self.words[name] > self.config.acc_words
        ]
        return max(alive, key=lambda name: self.words[name], default=None)

    def inbox_rows(self, name: str) -> tuple[int, int]:
        """Rows of a storage in DRAM that another board computes: (first, end)."""
        return _range((self.needed[name] & ~self.produced[name]).any(axis=0))


def arrival(index: int) -> int:
    """The operation with whose first task, or a later one's, the streamed parameters of an operation are loaded."""
    return max(0, index - AHEAD)


def _range(held: np.ndarray) -> tuple[int, int]:
    """(first, end) of the rows that are set, those between them included."""
    rows = np.flatnonzero(held)
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
