"""What the compiler makes: programs, memory images, and how to read the results."""

from dataclasses import dataclass, field

import numpy as np

from superlip.boards import Target
from superlip.plan.layout import pack_words, unpack_words
from superlip.plan.lower import Network

from .memory import DramImage

__all__ = ["BoardImage", "Compiled", "Written"]


@dataclass(frozen=True)
class Written:
    """What one VECTOR instruction writes: rows and columns of one group, row by row.

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

    def places(self):
        """Rows and columns written, as index arrays of shape (rows, 1) and (cols,)."""
        rows = self.row0 + np.arange(self.rows) * self.row_step
        return rows[:, None], self.col0 + np.arange(self.cols) * self.col_step


@dataclass(eq=False)
class BoardImage:
    """One board's part: DRAM, programs, and where inputs and outputs lie."""

    dram: DramImage
    init_program: int | None = None
    """Byte address of the program that loads what stays on chip; run once."""
    frame_program: int = 0
    """Byte address of the program of one image."""
    input_base: int = 0
    input_mask: np.ndarray | None = None
    """Rows of the image that lie in this board's DRAM: ndarray bool, shape (height,)."""
    output_base: dict[str, int] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    """VECTOR instructions of the frame program, in order."""
    instructions: int = 0
    weight_words: int = 0
    """Words of weights loaded from DRAM for each image."""


@dataclass(eq=False)
class Compiled:
    """A network compiled for a number of boards.

    ``tag`` i + 1 in an instruction means operation i of ``network.ops``; 0 is the input.
    """

    network: Network
    target: Target
    splits: list
    boards: list[BoardImage]
    owners: dict[str, np.ndarray]
    """Output storage -> board that stores each (group, row): ndarray int, shape (groups, height)."""
    in_dram: set[str]
    """Storages that do not fit on chip."""

    def input_writes(self, image):
        """DRAM contents for one image (int8, shape (C, H, W)): list of (board, byte offset, bytes)."""
        place = self.network.input
        words = pack_words(self.network.prepare(image[None])[0], place.offset, place.storage.groups, place.storage.tn)
        writes = []
        _, height, width, _ = words.shape
        for number, board in enumerate(self.boards):
            for first, end in _stretches(board.input_mask):
                for group in range(place.storage.groups):
                    base = board.input_base + (group * height + first) * width
                    writes += [(number, *piece) for piece in board.dram.striped(base, words[group, first:end])]
        return writes

    def output_ranges(self):
        """What to read after each image: list of (board, byte offset, length)."""
        return [
            (number, *piece)
            for name in self.network.outputs
            for number, board in enumerate(self.boards)
            for piece in board.dram.ranges(board.output_base[name], self.network.places[name].storage.words)
        ]

    def outputs(self, raw):
        """Network outputs (name -> int8, shape (C, H, W)) from the bytes of `output_ranges`, in that order."""
        raw = iter(raw)
        result = {}
        for name in self.network.outputs:
            place = self.network.places[name]
            storage = place.storage
            parts = []
            for board in self.boards:
                pieces = [next(raw) for _ in range(self.target.node.axi_ports)]
                words = board.dram.join(pieces, storage.words)
                parts.append(words.reshape(storage.groups, storage.height, storage.width, storage.tn))
            owner = self.owners[storage.name]
            joined = np.select([(owner == b)[:, :, None, None] for b in range(len(parts))], parts)
            result[name] = unpack_words(joined, place.offset, place.channels)
        return result


def _stretches(mask):
    """(first, end) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
