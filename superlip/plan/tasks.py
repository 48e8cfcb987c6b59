"""Cuts every operation in the tasks that `schedule` puts in order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from superlip.ops.layout import Part
from superlip.ops.operation import Op
from superlip.ops.vector import VectorStep
from superlip.rtl.config import NodeConfig

from .blocks import Block, Tile, block_limit
from .board_buffer import ActivationPlan
from .chunks import Chunk, Strip
from .network import Network
from .timing import block_cycles, matmul_cycles

__all__ = ["BlockKey", "BoardStep", "Made", "Need", "Task", "WeightStep", "tasks_of"]

BlockKey = tuple[int, int, int]
"""A weight block: operation, output group, number of the block in its tile."""


@dataclass(frozen=True, eq=False)
class WeightStep:
    """One weight block at work on one board: the chunks that use it; does it begin, does it end their sums?

    ``sums`` are the accumulators that it takes, ``pixels`` those that each of its passes reads.
    """

    board: int
    op: int
    strip: int
    tile: Tile
    block: Block
    chunks: tuple[Chunk, ...]
    sums: int
    pixels: int
    first: bool
    last: bool
    key: BlockKey

    def matmul_cycles(self, tm: int) -> int:
        """Cycles of MATMUL."""
        return matmul_cycles(self.block.sets, self.pixels, len(self.chunks), tm)


@dataclass(frozen=True, eq=False)
class BoardStep:
    """One step of an operation without weights on one board."""

    board: int
    strip: int
    step: VectorStep


class Need(NamedTuple):
    """Groups and rows of a storage that a task reads."""

    storage: str
    group0: int
    group1: int
    row0: int
    row1: int


class Made(NamedTuple):
    """Groups and rows of an operation's output that a task completes."""

    group0: int
    group1: int
    rows: NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Task:
    """A part of an operation that all boards do at the same time.

    Parameters
    ----------
    op : int
    weight_steps : list of WeightStep
        What the boards do of a convolution.
    vector_steps : list of BoardStep
        What they do of another operation.
    needs : list of Need
    makes : list of Made
        Nothing for a part of the sums.
    matmul, vector : int
        Cycles of the slowest board.
    leaves_open : bool
        Sums are still to be added to: no other convolution may come in between, since it would take their place. The
        task with which such sums begin needs all that they are made of.
    """

    op: int
    weight_steps: list[WeightStep]
    vector_steps: list[BoardStep]
    needs: list[Need]
    makes: list[Made]
    matmul: int
    vector: int
    leaves_open: bool = False

    def strips(self) -> list[tuple[int, int]]:
        """(board, number) of the strip that each step works on."""
        of_weights = [(step.board, step.strip) for step in self.weight_steps]
        return of_weights + [(step.board, step.strip) for step in self.vector_steps]


def tasks_of(
    network: Network,
    parts: Sequence[Sequence[Part]],
    tiles: Sequence[list[Tile] | None],
    activations: Sequence[ActivationPlan],
    config: NodeConfig,
) -> list[list[Task]]:
    """The tasks of every operation, those of each in an order in which they can come.

    Parameters
    ----------
    parts : list of list of Part, by op and board
    tiles : list of list of Tile, by op; None where it is no convolution
    activations : list of ActivationPlan, by board
    """
    result = []
    for index, (op, mine) in enumerate(zip(network.ops, tiles, strict=True)):
        boards = list(zip(parts[index], (board.strips[index] for board in activations), strict=True))
        if mine is None:
            result.append(_vector_tasks(index, op, boards))
        else:
            queues = [
                _weight_steps(index, op, board, part, strips, mine, config)
                for board, (part, strips) in enumerate(boards)
            ]
            result.append(_conv_tasks(index, op, queues, config.tm))
    return result


def _conv_tasks(index: int, op: Op, queues: list[list[WeightStep]], tm: int) -> list[Task]:
    """Steps of the boards, those at the same time side by side."""
    tasks = []
    unfinished: set[int] = set()
    # The boards end their sums together, too, whatever number of blocks each has for them.
    begun = {id(step): n for queue in queues for step, n in zip(queue, accumulate(s.first for s in queue), strict=True)}
    for steps in _side_by_side(queues, lambda step: (step.strip, begun[id(step)])):
        wanted, makes, matmul, vector = [], [], 0, 0
        for step in steps:
            (unfinished.discard if step.last else unfinished.add)(step.board)
            blocks, group = step.tile.blocks, step.tile.group
            for chunk in step.chunks:
                if step.first:
                    rows = op.input_rows(chunk.row0, chunk.row1)
                    wanted.append(Need(op.inputs[0].storage.name, blocks[0].n0, blocks[-1].n1, *rows))
                if step.last:
                    makes.append(Made(group, group + 1, _output_rows(op, chunk.row0, chunk.row1)))
            matmul = max(matmul, step.matmul_cycles(tm))
            if step.last:
                vector = max(vector, sum(chunk.vector_cycles(op) for chunk in step.chunks))
        tasks.append(Task(index, steps, [], wanted, makes, matmul, vector, bool(unfinished)))
    return tasks


def _weight_steps(
    index: int,
    op: Op,
    board: int,
    part: Part,
    strips: Sequence[Strip],
    tiles: Sequence[Tile],
    config: NodeConfig,
) -> list[WeightStep]:
    """A board's weight steps. Weights that stay in the buffer are used chunk by chunk, so that the rows of all
    channels are complete early; others by as many chunks as can be while they are there."""
    tiles = [tile for tile in tiles if part.group0 <= tile.group < part.group1]
    stays = sum(tile.words for tile in tiles) <= block_limit(config.weight_words)
    steps = []
    for number, strip in enumerate(strips):
        runs: list[tuple[Tile, tuple[Chunk, ...]]]
        if stays:
            runs = [(tile, (chunk,)) for chunk in strip.chunks for tile in tiles]
        else:
            runs = [
                (tile, run)
                for tile in tiles
                for run in ([strip.chunks] if len(tile.blocks) == 1 else [(chunk,) for chunk in strip.chunks])
            ]
        for tile, run in runs:
            count, sums = len(tile.blocks), sum(chunk.sums(op) for chunk in run)
            for at, block in enumerate(tile.blocks):
                key = (index, tile.group, at)
                pixels = sum(chunk.pixels(op, block.fold) for chunk in run)
                ends = at == 0, at == count - 1
                steps.append(WeightStep(board, index, number, tile, block, run, sums, pixels, *ends, key))
    return steps


def _vector_tasks(index: int, op: Op, boards: Sequence[tuple[Part, list[Strip]]]) -> list[Task]:
    """Steps of an operation without weights, those of the boards side by side."""
    queues = [
        [
            BoardStep(board, number, step)
            for number, strip in enumerate(strips)
            for chunk in strip.chunks
            for step in op.vector.steps(op, part, chunk.row0, chunk.row1)
        ]
        for board, (part, strips) in enumerate(boards)
    ]
    tasks = []
    for steps in _side_by_side(queues, lambda step: step.strip):
        wanted, makes, cycles = [], [], 0
        for step in (at.step for at in steps):
            for place, need in zip(op.inputs, op.needs(step.part), strict=True):
                wanted.append(Need(place.storage.name, need.group0, need.group1, need.row0, need.row1))
            makes.append(Made(step.group, step.group + 1, _output_rows(op, step.row0, step.row1)))
            cycles = max(cycles, block_cycles(op, step.row1 - step.row0, step.col1 - step.col0))
        tasks.append(Task(index, [], steps, wanted, makes, 0, cycles))
    return tasks


S = TypeVar("S")


def _side_by_side(queues: Sequence[Iterable[S]], strip_of: Callable[[S], Any]) -> list[list[S]]:
    """The first of every queue, the second of every queue, ...: list of lists.

    Strip by strip: a board does not begin one, for which all boards' stages are filled, before the others end theirs.
    """
    strips: dict[Any, list[list[S]]] = {}
    for board, queue in enumerate(queues):
        for item in queue:
            strips.setdefault(strip_of(item), [[] for _ in queues])[board].append(item)
    return [
        [item for item in items if item is not None]
        for strip in sorted(strips)
        for items in zip_longest(*strips[strip])
    ]


def _output_rows(op: Op, row0: int, row1: int) -> NDArray[np.int_]:
    """Rows of the output's storage in which grid rows [row0, row1) lie."""
    return op.origin[0] + np.arange(row0, row1) * op.step[0]
