"""The programs of an image: what comes after what, and where the host comes in between."""

import numpy as np

from superlip.plan.tasks import Task
from superlip.rtl.isa import Opcode

from .compiled import BoardImage
from .context import Context
from .convolutions import Convolutions
from .host_exchange import HostExchange
from .moves import Moves
from .parameters import ParameterStream
from .program_state import ProgramState
from .stages import Stages
from .vector import VectorWork
from .weight_stream import WeightStream

__all__ = ["emit_image_programs"]


class _ImagePrograms:
    """The emitters of an image's program, around one state."""

    def __init__(self, context: Context) -> None:
        self.context, self.state = context, ProgramState.begin(context)
        moves = Moves(context, self.state)
        self.host = HostExchange(context, self.state, moves)
        self.stages = Stages(context, self.state, moves)
        self.vector = VectorWork(context, self.state, moves, self.stages)
        self.convolutions = Convolutions(context, self.state, self.stages, self.vector)
        self.weights = WeightStream(context, self.state)
        self.parameters = ParameterStream(context, self.state)

    def run(self) -> None:
        """All tasks, in order, in segments: each ends with what the host reads of it and begins with what it wrote."""
        network, cuts = self.context.network, self.context.network.cuts
        self.host.give(0)
        segment = 0
        for number, task in enumerate(self.context.plan.order):
            while segment < len(cuts) and task.op >= cuts[segment]:
                segment += 1
                self._cut(segment)
            self._task(number, task)
        while segment < len(cuts):
            segment += 1
            self._cut(segment)
        self.host.load(None)
        self.host.store(network.outputs)

    def _cut(self, segment: int) -> None:
        self.host.load(None)
        self.host.store(self.context.network.host_reads(segment))
        self.state.cut()
        self.host.give(self.context.network.cuts[segment - 1])

    def _task(self, number: int, task: Task) -> None:
        blocks = self.weights.begin(number)
        for board, strip in task.strips():
            self.stages.fill(task.op, strip, board)
        self.host.load(task)
        self.parameters.load(task)
        for step, place in zip(task.weight_steps, blocks, strict=True):
            self.convolutions.emit(step, place)
        for at in task.vector_steps:
            self.vector.emit(task.op, at)
        self.weights.end(number, self.state.taken_traffic())


def emit_image_programs(context: Context, init_programs: list[int]) -> list[BoardImage]:
    """Emit the programs of an image: what each board is given, its init program included."""
    programs = _ImagePrograms(context)
    programs.run()
    emitter = programs.state.emitter
    images = []
    for board, (dram, segments, encoded) in enumerate(
        zip(context.dram.images, emitter.segments(), emitter.finish(), strict=True)
    ):
        instructions = [i for segment in segments for i in segment]
        images.append(
            BoardImage(
                dram,
                init_programs[board],
                [dram.place_program(program) for program in encoded],
                context.dram.base[board],
                [i.note for i in instructions if i.opcode is Opcode.VECTOR],
                [
                    np.array([i.for_input for i in segment if i.opcode is Opcode.MATMUL], dtype=bool)
                    for segment in segments
                ],
                len(instructions) + len(encoded),
                programs.weights.boards[board].words_loaded,
            )
        )
    return images
