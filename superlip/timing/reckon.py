"""The cycles of programs: how long an image takes on the boards, without simulating them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target
from superlip.rtl.isa import COUNTERS, Unit

from .clock import Clock
from .instructions import Instruction, read_program
from .layers import Run, add_layers
from .node import Node

__all__ = ["Program", "Reckoned", "reckon"]

Program = tuple[int, bytes]
"""Byte address in the region of programs, and contents."""

START = 1
"""Cycles from the start command, from which on the simulator counts, to the start of the fetch."""
END = 1
"""Cycles from the first in which nothing is busy to the interrupt."""


@dataclass(frozen=True, eq=False)
class Reckoned:
    """What an image takes.

    Parameters
    ----------
    cycles : int
        As ``superlip.sim`` counts them: from the start command to the interrupt of the last board, of all segments.
    node_cycles : ndarray int64, shape (boards,)
        The same until each board's interrupt.
    runs : list of Run
        Each segment: all instructions of all boards, with the cycles in which they were taken and done.
    """

    cycles: int
    node_cycles: NDArray[np.int64]
    runs: list[Run]

    def layers(self, layers: int, sums: Collection[int]) -> NDArray[np.int64]:
        """Cycles of each layer, as reports attribute them (docs/numbers.md): of the board that ends last.

        Parameters
        ----------
        layers : int
            How many there are: an instruction's tag is that of one, 0 of the input.
        sums : collection of int
            Tags of those that MATMUL works on.

        Returns
        -------
        ndarray int64, shape (layers,)
            Their sum is ``cycles``.
        """
        found = np.zeros(layers, np.int64)
        board = int(self.node_cycles.argmax())
        for number, run in enumerate(self.runs):
            add_layers(found, run, board, sums, first=number == 0)
        return found


def reckon(target: Target, segments: Sequence[Sequence[Program]]) -> Reckoned:
    """Cycles of programs.

    Parameters
    ----------
    target : Target
    segments : sequence of sequence of Program, by segment and board
        All boards begin a segment together, when all have ended the one before.

    Raises
    ------
    ValueError
        If the programs never end.
    """
    boards = len(segments[0])
    left = [[[0] * COUNTERS for _ in Unit] for _ in range(boards)]
    node_cycles, runs, total = np.zeros(boards, np.int64), [], 0
    for programs in segments:
        run, left = _run(target, programs, left)
        node_cycles = total + np.array(run.ends)
        total += max(run.ends)
        runs.append(run)
    return Reckoned(total, node_cycles, runs)


def _run(
    target: Target, programs: Sequence[Program], left: Sequence[Sequence[Sequence[int]]]
) -> tuple[Run, list[list[list[int]]]]:
    """One segment. ``left``: posts that nobody has taken, by board, unit and counter; returns those of its end."""
    clock = Clock()
    nodes = [Node(clock, target) for _ in programs]
    for index, (node, posts) in enumerate(zip(nodes, left, strict=True)):
        node.join(nodes[(index + 1) % len(nodes)])
        for issue, counts in zip(node.issues, posts, strict=True):
            for source, number in enumerate(counts):
                issue.posts[source].extend([0] * number)
    decoded: list[list[Instruction]] = []
    for node, (address, program) in zip(nodes, programs, strict=True):
        decoded.append(read_program(program))
        node.begin(START, address, decoded[-1])
    clock.run()
    for number, instructions in enumerate(decoded):
        for instruction in instructions:
            if instruction.done < 0:
                unit = Unit(instruction.unit).name
                raise ValueError(f"board {number}: {unit} (tag {instruction.tag}) is never done")
    run = Run([[issue.instructions for issue in node.issues] for node in nodes], [node.ended() + END for node in nodes])
    return run, [[[len(posts) for posts in issue.posts] for issue in node.issues] for node in nodes]
