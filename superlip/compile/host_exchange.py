"""What boards load of what the host wrote, and store for it to read."""

from collections.abc import Iterable

import numpy as np

from superlip.plan.bands import bands_due
from superlip.plan.tasks import Task

from .context import Context
from .moves import Moves
from .program_state import ProgramState

__all__ = ["HostExchange"]


class HostExchange:
    """Loads the image and results of host operations, band by band, and stores what the host reads."""

    def __init__(self, context: Context, state: ProgramState, moves: Moves) -> None:
        self.context, self.state, self.moves = context, state, moves

    def give(self, position: int) -> None:
        """The host has written what it writes when ``position`` operations are done."""
        self.state.bands = list(self.context.plan.bands[position])
        self.state.bands_tag = position + 1 if position else 0

    def load(self, task: Task | None) -> None:
        """Load what a task reads of what the host wrote, and a little more; all of it, if ``task`` is None.

        Each board loads its rows and sends on what the others need of them.
        """
        due = len(self.state.bands) if task is None else bands_due(self.state.bands, task)
        tag = self.state.bands_tag
        for band in self.state.bands[:due]:
            storage = band.storage
            for board, rows in enumerate(band.rows):
                view = self.context.plan.activations[board].views[storage.name]
                self.moves.load(board, storage, view, rows, tag)
                self.moves.send(board, storage, range(storage.groups), rows, tag, view)
        del self.state.bands[:due]

    def store(self, names: Iterable[str]) -> None:
        """Each board stores the part of some values that it computed (the first board, what several did)."""
        network, plan = self.context.network, self.context.plan
        writers = network.writers()
        for name in names:
            place = network.places[name]
            storage = place.storage
            if storage.name in plan.in_dram or storage.name in self.context.given:
                continue
            owner, tag = self.context.owners[storage.name], 1 + max(writers[storage.name])
            for board in range(plan.boards):
                view = plan.activations[board].views[storage.name]
                mine = (owner == board) & plan.exchange.produced[storage.name][board]
                for group in range(place.first_group, place.end_group):
                    self.moves.store(board, storage, group, np.flatnonzero(mine[group]), tag, view)
