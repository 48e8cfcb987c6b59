"""VECTOR: operations without weights, and where all results go."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from superlip.ops.layout import View
from superlip.plan.chunks import Chunk
from superlip.plan.tasks import BoardStep
from superlip.rtl.isa import Memory, Opcode

from .compiled import Written
from .context import Context
from .moves import Moves
from .program import Access
from .program_state import ProgramState
from .stages import Stages

__all__ = ["VectorWork"]


class VectorWork:
    """Emits VECTOR, with the SEND and STORE of what it writes."""

    def __init__(self, context: Context, state: ProgramState, moves: Moves, stages: Stages) -> None:
        self.context, self.state, self.moves, self.stages = context, state, moves, stages

    def emit(self, index: int, at: BoardStep) -> None:
        """One step of an operation without weights, on one board; its inputs are staged."""
        op, step, board = self.context.network.ops[index], at.step, at.board
        views = [self.stages.source(place, board) for place in op.inputs]
        reads = [
            Access(Memory.ACT, view.region(need.group0, need.group1, need.row0, need.row1))
            for view, need in zip(views, op.needs(step.part), strict=True)
        ]
        body = op.vector.body(op, step, views)
        if self.context.plan.parameter_words[index]:
            body |= self.parameters(board, index, step.params, reads)
        chunk = Chunk(step.row0, step.row1, step.col0, step.col1)
        lanes = next((a, b) for group, a, b, _, _ in op.output.tiles() if group == step.group)
        self.write(index, board, step.group, lanes, chunk, reads, body)

    def parameters(self, board: int, index: int, key: int, reads: list[Access]) -> dict[str, int]:
        """Fields that load a parameter block, if the lanes don't hold it already; its words are added to ``reads``."""
        if self.state.parameters[board] == (index, key):
            return {}
        self.state.parameters[board] = index, key
        address = self.context.plan.activations[board].parameters[index][key]
        reads.append(Access(Memory.ACT, np.arange(address, address + self.context.plan.parameter_words[index][key])))
        return {"params": address, **self.context.network.ops[index].spec.loads}

    def write(
        self,
        index: int,
        board: int,
        group: int,
        lanes: tuple[int, int],
        chunk: Chunk,
        reads: list[Access],
        body: Mapping[str, Any],
    ) -> None:
        """VECTOR for one group and chunk, then SEND and STORE of what it wrote.

        Parameters
        ----------
        lanes : (first, end)
        reads : list of Access
        body : dict
            Fields of the instruction but those of the destination.
        """
        op, tag = self.context.network.ops[index], index + 1
        (step_y, step_x), (origin_y, origin_x) = op.step, op.origin
        dest = self._dest(index, board, group, chunk)
        rows = origin_y + np.arange(chunk.row0, chunk.row1) * step_y
        cols = origin_x + np.arange(chunk.col0, chunk.col1) * step_x
        addresses = dest.address(group, rows[:, None], cols).ravel()
        written = Written(
            index, group, int(rows[0]), step_y, len(rows), int(cols[0]), step_x, len(cols), *lanes, op.spec.by_columns
        )
        self.state.emitter.emit(
            board, Opcode.VECTOR, tag=tag, reads=reads, writes=[Access(Memory.ACT, addresses)], note=written,
            dest=int(addresses[0]), dest_pitch=dest.width * step_y, dest_step=step_x, groups=1,
            rows=len(rows), cols=len(cols), lane_first=lanes[0], lane_last=lanes[1] - 1,
            zero_above=int(lanes[1] >= self.context.used_lanes[op.output.storage.name, group]), **body,
        )  # fmt: skip
        if chunk.col1 < op.grid[1]:  # rows are sent and stored as a whole
            return
        self.moves.send(board, op.output.storage, [group], rows, tag, dest)
        if index in self.context.plan.activations[board].slots:
            self.moves.store(board, op.output.storage, group, rows, tag, dest)

    def _dest(self, index: int, board: int, group: int, chunk: Chunk) -> View:
        """View that a chunk's results are written to: the resident storage, or the next slot."""
        storage, buffer = self.context.network.ops[index].output.storage, self.context.plan.activations[board]
        if index not in buffer.slots:
            return buffer.views[storage.name]
        slots = buffer.slots[index]
        self.state.slots[board] = (self.state.slots[board] + 1) % len(slots)
        base = slots[self.state.slots[board]]
        view = View(base, chunk.row0, chunk.row1 - chunk.row0, storage.width, group, 1)
        if (storage.name, group) in self.context.shared_words:
            # STORE writes whole words, and others write some of their lanes.
            self.moves.load_view(board, storage, view, index + 1)
        return view
