"""What the compiler makes: programs, memory images, and how to read the results."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target
from superlip.ops import apply
from superlip.ops.layout import Storage, pack_words, unpack_words
from superlip.plan.network import Network
from superlip.plan.partition import Split

from .dram import DramImage
from .liveness import Liveness
from .runs import stretches

__all__ = ["BoardImage", "Compiled", "Piece", "Written"]


@dataclass(frozen=True)
class Written:
    """What one VECTOR instruction writes: rows and columns of one group, row by row, or column by column.

    Row i is ``row0 + i * row_step``; lanes [lane0, lane1).
    """

    op: int
    group: int
    row0: int
    row_step: int
    rows: int
    col0: int
    col_step: int
    cols: int
    lane0: int
    lane1: int
    by_columns: bool = False

    def places(self) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Rows and columns written, as index arrays of shape (rows, 1) and (cols,), or (rows,) and (cols, 1)."""
        rows = self.row0 + np.arange(self.rows) * self.row_step
        cols = self.col0 + np.arange(self.cols) * self.col_step
        return (rows, cols[:, None]) if self.by_columns else (rows[:, None], cols)


@dataclass(frozen=True, eq=False)
class BoardImage:
    """One board's part: DRAM, programs, and where the host's inputs and outputs lie."""

    dram: DramImage
    init_program: int
    """Byte address of the program that loads what stays on chip; run once."""
    programs: list[int]
    """Byte addresses of the programs of one image: one for each segment, host steps between them."""
    base: dict[str, int]
    """Word address of each storage that has a place in DRAM."""
    written: list[Written]
    """VECTOR instructions of one image, in order."""
    for_input: list[NDArray[np.bool_]]
    """For each segment: does that MATMUL instruction, if it waits for VECTOR, wait for its input?"""
    instructions: int
    weight_words: int
    """Words of weights loaded from DRAM for each image."""


@dataclass(frozen=True)
class Piece:
    """Rows [row, row + rows) of one group of a storage in a board's DRAM: (byte offset, length) of each port's part."""

    board: int
    group: int
    row: int
    rows: int
    ranges: list[tuple[int, int]]


@dataclass(eq=False)
class Compiled:
    """A network compiled for a number of boards.

    ``tag`` i + 1 in an instruction means operation i of ``network.ops``; 0 is the input.
    """

    network: Network
    target: Target
    splits: list[Split]
    boards: list[BoardImage]
    given: dict[str, NDArray[np.bool_]]
    """Storage that the host writes -> rows that lie in each board's DRAM: shape (boards, height)."""
    owners: dict[str, NDArray[np.int_]]
    """Storage that the host reads -> board that stores each (group, row): shape (groups, height)."""
    in_dram: frozenset[str]
    """Storages that do not fit on chip."""
    liveness: Liveness | None = None
    """What was proved of the programs: that they end."""

    @property
    def segments(self) -> int:
        """Programs that a board runs for one image."""
        return 1 + len(self.network.cuts)

    def programs(self) -> tuple[list[bytes], list[list[bytes]]]:
        """The programs as they lie in DRAM: init programs by board; those of an image by segment and board."""
        init = [board.dram.program_at(board.init_program) for board in self.boards]
        image = [[board.dram.program_at(board.programs[s]) for board in self.boards] for s in range(self.segments)]
        return init, image

    def input_writes(self, image: NDArray[np.int8]) -> list[tuple[int, int, bytes]]:
        """DRAM contents of one image (int8, shape (C, H, W)): list of (board, byte offset, bytes)."""
        if self.network.parts:
            return [write for name, value in self.input_parts(image).items() for write in self.writes(name, value)]
        return self.writes(self.network.graph.input, self.network.prepare(image[None])[0])

    def input_parts(self, image: NDArray[np.int8]) -> dict[str, NDArray[np.int8]]:
        """Of an image of several inputs the value of each (int8, shape (C, H, W)); empty where there is one input."""
        graph = self.network.graph
        nodes = [node for node in graph.nodes if node.output in self.network.parts]
        return {node.output: apply(node, [image[None]], graph.values)[0] for node in nodes}

    def output_ranges(self) -> list[tuple[int, int, int]]:
        """What to read after each image: list of (board, byte offset, length)."""
        return self._ranges(self.network.outputs)

    def outputs(self, raw: Iterable[bytes]) -> dict[str, NDArray[np.int8]]:
        """Network outputs (name -> int8, shape (C, H, W)) from the bytes of `output_ranges`, in that order."""
        return self.values(self.network.outputs, raw)

    def host_ranges(self, segment: int) -> list[tuple[int, int, int]]:
        """What the host reads between segment ``segment`` - 1 and it: list of (board, byte offset, length)."""
        return self._ranges(self.network.host_reads(segment))

    def read_pieces(self, name: str) -> list[Piece]:
        """Where a value that the host reads lies: list of Piece."""
        place = self.network.places[name]
        owner = self.owners[place.storage.name]
        groups = range(place.first_group, place.end_group)
        return [
            piece
            for board in range(len(self.boards))
            for group in groups
            for piece in self._pieces(place.storage, board, group, owner[group] == board)
        ]

    def write_pieces(self, name: str) -> list[Piece]:
        """Where a value that the host writes goes: list of Piece, empty where it keeps it."""
        if name not in self.network.places:
            return []
        storage = self.network.places[name].storage
        return [
            piece
            for board, rows in enumerate(self.given[storage.name])
            for group in range(storage.groups)
            for piece in self._pieces(storage, board, group, rows)
        ]

    def writes(self, name: str, value: NDArray[np.int8]) -> list[tuple[int, int, bytes]]:
        """DRAM contents of a value that the host makes (int8, shape (C, H, W)): list of (board, byte offset, bytes).

        None of one that it keeps, in numbers of the model's own.
        """
        if name not in self.network.places:
            return []
        place = self.network.places[name]
        words = pack_words(value, place)
        return [
            (piece.board, offset, data)
            for piece in self.write_pieces(name)
            for (offset, _), data in zip(
                piece.ranges,
                self.boards[piece.board].dram.split(words[piece.group, piece.row : piece.row + piece.rows]),
                strict=True,
            )
        ]

    def _pieces(self, storage: Storage, board: int, group: int, mask: NDArray[np.bool_]) -> Iterator[Piece]:
        image = self.boards[board]
        for first, end in stretches(np.flatnonzero(mask)):
            base = image.base[storage.name] + (group * storage.height + first) * storage.width
            yield Piece(board, group, first, end - first, image.dram.ranges(base, (end - first) * storage.width))

    def _ranges(self, names: Iterable[str]) -> list[tuple[int, int, int]]:
        return [(piece.board, *r) for name in names for piece in self.read_pieces(name) for r in piece.ranges]

    def values(self, names: Iterable[str], raw: Iterable[bytes]) -> dict[str, NDArray[np.int8]]:
        """Values by name, int8 of shape (C, H, W), from the bytes of their pieces in order."""
        raw = iter(raw)
        result = {}
        for name in names:
            place = self.network.places[name]
            storage = place.storage
            words = np.zeros((storage.groups, storage.height, storage.width, storage.tn), np.int8)
            for piece in self.read_pieces(name):
                parts = [next(raw) for _ in piece.ranges]
                joined = self.boards[piece.board].dram.join(parts, piece.rows * storage.width)
                words[piece.group, piece.row : piece.row + piece.rows] = joined.reshape(piece.rows, *words.shape[2:])
            result[name] = unpack_words(words, place)
        return result
