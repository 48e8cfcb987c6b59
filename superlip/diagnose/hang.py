"""Why a run stopped: the instruction that a unit failed in, or waits at, and the one whose post it lacks.

In a right program the oldest instruction that is not done can always run (`superlip.compile.program`). So the first
one in the program of a board that is not done is where a hang begins; if it waits for another board, the first one
there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from superlip.boards import Target
from superlip.rtl.config import DRAM_ADDRESS_BITS
from superlip.rtl.isa import LINK_SOURCES, Memory, Opcode, Unit, VectorOp, table_words
from superlip.sim.result import NodeError, RunResult, UnitState

from .programs import BoardPrograms, Listed, source_name

__all__ = ["Hang", "Reached", "explain_hang", "failing_instruction"]

TAKEN_AHEAD = 8
"""Instructions that a unit may have taken and not done."""


@dataclass(frozen=True, eq=False)
class Reached:
    """How far each unit of each board came in one image (-1: in the init programs).

    Parameters
    ----------
    done : ndarray int, shape (boards, units)
        Instructions done, all segments of the image.
    last : int
        Cycle, from the start of the image, in which the last instruction was done.
    """

    image: int
    done: np.ndarray
    last: int

    @classmethod
    def of(cls, result: RunResult, image: int) -> "Reached":
        """From a RunResult with a profile."""
        mine = result.profile[result.profile["image"] == image]
        done = np.zeros((result.boards, len(Unit)), np.int64)
        np.add.at(done, (mine["node"], mine["unit"]), mine["taken"])
        return cls(image, done, int(mine["last_done"].max(initial=0)))

    @property
    def init(self) -> bool:
        return self.image < 0

    def instruction(self, programs: BoardPrograms, board: int, unit: Unit) -> Listed | None:
        """The first instruction of a unit that is not done, or None."""
        mine = programs.of(unit, init=self.init)
        return mine[self.done[board, unit]] if self.done[board, unit] < len(mine) else None


@dataclass(eq=False)
class Hang:
    """Where a run hangs.

    Parameters
    ----------
    instruction : Listed or None
        The one that waits or makes no progress.
    source : str or None
        Unit (or "remote 6") whose post it lacks.
    poster : Listed or None
        The instruction that should post: the compiler's.
    culprit : Listed or None
        The instruction in DRAM that should have posted by now and does not.
    steps : list of str
        The way from the first board to there, in sentences.
    """

    instruction: Listed | None = None
    source: str | None = None
    poster: Listed | None = None
    culprit: Listed | None = None
    steps: list[str] = field(default_factory=list)


def explain_hang(
    states: Sequence[UnitState],
    reached: Reached,
    board: int,
    loaded: Sequence[BoardPrograms],
    reference: Sequence[BoardPrograms],
) -> Hang:
    """Follow a hang to its root.

    Parameters
    ----------
    states : list of UnitState
    reached : Reached
    board : int
        Where to begin.
    loaded, reference : list of BoardPrograms, one for each board
        As they lie in the boards' DRAM, and as the compiler makes them.
    """
    by_unit = {(state.node, state.unit): state for state in states}
    hang, seen = Hang(), set()
    while board not in seen:
        seen.add(board)
        oldest = _oldest(reached, board, loaded[board], by_unit)
        if oldest is None:
            hang.steps.append(f"board {board} has done all its instructions")
            break
        unit = Unit(int(oldest.opcode))
        state = by_unit.get((board, unit))
        hang.instruction = oldest
        if state is None or state.busy or not state.lacking:
            doing = "is busy with" if state is not None and state.busy else "was not given"
            hang.steps.append(f"board {board}: {unit.name} {doing} {_short(oldest)} and makes no progress")
            break
        following = None
        for name in state.lacking:
            following = _lacking(hang, reached, oldest, _source_number(name), loaded, reference)
            if hang.culprit is not None:
                return hang
        if following is None:
            break
        board = following
    return hang


def _oldest(reached, board, programs, states):
    """The first instruction in a board's program that is not done. A busy FEED waits for MATMUL: it is left out."""
    listed = programs.init if reached.init else programs.image
    open_ = [i for i in listed if i.number >= reached.done[board, int(i.opcode)]]
    feed = states.get((board, Unit.FEED))
    others = [i for i in open_ if i.opcode is not Opcode.FEED] if feed is not None and feed.busy else open_
    return next(iter(others or open_), None)


def _lacking(hang, reached, waiting, source, loaded, reference):
    """Say what is known of a post that is lacking; the board to go on with, or None."""
    board, unit = waiting.board, Unit(int(waiting.opcode))
    before = loaded[board].of(unit, init=reached.init)[: waiting.number + 1]
    need = sum(i.waits.get(source, 0) for i in before)
    hang.source = source_name(source)
    other = board if source < len(Unit) else _sender(board, len(loaded))
    mine, right = (_posters(programs[other], board, unit, source, reached.init) for programs in (loaded, reference))
    sender = Unit(source) if source < len(Unit) else Unit.SEND
    done = reached.done[other, sender]
    posted, expected = (sum(i.number < done for i in posters) for posters in (mine, right))
    hang.poster = right[need - 1] if need <= len(right) else None
    whose = sender.name if source < len(Unit) else f"board {other}'s {sender.name}"
    hang.steps.append(f"board {board}: {unit.name} waits at {_short(waiting)} for post {need} of {whose}")
    if hang.poster is None:
        hang.steps.append(f"the compiler's {sender.name} posts to {unit.name} {len(right)} times only")
        return None
    state = "is done" if hang.poster.number < done else "is not done"
    if other == board and _order(hang.poster) > _order(waiting):
        state += ", and comes behind it: the program lacks a post"
    hang.steps.append(f"the compiler's {_short(hang.poster)} gives it, and {state}")
    if posted < expected:
        hang.culprit = _first_lost(mine, right, done, loaded[other].of(sender, init=reached.init))
        hang.steps.append(
            f"{sender.name} has done {done} instructions; with the compiler's program it would have posted {expected} "
            f"times, with the one in DRAM {posted}: {_short(hang.culprit)} should post and does not"
        )
        return None
    if posted >= need:
        hang.steps.append(f"{sender.name} has posted {posted} times: a post was lost on its way")
        return None
    return other if other != board else None


def _order(instruction):
    """Place in the programs of a board."""
    return instruction.segment, instruction.position


def _posters(programs, board, unit, source, init):
    """Instructions that post to one counter, in order."""
    if source < len(Unit):
        return [i for i in programs.of(Unit(source), init=init) if i.posts_to(unit)]
    return [i for i in programs.of(Unit.SEND, init=init) if i.posts_remotely(board, unit, source)]


def _first_lost(mine, right, done, sent):
    numbers = {i.number for i in mine}
    lost = next(i.number for i in right if i.number < done and i.number not in numbers)
    return sent[lost]


def _sender(board, boards):
    """The board whose frames arrive at ``board``: the one before it."""
    return (board - 1) % boards


def _short(instruction):
    return f"{instruction.opcode.name} #{instruction.number} ({instruction.where})"


def _source_number(name):
    return next(s for s in (*Unit, *LINK_SOURCES) if source_name(s) == name)


# -- errors ------------------------------------------------------------------------------------------------


def failing_instruction(error: NodeError, reached: Reached, programs: BoardPrograms, target: Target) -> Listed | None:
    """The instruction that raised a unit's error (NodeError), or None: the first that can have, of those not done."""
    if error.unit not in Unit.__members__:
        return None
    unit = Unit[error.unit]
    mine = programs.of(unit, init=reached.init)[reached.done[error.node, unit] :][:TAKEN_AHEAD]
    suspects: Iterator[Listed]
    if error.code.name == "ADDRESS":
        suspects = (i for i in mine if any(_outside(*e, error.syndrome) for e in _extents(i, target.node)))
    elif error.code.name in ("AXI_READ", "AXI_WRITE"):
        size = (target.dram.megabytes << 20) // target.node.tn
        suspects = (i for i in mine if _last(i.body, "dram") % (1 << DRAM_ADDRESS_BITS) >= size)
    else:
        suspects = iter(mine)
    return next(suspects, mine[0] if mine else None)


def _outside(size, low, high, address):
    return high >= size and low <= address <= high


def _last(body, place):
    """Last word that a copy touches from ``place`` (``local``, ``dram``) on."""
    rows, planes = max(body["count1"], 1) - 1, max(body["count2"], 1) - 1
    strides = body[f"{place}_stride1"], body[f"{place}_stride2"]
    return body[place] + rows * strides[0] + planes * strides[1] + max(body["count0"], 1) - 1


def _extents(instruction, node) -> list[tuple[int, int, int]]:
    """(words of the memory, first, last word) of what an instruction reads and writes on chip."""
    body = instruction.body
    sizes = {Memory.ACT: node.act_words, Memory.WEIGHT: node.weight_words}
    match instruction.opcode:
        case Opcode.LOAD | Opcode.STORE | Opcode.SEND:
            return [(sizes[Memory(body["memory"])], body["local"], _last(body, "local"))]
        case Opcode.FEED:
            return [(node.weight_words, body["weights"], body["weights"] + body["sets"] * body["rows"] - 1)]
        case Opcode.MATMUL:
            return [(node.act_words, body["act"], _window_end(body, "act") + (body["n_tiles"] - 1) * body["plane"])]
    end = (body["rows"] - 1) * body["dest_pitch"] + (body["cols"] - 1) * body["dest_step"]
    extents = [(node.act_words, body["dest"], body["dest"] + end)]
    if body["op"] != VectorOp.REQUANTIZE:
        extents.append((node.act_words, body["source"], _window_end(body, "source")))
    if body["op"] in (VectorOp.ADD, VectorOp.MUL):
        end = body["source_b"] + (body["rows"] - 1) * body["pitch_b"] + body["cols"] - 1
        extents.append((node.act_words, body["source_b"], end))
    if body["load_params"] or body["load_table"]:
        extents.append((node.act_words, body["params"], body["params"] + 8 + table_words(node.tn)))
    return extents


def _window_end(body, name):
    return body[name] + (body["height"] - 1) * body["pitch"] + body["width"] - 1
