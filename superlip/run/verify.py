"""Compares what VECTOR wrote in the simulation with the golden, word by word."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from superlip.compile.compiled import Compiled

__all__ = ["Comparison", "FirstDifference", "TraceChecker"]


@dataclass(frozen=True)
class FirstDifference:
    """The first value (in time) that differs from the golden."""

    image: int
    board: int
    layer: str
    channel: int
    row: int
    col: int
    cycle: int
    got: int
    expected: int

    def __str__(self):
        return (
            f"image {self.image}, layer {self.layer}, channel {self.channel}, row {self.row}, column {self.col}: "
            f"board {self.board} wrote {self.got} in cycle {self.cycle}, golden says {self.expected}"
        )


@dataclass
class Comparison:
    """Differing values of each layer (by op index) over the images compared so far."""

    mismatches: np.ndarray
    values: np.ndarray
    first: FirstDifference | None = None
    missing: int = 0
    """VECTOR words that the program writes and the simulation did not."""

    @property
    def total(self) -> int:
        return int(self.mismatches.sum()) + self.missing


class TraceChecker:
    """Knows which value every VECTOR write of a compiled network is.

    ``compare`` takes the trace of one image and the golden's values of it.
    """

    def __init__(self, compiled: Compiled):
        self.compiled = compiled
        network = compiled.network
        self.tn, self.element = compiled.target.node.tn, compiled.target.node.element
        self.bases, base = {}, 0
        for op in network.ops:
            storage = op.output.storage
            if storage.name not in self.bases:
                self.bases[storage.name] = base
                base += storage.words
        self.words = base
        self.index, self.op, self.lane = [], [], []
        for board in compiled.boards:
            index, ops, lanes = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros((0, self.tn), bool)]
            for written in board.written:
                storage = network.ops[written.op].output.storage
                rows, cols = written.places()
                row = written.group * storage.height + rows
                flat = (self.bases[storage.name] + row * storage.width + cols).ravel()
                mask = np.zeros(self.tn, bool)
                mask[written.lane0 : written.lane1] = True
                mask &= network.ops[written.op].lanes(written.group)
                index.append(flat)
                ops.append(np.full(len(flat), written.op, np.int32))
                lanes.append(np.broadcast_to(mask, (len(flat), self.tn)))
            self.index.append(np.concatenate(index))
            self.op.append(np.concatenate(ops))
            self.lane.append(np.concatenate(lanes))

    def start(self) -> Comparison:
        """An empty Comparison."""
        n = len(self.compiled.network.ops)
        return Comparison(np.zeros(n, np.int64), np.zeros(n, np.int64))

    def expected(self, golden: Mapping[str, np.ndarray]) -> np.ndarray:
        """Every word of every storage, elements, shape (words, tn): ``index`` says which one a write is."""
        expected = np.zeros((self.words, self.tn), self.element.dtype)
        for name, base in self.bases.items():
            words = self.compiled.network.words(name, golden).reshape(-1, self.tn)
            expected[base : base + len(words)] = words
        return expected

    def place(self, board: int, at: int, lane: int) -> tuple[int, int, int, int, int]:
        """(op, tile, channel, row, column) of a lane of a board's ``at``-th write in an image."""
        number = int(self.op[board][at])
        op = self.compiled.network.ops[number]
        storage = op.output.storage
        group, rest = divmod(int(self.index[board][at]) - self.bases[storage.name], storage.height * storage.width)
        channel = op.channel(group, lane)
        return number, group, channel, *divmod(rest, storage.width)

    def compare(self, image: int, trace: np.ndarray, golden: Mapping[str, np.ndarray], comparison: Comparison) -> None:
        """Add one image to ``comparison``.

        Parameters
        ----------
        image : int
        trace : structured ndarray (superlip.sim.result.trace_dtype)
            Of this image.
        golden : dict of str to ndarray of elements, shape (C, H, W)
            Every value of the graph.
        """
        network = self.compiled.network
        expected = self.expected(golden)
        for board in range(len(self.compiled.boards)):
            got = trace[trace["node"] == board]
            count = min(len(got), len(self.index[board]))
            comparison.missing += abs(len(got) - len(self.index[board]))
            want = expected[self.index[board][:count]]
            lanes = self.lane[board][:count]
            wrong = (got["data"][:count] != want) & lanes
            ops = self.op[board][:count]
            comparison.values += np.bincount(ops, lanes.sum(axis=1), len(network.ops)).astype(np.int64)
            comparison.mismatches += np.bincount(ops, wrong.sum(axis=1), len(network.ops)).astype(np.int64)
            if wrong.any():
                self._note_first(image, board, got, want, wrong, comparison)

    def _note_first(self, image, board, got, want, wrong, comparison):
        at = int(np.argmax(wrong.any(axis=1)))
        cycle = int(got["cycle"][at])
        if comparison.first is not None and (comparison.first.image, comparison.first.cycle) <= (image, cycle):
            return
        lane = int(np.argmax(wrong[at]))
        op, _, channel, row, col = self.place(board, at, lane)
        name = self.compiled.network.ops[op].name
        comparison.first = FirstDifference(
            image, board, name, channel, row, col, cycle, int(got["data"][at, lane]), int(want[at, lane])
        )
