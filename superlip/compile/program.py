"""Instructions in order, with the waits and posts that make them safe.

The compiler emits instructions of all boards in one sequential order that would be correct if each one
finished before the next began. `Emitter` lets units and boards run ahead of each other: for every on-chip
word it remembers which instruction of which unit last read and wrote it, finds the read-after-write,
write-after-read and write-after-write hazards of each new instruction, and joins the two units by a
post and a wait where nothing has joined them yet (vector clocks, so a hazard that earlier waits already
cover costs nothing).

Since units are in order, a unit's synchronisation with another one only moves forward: every wait takes one
post, and every post is taken by one wait. All counters are zero again when the last program ends.

A cut ends the programs of all boards and begins the next ones. They start when the host has seen all of them end: what
was emitted before is then complete, but for words on their way over a link, which are waited for as ever.

Because the order is sequentially valid over all boards, the oldest unfinished instruction can always
run: no deadlock, whatever the queue depths.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import LINK_SOURCES, Memory, Opcode, Unit, encode

__all__ = ["ACC", "DRAM", "Access", "Emitter", "Instruction"]

ACC = "acc"
DRAM = "dram"
N_UNITS = len(Unit)


@dataclass(frozen=True, eq=False)
class Access:
    """Words of one memory that an instruction touches.

    ``memory`` is a `Memory`, ACC or DRAM; ``words`` an integer array of addresses (for DRAM: of regions, numbered
    by the compiler). ``board`` is None for the instruction's own board.
    """

    memory: Memory | str
    words: NDArray[np.int_]
    board: int | None = None


@dataclass(eq=False)
class Instruction:
    """One instruction before encoding; ``index`` counts those of its unit on its board."""

    board: int
    opcode: Opcode
    index: int
    tag: int
    body: dict[str, Any]
    clock: NDArray[np.int64]
    waits: dict[int, int] = field(default_factory=dict)
    posts: int = 0
    note: Any = None
    """What the compiler wants to remember: for VECTOR the `Written` region, for the trace comparison."""
    for_input: bool = False
    """If it waits for VECTOR: for what it reads, rather than for a place to write to."""

    def encode(self) -> bytes:
        """64 bytes."""
        return encode(self.opcode, tag=self.tag, waits=self.waits, post=self.posts, **self.body)


class Emitter:
    """Takes instructions of all boards in sequential order and adds synchronisation.

    Parameters
    ----------
    config : NodeConfig
    boards : int
    dram_regions : int
        How many DRAM regions the compiler tells apart, a board.
    """

    def __init__(self, config: NodeConfig, boards: int, dram_regions: int = 1) -> None:
        self.boards = boards
        self.units: list[list[list[Instruction]]] = [[[] for _ in range(N_UNITS)] for _ in range(boards)]
        self.streams: list[list[Instruction]] = [[] for _ in range(boards)]
        # Clock entry (board, unit): index of the newest instruction of that unit known to be complete, -1: none.
        self._known = np.full((boards, N_UNITS, boards, N_UNITS), -1, dtype=np.int64)
        sizes: dict[Memory | str, int] = {
            Memory.ACT: config.act_words,
            Memory.WEIGHT: config.weight_words,
            ACC: config.acc_words,
            DRAM: dram_regions,
        }
        self._vector_done = [-1] * boards
        self._cuts = [[0] for _ in range(boards)]
        # Newest access of each word by each unit of each board (SENDs of other boards write here too).
        self._reads = [
            {m: np.full((boards * N_UNITS, n), -1, np.int64) for m, n in sizes.items()} for _ in range(boards)
        ]
        self._writes = [
            {m: np.full((boards * N_UNITS, n), -1, np.int64) for m, n in sizes.items()} for _ in range(boards)
        ]

    def emit(
        self,
        board: int,
        opcode: Opcode,
        *,
        tag: int,
        reads: Sequence[Access] = (),
        writes: Sequence[Access] = (),
        note: Any = None,
        **body: Any,
    ) -> Instruction:
        """Add one instruction. ``reads`` and ``writes`` are sequences of Access."""
        opcode = Opcode(opcode)
        unit = int(opcode)
        needed = np.full((self.boards, N_UNITS), -1, np.int64)
        for access in reads:
            self._hazards(needed, board, access, writing=False)
        read_own, read_vector = needed[board, unit], needed[board, Unit.VECTOR]
        for access in writes:
            self._hazards(needed, board if access.board is None else access.board, access, writing=True)
        known = self._known[board, unit]
        waits: dict[int, int] = {}
        for b in range(self.boards):
            for u in range(N_UNITS):
                if needed[b, u] > known[b, u] and not (b == board and u == unit):
                    self._join(board, unit, b, u, needed[b, u], waits, tag)
        if unit == Unit.VECTOR:
            self._join_itself(board, read_own, waits)
        instruction = self._append(board, opcode, tag, body, waits, note)
        instruction.for_input = bool(0 <= read_vector == needed[board, Unit.VECTOR])
        row = board * N_UNITS + unit
        for access in reads:
            self._reads[board][access.memory][row, access.words] = instruction.index
        for access in writes:
            target = board if access.board is None else access.board
            self._writes[target][access.memory][row, access.words] = instruction.index
        return instruction

    def _join_itself(self, board: int, index: int, waits: dict[int, int]) -> None:
        """VECTOR reads ahead of its own writes: what needs an earlier instruction's result waits for its post."""
        if index > self._vector_done[board]:
            self.units[board][Unit.VECTOR][index].posts |= 1 << Unit.VECTOR
            waits[int(Unit.VECTOR)] = 1
            self._vector_done[board] = index

    def _hazards(self, needed: NDArray[np.int64], target: int, access: Access, writing: bool) -> None:
        tables = [self._writes[target][access.memory]]
        if writing:
            tables.append(self._reads[target][access.memory])
        for table in tables:
            newest = table[:, access.words].max(axis=1, initial=-1).reshape(needed.shape)
            np.maximum(needed, newest, out=needed)

    def _append(
        self, board: int, opcode: Opcode, tag: int, body: dict[str, Any], waits: dict[int, int], note: Any = None
    ) -> Instruction:
        unit = int(opcode)
        queue = self.units[board][unit]
        clock = self._known[board, unit]
        clock[board, unit] = len(queue)
        instruction = Instruction(board, opcode, len(queue), tag, dict(body), clock.copy(), waits, note=note)
        queue.append(instruction)
        self.streams[board].append(instruction)
        return instruction

    def _join(
        self, board: int, unit: int, from_board: int, from_unit: int, index: int, waits: dict[int, int], tag: int
    ) -> None:
        """Make (board, unit) wait for instruction ``index`` of (from_board, from_unit)."""
        known = self._known[board, unit]
        if index <= known[from_board, from_unit]:  # covered by a join made for another hazard of this instruction
            return
        if from_board == board:
            source = self.units[board][from_unit][index]
            source.posts |= 1 << unit
            counter = from_unit
        else:
            source = self._remote_poster(board, unit, from_board, from_unit, index, tag)
            counter = self.counter_of(board, from_board)
        waits[counter] = waits.get(counter, 0) + 1
        np.maximum(known, source.clock, out=known)

    def _remote_poster(
        self, board: int, unit: int, from_board: int, from_unit: int, index: int, tag: int
    ) -> Instruction:
        """A SEND of ``from_board`` that posts to (board, unit) when instruction ``index`` there is complete."""
        post = {
            "node": board,
            "remote_post": 1,
            "remote_unit": unit,
            "remote_counter": self.counter_of(board, from_board),
        }
        if from_unit == Unit.SEND:
            source = self.units[from_board][Unit.SEND][index]
            if source.body.get("node") == board and not source.body.get("remote_post"):
                source.body.update(post)
                return source
        waits: dict[int, int] = {}
        if from_unit != Unit.SEND:
            self._join(from_board, Unit.SEND, from_board, from_unit, index, waits, tag)
        return self._append(from_board, Opcode.SEND, tag, {"count0": 0, "count1": 1, "count2": 1, **post}, waits)

    @staticmethod
    def counter_of(board: int, from_board: int) -> int:
        """Counter that posts of ``from_board`` take at ``board``. Two boards: the first link counter."""
        del board, from_board
        return LINK_SOURCES[0]

    def cut(self) -> None:
        """End the programs here; what follows goes to the next ones."""
        done = np.array([[len(queue) - 1 for queue in units] for units in self.units])
        for board in range(self.boards):
            self._cuts[board].append(len(self.streams[board]))
            self._vector_done[board] = done[board, Unit.VECTOR]
            complete = done.copy()
            complete[np.arange(self.boards) != board, Unit.SEND] = -1
            np.maximum(self._known[board], complete, out=self._known[board])

    def segments(self) -> list[list[list[Instruction]]]:
        """Instructions of all boards: for each a list of lists, one a segment."""
        return [
            [stream[a:b] for a, b in itertools.pairwise([*cuts, len(stream)])]
            for stream, cuts in zip(self.streams, self._cuts, strict=True)
        ]

    def finish(self) -> list[list[bytes]]:
        """Programs of all boards: for each a list of bytes, one a segment, END included."""
        return [
            [b"".join([*(i.encode() for i in part), encode(Opcode.END)]) for part in parts] for parts in self.segments()
        ]
