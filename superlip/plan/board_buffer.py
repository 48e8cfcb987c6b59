"""Places what one board holds in its activation buffer, for one choice of what overlaps and what goes to DRAM."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from superlip.ops.layout import Part, View
from superlip.ops.operation import Op
from superlip.rtl.config import NodeConfig

from .allocate import Allocator, DoesNotFit
from .chunks import Chunk, Strip, chunks_of, strips_of
from .lifetimes import Lifetimes
from .network import Network
from .partition import Exchange, rows_written
from .timing import word_cycles

__all__ = ["ActivationPlan", "BoardBuffer", "NoRoom", "Trial", "arrival"]

SLOTS = 4
"""Chunks of results of an operation that wait for STORE in the buffer at once."""
STAGES = 3
"""Strips of an operation that are in the buffer at once, where there is room; at least two."""
STAGE_SHARE = 16
"""A stage takes that part of the activation buffer, if one chunk's rows need no more."""
AHEAD = 1
"""Streamed parameters come so many operations ahead of their own: what hides the latency of DRAM."""
VECTOR_TASK = 2048
"""Cycles of a task of VECTOR's own, at most: what a convolution's results may have to wait for."""


class NoRoom(DoesNotFit):
    """``spill``: the largest storage in the buffer that is alive where something found no room; None without one."""

    def __init__(self, message: str, spill: str | None) -> None:
        super().__init__(message)
        self.spill = spill


@dataclass(frozen=True)
class Trial:
    """What the boards try together.

    ``in_dram`` are names of storages; ``after`` is of `schedule.starts_after`; buffers of up to ``spread`` words are
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

    def _rows(self, name: str) -> tuple[int, int]:
        """Rows of a storage that this board holds: (first, end)."""
        held = (self.needed[name] | self.produced[name]).any(axis=0)
        for index in self.lives.writers.get(name, []):
            if not self.parts[index].empty:
                held[rows_written(self.network.ops[index], self.parts[index])] = True
        return _range(held)

    def _chunks(self, op: Op, part: Part) -> list[Chunk]:
        most = self.config.acc_words // 2
        if part.empty:
            return []
        if op.is_conv:
            return chunks_of(op, part, most)
        rows = max(1, min(most, VECTOR_TASK // word_cycles(op)) // op.grid[1])
        return [Chunk(row, min(row + rows, part.row1), 0, op.grid[1]) for row in range(part.row0, part.row1, rows)]

    def plan(self, trial: Trial) -> ActivationPlan:
        """Addresses of all, as tried.

        Raises
        ------
        NoRoom
        """
        return _Attempt(self, trial).run()

    def traffic(self, in_dram: frozenset[str], streamed: frozenset[int]) -> int:
        """Words that cross DRAM for an image because they are not on chip, about: rows that strips share count once."""
        lives = self.lives
        words = sum(sum(self.used_words[index].values()) for index in streamed)
        for name in in_dram:
            # What the host writes is loaded once, and what it reads is stored once, in any case.
            anyway = name in lives.stored or name not in lives.writers
            words += self.words[name] * (len(lives.users.get(name, ())) + (name in lives.writers) - anyway)
        return words

    def largest(self, first: int, last: int, in_dram: frozenset[str]) -> str | None:
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


class _Attempt:
    """One trial on one board."""

    def __init__(self, board: BoardBuffer, trial: Trial) -> None:
        self.board, self.trial, self.lives, self.network = board, trial, board.lives, board.network
        config = board.config
        self.allocator = Allocator(config.act_words, config.act_words // config.act_banks, trial.spread)

    def run(self) -> ActivationPlan:
        parameters = self._place_parameters()
        slots, inboxes = self._place_slots()
        views = self._place_residents()
        stages: dict[tuple[int, str], list[int]] = {}
        strips = [self._place_strips(index, op, stages) for index, op in enumerate(self.network.ops)]
        return ActivationPlan(parameters, views, strips, stages, slots, inboxes, self.trial)

    def _place(self, words: int, first: int, last: int, name: str) -> int:
        """Room from step ``first`` until all that may run beside step ``last`` is over."""
        after, end = self.trial.after, last
        while end < len(after) and after[end] < last - 1:  # step i is operation i - 1
            end += 1
        try:
            return self.allocator.place(words, first, end, name)
        except DoesNotFit as error:
            raise NoRoom(str(error), self.board.largest(first, last, self.trial.in_dram)) from None

    def _place_parameters(self) -> list[dict[int, int]]:
        """Those that stay, one behind the other; those that are streamed from ``AHEAD`` operations before theirs on."""
        streamed, ops = self.trial.streamed, self.network.ops
        blocks = [{} if index in streamed else table for index, table in enumerate(self.board.parameter_words)]
        base = self._place(sum(sum(table.values()) for table in blocks), 0, len(ops), "parameters")
        starts = accumulate((sum(table.values()) for table in blocks), initial=base)
        parameters = [_addresses(table, start) for table, start in zip(blocks, starts, strict=False)]
        for index in sorted(streamed):
            table = self.board.used_words[index]
            if table:
                name = f"{ops[index].name}: parameters"
                base = self._place(sum(table.values()), arrival(index) + 1, index + 1, name)
                parameters[index] = _addresses(table, base)
        return parameters

    # -- residents -----------------------------------------------------------------------------------------

    def _view(self, name: str, base: int, low: int, high: int) -> View:
        storage = self.lives.storages[name]
        return View(base, low, high - low, storage.width, 0, storage.groups)

    def _place_residents(self) -> dict[str, View]:
        sharing = self._sharing()
        views = {}
        for root in sorted(sharing, key=lambda root: -self.board.words[root]):
            first = min(self.lives.first[name] for name in sharing[root])
            last = max(self.lives.last[name] for name in sharing[root])
            base = self._place(self.board.words[root], first, last, root)
            for name in sharing[root]:
                views[name] = self._view(name, base, *self.board.rows[name])
        return views

    def _sharing(self) -> dict[str, list[str]]:
        """Storages in the buffer -> those that take its place one after the other, itself first."""
        aliases = self._aliases()
        sharing: dict[str, list[str]] = {}
        for name in self.lives.storages:
            if name not in self.trial.in_dram:
                root = name
                while root in aliases:
                    root = aliases[root]
                sharing.setdefault(root, []).append(name)
        return sharing

    def _aliases(self) -> dict[str, str]:
        """Results of element-wise operations that may take the place of an operand that is used no more."""
        aliases: dict[str, str] = {}
        for index, op in enumerate(self.network.ops):
            name = op.output.storage.name
            if op.spec.works_in_place and len(self.lives.writers[name]) == 1:
                sources = [place.storage.name for place in op.inputs]
                free = [s for s in sources if s not in aliases.values() and self._gives_way(s, name, index)]
                if free:
                    aliases[name] = free[0]
        return aliases

    def _gives_way(self, source: str, name: str, index: int) -> bool:
        """Whether a result of operation ``index`` may be written where its operand ``source`` lies."""
        lives, rows, in_dram = self.lives, self.board.rows, self.trial.in_dram
        one, other = lives.storages[source], lives.storages[name]
        dead = lives.last[source] == index + 1 and source not in lives.stored
        same = rows[source] == rows[name] and (one.groups, one.width) == (other.groups, other.width)
        resident = source not in in_dram and name not in in_dram
        read = all(i <= self.trial.after[index] for i in lives.users.get(source, []) if i != index)
        return dead and same and resident and read

    # -- storages in DRAM ----------------------------------------------------------------------------------

    def _place_slots(self) -> tuple[dict[int, list[int]], dict[str, View]]:
        """Slots by operation, and inboxes by storage."""
        slots: dict[int, list[int]] = {}
        inboxes: dict[str, View] = {}
        for index, op in enumerate(self.network.ops):
            name = op.output.storage.name
            if name not in self.trial.in_dram:
                continue
            words = self.board.config.acc_words // 2
            base = self._place(SLOTS * words, index + 1, index + 1, f"{op.name}: slots")
            slots[index] = [base + words * number for number in range(SLOTS)]
            low, high = _range((self.board.needed[name] & ~self.board.produced[name]).any(axis=0))
            if low < high and name not in inboxes:
                words = (high - low) * op.output.storage.width * op.output.storage.groups
                base = self._place(words, index + 1, max(self.lives.writers[name]) + 1, f"{name}: inbox")
                inboxes[name] = self._view(name, base, low, high)
        return slots, inboxes

    def _place_strips(self, index: int, op: Op, stages: dict[tuple[int, str], list[int]]) -> list[Strip]:
        """Strips of an operation; stages for its inputs in DRAM are added to ``stages``."""
        part, chunks, config = self.board.parts[index], self.board.chunks[index], self.board.config
        if not chunks:
            return []
        staged = {p.storage.name: p.storage for p in op.inputs if p.storage.name in self.trial.in_dram}
        if not staged:
            return [Strip(part.row0, part.row1, tuple(chunks))]
        per_row = sum(s.width * s.groups for s in staged.values())

        def words(row0: int, row1: int) -> int:
            low, high = op.input_rows(row0, row1)
            return (high - low) * per_row

        least = max(words(c.row0, c.row1) for c in chunks)
        limit, count = max(least, config.act_words // STAGE_SHARE), STAGES
        while True:
            strips = strips_of(chunks, words, limit)
            size = max(words(s.row0, s.row1) for s in strips)
            try:
                base = self._place(count * size, index + 1, index + 1, f"{op.name}: stages")
                break
            except NoRoom:
                if count > 2:
                    count -= 1
                elif limit > least:
                    limit = max(least, limit // 2)
                else:
                    raise
        for name, storage in staged.items():
            stages[index, name] = [base + size * number for number in range(count)]
            base += size * storage.width * storage.groups // per_row
        return strips


def arrival(index: int) -> int:
    """The operation with whose first task, or a later one's, the streamed parameters of an operation are loaded."""
    return max(0, index - AHEAD)


def _addresses(table: dict[int, int], base: int) -> dict[int, int]:
    """Where blocks of so many words, by key, lie one behind the other."""
    return dict(zip(table, accumulate(table.values(), initial=base), strict=False))


def _range(held: np.ndarray) -> tuple[int, int]:
    """(first, end) of the rows that are set, those between them included."""
    rows = np.flatnonzero(held)
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
