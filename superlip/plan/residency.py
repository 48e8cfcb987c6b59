"""Which weights stay in the weight buffer from image to image, and how often others are loaded."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .blocks import Block
from .tasks import BlockKey, Task, WeightStep

__all__ = ["Load", "Residents", "WeightPlan", "plan_weights"]

K = TypeVar("K", bound=Hashable)


class Residents(Generic[K]):
    """Chooses which blocks stay in the weight buffer from image to image.

    Those that are used least are loaded at the worst ratio of traffic to work, so they are kept first. If all fit, all
    stay.

    Parameters
    ----------
    blocks : sequence of (key, words, uses per word and image)
    capacity : int
        Words of the buffer.
    ring_words : int
        What is left to the others, where there are any.

    Members
    -------
    address : dict of key to int
        Of the blocks that stay.
    words : int
        That they take, from address 0 on.
    """

    def __init__(self, blocks: Sequence[tuple[K, int, int]], capacity: int, ring_words: int) -> None:
        total = sum(words for _, words, _ in blocks)
        self.address: dict[K, int] = {}
        room = capacity if total <= capacity else max(0, capacity - ring_words)
        end = 0
        for key, words, _ in sorted(blocks, key=lambda block: block[2]):
            if end + words <= room:
                self.address[key] = end
                end += words
        self.words = end


@dataclass(frozen=True)
class Load:
    """A block's way through the ring: the ``number``-th time in an image that it is loaded, for ``uses`` steps."""

    key: BlockKey
    number: int
    uses: int


@dataclass(frozen=True, eq=False)
class WeightPlan:
    """The weight buffer of one board.

    Parameters
    ----------
    blocks : dict of key to Block
        All that the board uses, in the order of their first use.
    residents : dict of key to int
        Addresses of those that stay.
    ring : (address, words)
        Where the others pass through.
    """

    blocks: dict[BlockKey, Block]
    residents: dict[BlockKey, int]
    ring: tuple[int, int]


def plan_weights(
    order: Sequence[Task], boards: int, weight_words: int
) -> tuple[list[WeightPlan], list[list[Load | None]]]:
    """Plan the weight buffers.

    Parameters
    ----------
    order : sequence of Task
    weight_words : int
        Of a board's buffer.

    Returns
    -------
    list of WeightPlan, by board; and for each task what its weight steps load (None: nothing, the block stays)
    """
    plans = []
    loads: dict[int, Load] = {}
    for board in range(boards):
        steps = [step for task in order for step in task.weight_steps if step.board == board]
        plan = _plan_board(steps, weight_words)
        plans.append(plan)
        loads |= _loads([step for step in steps if step.key not in plan.residents], plan)
    return plans, [[loads.get(id(step)) for step in task.weight_steps] for task in order]


def _plan_board(steps: Sequence[WeightStep], weight_words: int) -> WeightPlan:
    blocks = {step.key: step.block for step in steps}
    used: Counter[BlockKey] = Counter()
    for step in steps:
        used[step.key] += step.sums
    # The ring has room for two of the largest blocks, one at work and one on its way.
    largest = max((block.words for block in blocks.values()), default=0)
    ring_words = min(weight_words, max(2 * largest, weight_words // 2))
    residents = Residents([(key, block.words, used[key]) for key, block in blocks.items()], weight_words, ring_words)
    return WeightPlan(blocks, residents.address, (residents.words, weight_words - residents.words))


def _loads(steps: Iterable[WeightStep], plan: WeightPlan) -> dict[int, Load]:
    """What each step, by its id, loads: a layer that fits half of the ring as a whole is loaded once, however often its
    blocks are used; a block of another for each step that uses it."""
    op_words: Counter[int] = Counter()
    for (op, *_), block in plan.blocks.items():
        op_words[op] += block.words
    steps = list(steps)
    uses = Counter(step.key for step in steps)
    seen: Counter[BlockKey] = Counter()
    loads = {}
    for step in steps:
        kept = op_words[step.op] <= plan.ring[1] // 2
        loads[id(step)] = Load(step.key, 0 if kept else seen[step.key], uses[step.key] if kept else 1)
        seen[step.key] += 1
    return loads
