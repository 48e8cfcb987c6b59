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

from .board_buffer import ActivationPlan, BoardBuffer, NoRoom, Trial
from .lifetimes import lifetimes_of
from .network import Network
from .partition import Exchange
from .schedule import starts_after

__all__ = ["plan_activations"]

DEPTHS = (2, 3, 4, 6, 8)
"""Operations that may overlap, where the activation buffer has room: tried in this order."""


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
    NoRoom
        If a storage can't even be worked on in strips of one chunk.
    """
    lives = lifetimes_of(network)
    boards = [
        BoardBuffer(network, lives, [row[board] for row in parts], exchange, parameter_words, config, board)
        for board in range(len(parts[0]))
    ]
    depths = [1] * len(network.ops)
    in_dram, streamed = _what_goes_to_dram(network, boards, parameter_words)

    def tried(depths: list[int], spread: int = 0) -> list[ActivationPlan]:
        trial = Trial(in_dram, _starts_after(network, depths, in_dram), spread, streamed)
        return [board.plan(trial) for board in boards]

    plans = tried(depths)

    def accept(changed: list[int], spread: int = 0) -> bool:
        nonlocal depths, plans
        try:
            plans = tried(changed, spread)
        except NoRoom:
            return False
        depths = changed
        return True

    # What follows an operation of VECTOR's own gains most: convolutions that go on meanwhile.
    waits = [index for index in range(1, len(depths)) if not network.ops[index - 1].is_conv]
    for depth in DEPTHS:
        if not accept([depth] * len(depths)):
            for index in sorted(range(1, len(depths)), key=lambda index: index not in waits):
                accept([*depths[:index], depth, *depths[index + 1 :]])
    size = config.act_words // config.act_banks
    any(accept(depths, most) for most in (config.act_words, size, size // 2, size // 4, size // 8))
    return plans


def _what_goes_to_dram(
    network: Network, boards: Sequence[BoardBuffer], parameter_words: Sequence[dict[int, int]]
) -> tuple[frozenset[str], frozenset[int]]:
    """Storages, and operations whose parameters are streamed: all or none, whichever makes less traffic."""
    everything = frozenset(index for index, table in enumerate(parameter_words) if table)
    found: list[tuple[frozenset[str], frozenset[int]]] = []
    failed: NoRoom | None = None
    for streamed in (frozenset[int](), everything):
        try:
            found.append((_spilled(network, boards, streamed), streamed))
        except NoRoom as error:
            failed = failed or error
        if found and not found[0][0]:
            break
    if not found:
        assert failed is not None
        raise failed
    return min(found, key=lambda choice: max(board.traffic(*choice) for board in boards))


def _spilled(network: Network, boards: Sequence[BoardBuffer], streamed: frozenset[int]) -> frozenset[str]:
    """Storages that must go to DRAM, the largest first, where no operations overlap."""
    in_dram: frozenset[str] = frozenset()
    while True:
        trial = Trial(in_dram, _starts_after(network, [1] * len(network.ops), in_dram), streamed=streamed)
        try:
            for board in boards:
                board.plan(trial)
            return in_dram
        except NoRoom as error:
            if error.spill is None:
                raise
            in_dram |= {error.spill}


def _starts_after(network: Network, depths: Sequence[int], in_dram: frozenset[str]) -> tuple[int, ...]:
    """`starts_after`. What reads DRAM loads rows ahead, so it begins when all before it is complete."""
    barriers = set(network.cuts)
    for index, op in enumerate(network.ops):
        if any(place.storage.name in in_dram for place in op.inputs):
            barriers.add(index)
    return tuple(starts_after(depths, barriers))
