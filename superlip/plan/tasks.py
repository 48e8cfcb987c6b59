"""Cuts every operation in the tasks that `schedule` puts in order."""

from dataclasses import dataclass
from itertools import accumulate, zip_longest

import numpy as np

from .blocks import Block, Tile, block_limit
from .chunks import Chunk
from .schedule import Task
from .timing import matmul_cycles, word_cycles

__all__ = ["Step", "tasks_of"]


@dataclass(eq=False)
class Step:
    """One weight block at work on one board: the chunks that use it; does it begin, does it end their sums?

    ``sums`` are the accumulators that it takes, ``pixels`` those that each of its passes reads.
    ``load`` identifies the LOAD that brings it (None: it stays on chip), ``held`` its place in the ring.
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
    key: tuple
    load: tuple | None = None
    uses: int = 0
    address: int = 0
    held: object = None
    fresh: bool = False

    def matmul_cycles(self, tm):
        """Cycles of MATMUL."""
        return matmul_cycles(self.block.sets, self.pixels, len(self.chunks), tm)


def tasks_of(network, parts, tiles, memory, config):
    """The tasks of every operation: list of list of Task.

    Their steps are `Step` for a convolution, (board, strip, VectorStep) for other operations.

    Parameters
    ----------
    parts : list of list of Part, by op and board
    tiles : list of list of ConvTile, by op; None where it is no convolution
    memory : list of ActivationPlan, by board
    config : NodeConfig
    """
    cutter = _Cutter(network, parts, tiles, memory, config)
    return [
        cutter.conv_tasks(index) if op.is_conv else cutter.vector_tasks(index) for index, op in enumerate(network.ops)
    ]


class _Cutter:
    def __init__(self, network, parts, tiles, memory, config):
        self.network, self.parts, self.tiles, self.memory, self.config = network, parts, tiles, memory, config
        self.boards = len(memory)

    def conv_tasks(self, index):
        """Steps of the boards, those at the same time side by side."""
        op = self.network.ops[index]
        queues = [self._steps(index, board) for board in range(self.boards)]
        tasks, unfinished = [], set()
        # The boards end their sums together, too, whatever number of blocks each has for them.
        begun = {
            id(step): n for queue in queues for step, n in zip(queue, accumulate(s.first for s in queue), strict=True)
        }
        for steps in _side_by_side(queues, lambda step: (step.strip, begun[id(step)])):
            needs, makes, matmul, vector = [], [], 0, 0
            for step in steps:
                (unfinished.discard if step.last else unfinished.add)(step.board)
                blocks = step.tile.blocks
                for chunk in step.chunks:
                    if step.first:
                        rows = op.input_rows(chunk.row0, chunk.row1)
                        needs.append((op.inputs[0].storage.name, blocks[0].n0, blocks[-1].n1, *rows))
                    if step.last:
                        makes.append((step.tile.group, step.tile.group + 1, _output_rows(op, chunk.row0, chunk.row1)))
                matmul = max(matmul, step.matmul_cycles(self.config.tm))
                vector = max(vector, sum(chunk.results for chunk in step.chunks) * word_cycles(op) if step.last else 0)
            tasks.append(Task(index, steps, needs, makes, matmul, vector, bool(unfinished)))
        return tasks

    def _steps(self, index, board):
        """A board's weight steps. Weights that stay in the buffer are used chunk by chunk, so that the rows of all
        channels are complete early; others by as many chunks as can be while they are there."""
        part, op = self.parts[index][board], self.network.ops[index]
        tiles = [tile for tile in self.tiles[index] if part.group0 <= tile.group < part.group1]
        stays = sum(tile.words for tile in tiles) <= block_limit(self.config.weight_words)
        steps = []
        for number, strip in enumerate(self.memory[board].strips[index]):
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
                    steps.append(Step(board, index, number, tile, block, run, sums, pixels, *ends, key))
        return steps

    def vector_tasks(self, index):
        """Steps (board, strip, VectorStep), those of the boards side by side."""
        op = self.network.ops[index]
        queues = []
        for board, part in enumerate(self.parts[index]):
            queues.append(
                [
                    (board, number, step)
                    for number, strip in enumerate(self.memory[board].strips[index])
                    for chunk in strip.chunks
                    for step in op.vector.steps(op, part, chunk.row0, chunk.row1)
                ]
            )
        tasks = []
        for steps in _side_by_side(queues, lambda step: step[1]):
            wanted, makes, cycles = [], [], 0
            for _, _, step in steps:
                for place, need in zip(op.inputs, op.needs(step.part), strict=True):
                    wanted.append((place.storage.name, need.group0, need.group1, need.row0, need.row1))
                makes.append((step.group, step.group + 1, _output_rows(op, step.row0, step.row1)))
                cycles = max(cycles, (step.row1 - step.row0) * (step.col1 - step.col0) * word_cycles(op))
            tasks.append(Task(index, steps, wanted, makes, 0, cycles))
        return tasks


def _side_by_side(queues, strip_of):
    """The first of every queue, the second of every queue, ...: list of lists.

    Strip by strip: a board does not begin one, for which all boards' stages are filled, before the others end theirs.
    """
    strips = {}
    for board, queue in enumerate(queues):
        for item in queue:
            strips.setdefault(strip_of(item), [[] for _ in queues])[board].append(item)
    return [
        [item for item in items if item is not None]
        for strip in sorted(strips)
        for items in zip_longest(*strips[strip])
    ]


def _output_rows(op, row0, row1):
    """Rows of the output's storage in which grid rows [row0, row1) lie."""
    return op.origin[0] + np.arange(row0, row1) * op.step[0]
