"""LOAD, SEND and STORE: rows of activations between DRAM, buffers and boards, and words in a row."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from superlip.ops.layout import Storage, View
from superlip.rtl.isa import Memory, Opcode

from .context import Context
from .errors import CompileError
from .program import Access, Emitter
from .program_state import ProgramState
from .runs import runs_of

__all__ = ["Moves", "load_words", "send_words"]

LONGEST = 0x8000
"""Words that one LOAD or SEND moves, at most: what ``count0`` holds."""


class Moves:
    """Emits what moves rows of activations."""

    def __init__(self, context: Context, state: ProgramState) -> None:
        self.context, self.state = context, state

    def load(self, board: int, storage: Storage, view: View, rows: ArrayLike, tag: int) -> None:
        """LOAD rows of all groups of a storage from DRAM to a view of it."""
        base, plane = self.context.dram.base[board][storage.name], storage.height * storage.width
        starts = np.arange(storage.groups)[:, None] * view.plane
        for run in runs_of(rows):
            local = view.address(0, run.first)
            shape = dict(count0=run.length * view.width)
            if run.count == 1:
                shape |= dict(count1=storage.groups, local_stride1=view.plane, dram_stride1=plane, count2=1)
            else:
                stride = run.stride * view.width
                shape |= dict(count1=run.count, local_stride1=stride, dram_stride1=stride)
                shape |= dict(count2=storage.groups, local_stride2=view.plane, dram_stride2=plane)
            self.state.traffic[board] += len(run.rows) * storage.width * storage.groups
            self.state.emitter.emit(
                board, Opcode.LOAD, tag=tag, reads=[self.context.dram.rows(storage.name, run.rows)],
                writes=[Access(Memory.ACT, (local + starts + run.words(view.width)).ravel())], memory=Memory.ACT,
                local=local, dram=base + run.first * view.width, **shape,
            )  # fmt: skip

    def load_view(self, board: int, storage: Storage, view: View, tag: int) -> None:
        """LOAD all words of a view of one group."""
        rows = np.arange(view.row0, view.row0 + view.rows)
        dram = self.context.dram.base[board][storage.name]
        dram += (view.group0 * storage.height + view.row0) * storage.width
        reads = [self.context.dram.rows(storage.name, rows)]
        load_words(self.state.emitter, board, tag, Memory.ACT, view.base, dram, view.words, reads)

    def store(self, board: int, storage: Storage, group: int, rows: ArrayLike, tag: int, view: View) -> None:
        """STORE rows of one group from a view to DRAM."""
        rows = np.asarray(rows)
        base = self.context.dram.base[board][storage.name] + group * storage.height * view.width
        self.state.traffic[board] += len(rows) * view.width
        for run in runs_of(rows):
            local, stride = view.address(group, run.first), run.stride * view.width
            self.state.emitter.emit(
                board, Opcode.STORE, tag=tag, reads=[Access(Memory.ACT, local + run.words(view.width))],
                writes=[self.context.dram.rows(storage.name, rows)], memory=Memory.ACT, local=local,
                local_stride1=stride, dram=base + run.first * view.width, dram_stride1=stride,
                count0=run.length * view.width, count1=run.count, count2=1,
            )  # fmt: skip

    def send(
        self,
        board: int,
        storage: Storage,
        groups: Iterable[int],
        rows: ArrayLike,
        tag: int,
        source: View,
        stages: Sequence[View | None] | None = None,
    ) -> None:
        """SEND those of the rows of some groups that other boards need from this one, from the view ``source``.

        Parameters
        ----------
        stages : sequence of View, by board, optional
            Where boards take them that have the storage in DRAM and no inbox: by default the stage at work.
        """
        rows, groups, name = np.asarray(rows, int), list(groups), storage.name
        for to in range(self.context.plan.boards):
            stage = self.state.staged[to].get(name) if stages is None else stages[to]
            for group in groups:
                for run in runs_of(rows[self.context.plan.exchange.sends[name][board, to, group, rows]]):
                    dest = self._receiver(to, name, run.first, stage)
                    local, remote = source.address(group, run.first), dest.address(group, run.first)
                    words, stride = run.words(source.width), run.stride * source.width
                    self.state.emitter.emit(
                        board, Opcode.SEND, tag=tag, reads=[Access(Memory.ACT, local + words)],
                        writes=[Access(Memory.ACT, remote + words, to)],
                        memory=Memory.ACT, local=local, local_stride1=stride, node=to,
                        remote_memory=Memory.ACT, remote=remote, remote_stride1=stride,
                        count0=run.length * source.width, count1=run.count, count2=1,
                    )  # fmt: skip
                    if name in self.context.plan.activations[to].inboxes:
                        self.store(to, storage, group, run.rows, tag, dest)

    def _receiver(self, board: int, name: str, row: int, stage: View | None) -> View:
        """Where a board takes rows of another: the storage, the inbox on the way to its DRAM, or a stage."""
        buffer = self.context.plan.activations[board]
        place = buffer.views.get(name) or buffer.inboxes.get(name)
        if place is not None:
            return place
        if stage is None or not stage.row0 <= row < stage.row0 + stage.rows:
            raise CompileError(f"{name}: row {row} reaches board {board} outside its stage")
        return stage


def load_words(
    emitter: Emitter,
    board: int,
    tag: int,
    memory: Memory,
    address: int,
    dram: int,
    words: int,
    reads: Sequence[Access] = (),
) -> None:
    """Emit LOADs of words in a row; ``reads`` are the DRAM regions they read."""
    for at in range(0, words, LONGEST):
        count = min(LONGEST, words - at)
        emitter.emit(
            board, Opcode.LOAD, tag=tag, reads=reads,
            writes=[Access(memory, np.arange(address + at, address + at + count))],
            memory=memory, local=address + at, dram=dram + at, count0=count, count1=1, count2=1,
        )  # fmt: skip


def send_words(
    emitter: Emitter, board: int, to: int, tag: int, memory: Memory, source: int, dest: int, words: int
) -> None:
    """Emit SENDs of words in a row."""
    for at in range(0, words, LONGEST):
        count = min(LONGEST, words - at)
        emitter.emit(
            board, Opcode.SEND, tag=tag,
            reads=[Access(memory, np.arange(source + at, source + at + count))],
            writes=[Access(memory, np.arange(dest + at, dest + at + count), to)],
            memory=memory, local=source + at, count0=count, count1=1, count2=1,
            node=to, remote_memory=memory, remote=dest + at,
        )  # fmt: skip
