"""Parameters of VECTOR that do not stay on chip: loaded for each image, ahead of their operation."""

from collections import deque

from superlip.plan.tasks import Task
from superlip.rtl.isa import Memory

from .context import Context
from .moves import load_words
from .program_state import ProgramState

__all__ = ["ParameterStream"]


class ParameterStream:
    """Emits the LOADs that bring the parameters of operations to their places, on every board that uses them."""

    def __init__(self, context: Context, state: ProgramState) -> None:
        self.context, self.state = context, state
        self.due = deque(sorted(context.plan.parameter_loads.items()))
        """What is still to be loaded: (operation at which, operations whose)."""

    def load(self, task: Task) -> None:
        """Load what the plan has loaded when ``task`` comes."""
        while self.due and self.due[0][0] <= task.op:
            for op in self.due.popleft()[1]:
                for board in range(self.context.plan.boards):
                    self._load(op, board)

    def _load(self, op: int, board: int) -> None:
        dram = self.context.dram.parameters[board].get(op)
        if dram is None:
            return
        places, words = self.context.plan.activations[board].parameters[op], self.context.plan.parameter_words[op]
        count = sum(words[key] for key in places)
        load_words(self.state.emitter, board, op + 1, Memory.ACT, min(places.values()), dram, count)
        self.state.traffic[board] += count
