"""Brings inputs that lie in DRAM to the activation buffer, strip by strip."""

import numpy as np
from numpy.typing import NDArray

from superlip.ops.layout import Placement, View

from .context import Context
from .moves import Moves
from .program_state import ProgramState

__all__ = ["Stages"]


class Stages:
    """Fills the boards' stages, and knows where an operation finds its inputs."""

    def __init__(self, context: Context, state: ProgramState, moves: Moves) -> None:
        self.context, self.state, self.moves = context, state, moves

    def source(self, place: Placement, board: int) -> View:
        """What an operation reads: the resident storage or the stage of the strip."""
        name = place.storage.name
        return self.context.plan.activations[board].views.get(name) or self.state.staged[board][name]

    def fill(self, op: int, strip: int, board: int) -> None:
        """Bring the input rows of a strip, and of the next ones, to the boards' stages, if they are not there yet."""
        activations = self.context.plan.activations
        for place in self.context.network.ops[op].inputs:
            storage = place.storage
            key = op, storage.name
            if key not in activations[board].stages:
                continue
            ahead = min(len(other.stages[key]) for other in activations if key in other.stages)
            for number in range(strip, min(strip + ahead, len(activations[board].strips[op]))):
                self._load(op, number, place)
            self.state.staged[board][storage.name] = self._view(op, strip, place, board)

    def _view(self, op: int, strip: int, place: Placement, board: int) -> View:
        buffer, storage = self.context.plan.activations[board], place.storage
        part = buffer.strips[op][strip]
        low, high = self.context.network.ops[op].rows_of(place, part.row0, part.row1)
        stages = buffer.stages[op, storage.name]
        return View(stages[strip % len(stages)], low, high - low, storage.width, 0, storage.groups)

    def _load(self, op: int, strip: int, place: Placement) -> None:
        """Load one strip's rows on all boards, each its own rows; IFM-shared rows go over the links."""
        storage, name = place.storage, place.storage.name
        if (op, name, strip) in self.state.loaded:
            return
        self.state.loaded.add((op, name, strip))
        views = [
            self._view(op, strip, place, board) if strip < len(buffer.strips[op]) else None
            for board, buffer in enumerate(self.context.plan.activations)
        ]
        stages = [view or staged.get(name) for view, staged in zip(views, self.state.staged, strict=True)]
        for board, view in enumerate(views):
            if view is None:
                continue
            rows = np.arange(view.row0, view.row0 + view.rows)
            rows = rows[self._held_rows(name, board)[rows]]
            self.moves.load(board, storage, view, rows, op + 1)
            if name in self.context.given:
                self.moves.send(board, storage, range(storage.groups), rows, op + 1, view, stages)

    def _held_rows(self, name: str, board: int) -> NDArray[np.bool_]:
        """Rows that a board has in its DRAM: what it was given or made, and what came to its inbox."""
        exchange = self.context.plan.exchange
        held = exchange.produced[name][board].any(axis=0)
        if name in self.context.plan.activations[board].inboxes:
            held = held | exchange.needed[name][board].any(axis=0)
        return held
