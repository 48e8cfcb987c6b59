"""What tests of the compiler's emitters begin with: a context, and the state of a program that is still empty."""

import dataclasses
from types import SimpleNamespace

from superlip.boards import TARGETS
from superlip.compile.context import make_context
from superlip.compile.moves import Moves
from superlip.compile.program_state import ProgramState
from superlip.compile.stages import Stages
from superlip.compile.vector import VectorWork
from superlip.plan.lower import lower
from superlip.plan.planner import make_plan

TINY = TARGETS["tiny"]


def node(**sizes):
    """The tiny target with other sizes of its node."""
    return dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, **sizes))


def begin(graph, boards=1, *, split=None, target=TINY):
    """Emitters of a graph's program, before the first instruction."""
    network = lower(graph, target.node.tn)
    plan = make_plan(network, target, boards, split=split)
    context = make_context(network, plan, target)
    state = ProgramState.begin(context)
    moves = Moves(context, state)
    stages = Stages(context, state, moves)
    return SimpleNamespace(
        network=network, plan=plan, context=context, state=state, moves=moves, stages=stages,
        vector=VectorWork(context, state, moves, stages),
    )  # fmt: skip


def emitted(state, board=0):
    """(opcode, fields) of a board's instructions, in order."""
    return [(instruction.opcode, instruction.body) for instruction in state.emitter.streams[board]]
