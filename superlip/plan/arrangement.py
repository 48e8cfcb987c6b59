"""What lies where in one board's activation buffer. What is changed of it moves only what is in the way."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from superlip.ops.layout import View

from .allocate import Allocator, Key, Request
from .board_buffer import ActivationPlan, BoardBuffer, Trial, arrival
from .chunks import Strip, strips_of

__all__ = ["SLOTS", "Arrangement"]

SLOTS = 4
"""Chunks of results of an operation that wait for STORE in the buffer at once."""
STAGES = 3
"""Strips of an operation that are in the buffer at once, where there is room; at least two."""
STAGE_SHARE = 16
"""A stage takes that part of the activation buffer, if one chunk's rows need no more."""

STAYING, STORED, RESIDENT, STREAMED, STAGED = range(5)
"""What is placed first, as the first number of a key: parameters that stay; slots and inboxes; storages, the largest
first; parameters that come; stages."""


class Arrangement:
    """Places for all that a board holds: asked for when it is made, and found by ``settle``.

    Parameters
    ----------
    board : BoardBuffer
    trial : Trial
    after : sequence of int, optional
        ``trial.after``, in a list that may change: ``overlap`` is then told.
    """

    def __init__(self, board: BoardBuffer, trial: Trial, after: Sequence[int] | None = None) -> None:
        self.board, self.lives, self.ops = board, board.lives, board.network.ops
        self.streamed, self.in_dram = trial.streamed, set(trial.in_dram)
        self.after = trial.after if after is None else after
        config = board.config
        self.allocator = Allocator(config.act_words, config.act_words // config.act_banks, trial.spread)
        self._last: dict[Key, int] = {}
        self._ending: defaultdict[int, set[Key]] = defaultdict(set)
        self._source: dict[str, str] = {}  # the operand whose place a result takes
        self._successor: dict[str, str] = {}  # the inverse
        self._journal: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._number = {name: number for number, name in enumerate(self.lives.storages)}
        self._choices: dict[int, list[tuple[list[Strip], int, int]]] = {}
        self._ask_for_parameters()
        for index in range(len(self.ops)):
            self._set_source(self.ops[index].output.storage.name, self._source_of(index))
        for name in self.lives.storages:
            if name in self.in_dram:
                self._ask_for_dram(name)
            elif name not in self._source:
                self._ask_for_resident(name)

    def settle(self, most: int | None = None) -> None:
        """Find places for what is asked for: see `Allocator.settle`.

        Raises
        ------
        Refused, TooManyMoves
        """
        self.allocator.settle(most)

    def keep(self) -> None:
        """All has its place: ``undo`` comes back to here."""
        self.allocator.keep()
        self._journal.clear()

    def undo(self) -> None:
        """Forget what was changed since all had its place."""
        self.allocator.undo()
        journal, self._journal = self._journal, []
        for setter, arguments in reversed(journal):
            setter(*arguments)
        self._journal.clear()

    def overlap(self, ops: range) -> None:
        """``after`` has changed for a range of operations."""
        for index in ops:
            name, source = self.ops[index].output.storage.name, self._source_of(index)
            if source != self._source.get(name) and name not in self.in_dram:
                self._take_place(name, source)
        first = min(ops.start, self.after[ops.start - 1] + 2) if ops.start else 0
        for last in range(first, ops.stop):
            for key in tuple(self._ending[last]):
                request, end = self.allocator.requests[key], self._end(last)
                if end != request.last:
                    self.allocator.put(replace(request, last=end))

    def in_the_way(self, request: Request) -> str | None:
        """The largest storage in the buffer that is alive where something found no room; None without one."""
        return self.board.largest(request.first, self._last[request.key], self.in_dram)

    def spill(self, name: str) -> None:
        """A storage goes to DRAM; there is no way back from it."""
        group, successor = list(self._group(self._root(name))), self._successor.get(name)
        self._drop(group[0])
        self._set_source(name, None)
        if successor is not None:
            self._set_source(successor, None)
        self.in_dram.add(name)
        for root in {self._root(other) for other in group if other != name}:
            self._ask_for_resident(root)
        if successor is not None:
            self._take_place(successor, self._source_of(self.lives.writers[successor][0]))
        self._ask_for_dram(name)

    def plan(self, trial: Trial) -> ActivationPlan:
        """Addresses, when all is settled; ``trial`` is what it has come to."""
        slots, inboxes = self._slots()
        views = {
            name: self._view(name, self.allocator.base(self._key(root)), *self.board.rows[name])
            for root in self.lives.storages
            if root not in self.in_dram and root not in self._source
            for name in self._group(root)
        }
        stages: dict[tuple[int, str], list[int]] = {}
        strips = [self._strips(index, stages) for index in range(len(self.ops))]
        return ActivationPlan(self._parameters(), views, strips, stages, slots, inboxes, trial)

    # -- requests ------------------------------------------------------------------------------------------

    def _ask(self, key: Key, name: str, sizes: Sequence[int], first: int, last: int) -> None:
        """Room from step ``first`` until all that may run beside step ``last`` is over."""
        self._set_last(key, last)
        self.allocator.put(Request(key, name, sizes, first, self._end(last)))

    def _end(self, last: int) -> int:
        end = last
        while end < len(self.after) and self.after[end] < last - 1:  # step i is operation i - 1
            end += 1
        return end

    def _set_last(self, key: Key, last: int | None) -> None:
        old = self._last.pop(key, None)
        self._journal.append((self._set_last, (key, old)))
        if old is not None:
            self._ending[old].discard(key)
        if last is not None:
            self._last[key] = last
            self._ending[last].add(key)

    # -- parameters ----------------------------------------------------------------------------------------

    def _tables(self) -> list[dict[int, int]]:
        """Words of the parameters that stay."""
        return [{} if i in self.streamed else table for i, table in enumerate(self.board.parameter_words)]

    def _ask_for_parameters(self) -> None:
        """Those that stay, one behind the other; those that are streamed from some operations before theirs on."""
        words = sum(sum(table.values()) for table in self._tables())
        if words:
            self._ask((STAYING,), "parameters", (words,), 0, len(self.ops))
        for index in self.streamed:
            words = sum(self.board.used_words[index].values())
            if words:
                name = f"{self.ops[index].name}: parameters"
                self._ask((STREAMED, index), name, (words,), arrival(index) + 1, index + 1)

    def _parameters(self) -> list[dict[int, int]]:
        tables = self._tables()
        base = self.allocator.base((STAYING,)) if any(tables) else 0
        starts = accumulate((sum(table.values()) for table in tables), initial=base)
        parameters = [_addresses(table, start) for table, start in zip(tables, starts, strict=False)]
        for index in self.streamed:
            if self.board.used_words[index]:
                base = self.allocator.base((STREAMED, index))
                parameters[index] = _addresses(self.board.used_words[index], base)
        return parameters

    # -- storages in the buffer ----------------------------------------------------------------------------

    def _view(self, name: str, base: int, low: int, high: int) -> View:
        storage = self.lives.storages[name]
        return View(base, low, high - low, storage.width, 0, storage.groups)

    def _source_of(self, index: int) -> str | None:
        """The operand whose place the result of an operation takes: one that nothing reads any more."""
        if self.ops[index].output.storage.name in self.in_dram:
            return None
        for source, reader in self.board.gives_way[index]:
            if source not in self.in_dram and reader <= self.after[index]:
                return source
        return None

    def _set_source(self, name: str, source: str | None) -> None:
        old = self._source.pop(name, None)
        self._journal.append((self._set_source, (name, old)))
        if old is not None:
            del self._successor[old]
        if source is not None:
            self._source[name], self._successor[source] = source, name

    def _take_place(self, name: str, source: str | None) -> None:
        """Have a storage lie where another lay, or by itself."""
        names = [other for other in (name, source, self._source.get(name)) if other is not None]
        for root in {self._root(other) for other in names}:
            self._drop(root)
        self._set_source(name, source)
        for root in {self._root(other) for other in names}:
            self._ask_for_resident(root)

    def _root(self, name: str) -> str:
        while name in self._source:
            name = self._source[name]
        return name

    def _group(self, root: str) -> Iterator[str]:
        """Storages that take one place one after the other."""
        name: str | None = root
        while name is not None:
            yield name
            name = self._successor.get(name)

    def _key(self, root: str) -> Key:
        return RESIDENT, -self.board.words[root], min(self._number[name] for name in self._group(root))

    def _ask_for_resident(self, root: str) -> None:
        group = list(self._group(root))
        first = min(self.lives.first[name] for name in group)
        last = max(self.lives.last[name] for name in group)
        self._ask(self._key(root), root, (self.board.words[root],), first, last)

    def _drop(self, root: str) -> None:
        key = self._key(root)
        self._set_last(key, None)
        self.allocator.remove(key)

    # -- storages in DRAM ----------------------------------------------------------------------------------

    def _ask_for_dram(self, name: str) -> None:
        writers = self.lives.writers.get(name, [])
        for index in writers:
            words = SLOTS * self._slot_words(index)
            self._ask((STORED, index, 0), f"{self.ops[index].name}: slots", (words,), index + 1, index + 1)
        low, high = self.board.inbox_rows(name)
        if writers and low < high:
            storage = self.lives.storages[name]
            words = (high - low) * storage.width * storage.groups
            self._ask((STORED, writers[0], 1), f"{name}: inbox", (words,), writers[0] + 1, writers[-1] + 1)
        for index in self.lives.users.get(name, ()):
            self._ask_for_stages(index)

    def _slots(self) -> tuple[dict[int, list[int]], dict[str, View]]:
        """Slots by operation, and inboxes by storage."""
        slots: dict[int, list[int]] = {}
        inboxes: dict[str, View] = {}
        for kind, *rest in self.allocator.requests:
            if kind != STORED:
                continue
            index, is_inbox = rest
            base = self.allocator.base((kind, index, is_inbox))
            if is_inbox:
                name = self.ops[index].output.storage.name
                inboxes[name] = self._view(name, base, *self.board.inbox_rows(name))
            else:
                slots[index] = [base + self._slot_words(index) * number for number in range(SLOTS)]
        return slots, inboxes

    def _slot_words(self, index: int) -> int:
        """Words of a slot: for the results of any chunk."""
        return max([self.board.config.acc_words // 2, *(chunk.results for chunk in self.board.chunks[index])])

    def _row_words(self, index: int) -> dict[str, int]:
        """Words of a row of each input that is in DRAM."""
        storages = [place.storage for place in self.ops[index].inputs if place.storage.name in self.in_dram]
        return {storage.name: storage.width * storage.groups for storage in storages}

    def _ask_for_stages(self, index: int) -> None:
        """Three stages of a part of the buffer, or two, or smaller ones."""
        op, chunks, per_row = self.ops[index], self.board.chunks[index], sum(self._row_words(index).values())
        if not chunks:
            return

        def words(row0: int, row1: int) -> int:
            low, high = op.input_rows(row0, row1)
            return (high - low) * per_row

        least = max(words(chunk.row0, chunk.row1) for chunk in chunks)
        limits = [max(least, self.board.config.act_words // STAGE_SHARE)]
        while limits[-1] > least:
            limits.append(max(least, limits[-1] // 2))
        self._choices[index] = []
        for count, limit in [(count, limits[0]) for count in range(STAGES, 2, -1)] + [(2, limit) for limit in limits]:
            strips = strips_of(chunks, words, limit)
            size = max(words(strip.row0, strip.row1) for strip in strips)
            self._choices[index].append((strips, count, size))
        sizes = [count * size for _, count, size in self._choices[index]]
        self._ask((STAGED, index), f"{op.name}: stages", sizes, index + 1, index + 1)

    def _strips(self, index: int, stages: dict[tuple[int, str], list[int]]) -> list[Strip]:
        """Strips of an operation; stages for its inputs in DRAM are added to ``stages``."""
        part, chunks, row_words = self.board.parts[index], self.board.chunks[index], self._row_words(index)
        if not chunks:
            return []
        if not row_words:
            return [Strip(part.row0, part.row1, tuple(chunks))]
        key = STAGED, index
        base, (strips, count, size) = self.allocator.base(key), self._choices[index][self.allocator.choice(key)]
        for name, words in row_words.items():
            stages[index, name] = [base + size * number for number in range(count)]
            base += size * words // sum(row_words.values())
        return strips


def _addresses(table: dict[int, int], base: int) -> dict[int, int]:
    """Where blocks of so many words, by key, lie one behind the other."""
    return dict(zip(table, accumulate(table.values(), initial=base), strict=False))
