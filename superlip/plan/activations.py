"""Where every activation lies, on which board: in the activation buffer if it fits, in DRAM otherwise.

A storage stays in the activation buffer from its first writer (or the segment that loads it) to its last reader. Each
board holds the rows that it computes or reads. If not all fit, the largest goes to DRAM, and so on: its writers then
write to small *slots* that STORE empties, and its readers work in *strips* of rows that LOAD brings to a *stage* (two
or three of them, so that one is filled while another is read). Rows of such a storage that another board computes
arrive in an *inbox*.

VECTOR's parameters lie here, too. They stay where that sends nothing to DRAM, or less than they are; otherwise each
operation's are loaded for each image, and there while it may run.

Operations overlap (`schedule`), so a place is free only when the operations that may run beside its last reader are
over, too. Where that leaves too little room, fewer overlap.
"""

from collections.abc import Sequence

from superlip.ops.layout import Part
from superlip.rtl.config import NodeConfig

from .allocate import DoesNotFit, Refused
from .arrangement import Arrangement
from .board_buffer import ActivationPlan, BoardBuffer, Trial
from .lifetimes import Lifetimes, lifetimes_of
from .network import Network
from .overlap import Overlap
from .partition import Exchange

__all__ = ["plan_activations"]

DEPTHS = (2, 3, 4, 6, 8)
"""Operations that may overlap, where the activation buffer has room: tried in this order."""
MOVES = 200
"""Buffers that may move, for each operation, while single ones are tried: a longer network takes no longer for each."""
FEW_MOVES = 20
"""And those that one more of them may move, when that is used up."""


def plan_activations(
    network: Network,
    parts: Sequence[Sequence[Part]],
    exchange: Exchange,
    parameter_words: Sequence[dict[int, int]],
    config: NodeConfig,
) -> list[ActivationPlan]:
    """Plan the activation buffers of all boards.

    Parameters
    ----------
    parts : list of list of Part, by op and board
    exchange : Exchange
    parameter_words : list of dict of key to int
        Words of the parameter blocks of each op.

    Returns
    -------
    list of ActivationPlan, by board

    Raises
    ------
    Refused
        If a storage can't even be worked on in strips of one chunk.
    """
    lives = lifetimes_of(network)
    boards = [
        BoardBuffer(network, lives, [row[board] for row in parts], exchange, parameter_words, config, board)
        for board in range(len(parts[0]))
    ]
    tried = _least_traffic(network, lives, boards)
    # What follows an operation of VECTOR's own gains most: convolutions that go on meanwhile.
    count = len(network.ops)
    singly = sorted(range(1, count), key=lambda index: network.ops[index - 1].is_conv)
    for depth in DEPTHS:
        if not tried.deepen(range(count), depth):
            for index in singly:
                tried.deepen(range(index, index + 1), depth)
    size = config.act_words // config.act_banks
    return tried.spread((config.act_words, size, size // 2, size // 4, size // 8))


class _Tried:
    """What the boards try together, operations one after the other at first."""

    def __init__(
        self, network: Network, lives: Lifetimes, boards: Sequence[BoardBuffer], streamed: frozenset[int]
    ) -> None:
        self.lives, self.boards, self.streamed = lives, boards, streamed
        self.in_dram: frozenset[str] = frozenset()
        self.overlap = Overlap([1] * len(network.ops), network.cuts)
        self.arrangements = self._arrange()
        self.moves = MOVES * len(network.ops)

    def _arrange(self, spread: int = 0) -> list[Arrangement]:
        return [Arrangement(board, self._trial(spread), self.overlap.after) for board in self.boards]

    def _trial(self, spread: int = 0) -> Trial:
        return Trial(self.in_dram, tuple(self.overlap.after), spread, self.streamed)

    def spill(self) -> None:
        """Have the largest storages in DRAM until there is room for all.

        What reads DRAM loads rows ahead, so it begins when all before it is complete.

        Raises
        ------
        Refused
        """
        while True:
            try:
                for arrangement in self.arrangements:
                    arrangement.settle()
                break
            except Refused as error:
                name = arrangement.in_the_way(error.request)
                if name is None:
                    raise
            self.in_dram |= {name}
            changed = [self.overlap.bar(index) for index in self.lives.users.get(name, ())]
            for arrangement in self.arrangements:
                arrangement.spill(name)
                for ops in changed:
                    arrangement.overlap(ops)
        for arrangement in self.arrangements:
            arrangement.keep()

    def traffic(self) -> int:
        """Words over the DRAM of the board with most."""
        return max(board.traffic(self.in_dram, self.streamed) for board in self.boards)

    def deepen(self, ops: range, depth: int) -> bool:
        """Let some operations begin earlier, if there is room for it."""
        depths = self.overlap.depths[ops.start : ops.stop]
        changed = self.overlap.deepen(ops, depth)
        try:
            for arrangement in self.arrangements:
                arrangement.overlap(changed)
                self._settle(arrangement, ops)
        except DoesNotFit:
            self.overlap.restore(ops, depths)
            for arrangement in self.arrangements:
                arrangement.undo()
            return False
        for arrangement in self.arrangements:
            arrangement.keep()
        return True

    def _settle(self, arrangement: Arrangement, ops: range) -> None:
        """Find places, where single operations were changed within the moves that are left."""
        if len(ops) > 1:
            arrangement.settle()
            return
        before = arrangement.allocator.placed
        try:
            arrangement.settle(max(FEW_MOVES, self.moves))
        finally:
            self.moves -= arrangement.allocator.placed - before

    def spread(self, limits: Sequence[int]) -> list[ActivationPlan]:
        """The plans, with buffers of up to so many words spread over the banks: the first limit with room for all."""
        for limit in limits:
            try:
                arrangements = self._arrange(limit)
                for arrangement in arrangements:
                    arrangement.settle()
                return [arrangement.plan(self._trial(limit)) for arrangement in arrangements]
            except Refused:
                pass
        return [arrangement.plan(self._trial()) for arrangement in self.arrangements]


def _least_traffic(network: Network, lives: Lifetimes, boards: Sequence[BoardBuffer]) -> _Tried:
    """With parameters that all stay or all are streamed, whichever makes less traffic."""
    everything = frozenset(index for index, table in enumerate(boards[0].parameter_words) if table)
    found: list[_Tried] = []
    failed: Refused | None = None
    for streamed in (frozenset[int](), everything):
        tried = _Tried(network, lives, boards, streamed)
        try:
            tried.spill()
        except Refused as error:
            failed = error
            continue
        found.append(tried)
        if not tried.in_dram:
            break
    if not found:
        assert failed is not None
        raise failed
    return min(found, key=_Tried.traffic)
