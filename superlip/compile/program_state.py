"""What changes while the program of an image is emitted."""

from dataclasses import dataclass, field

from superlip.ops.layout import View
from superlip.plan.bands import Band

from .context import Context
from .program import Emitter

__all__ = ["ProgramState"]


@dataclass(eq=False)
class ProgramState:
    """Where the emitters of an image's program have come to; lists are by board.

    Parameters
    ----------
    banks : list of int
        Bank of accumulators that the last sums went to.
    slots : list of int
        Number of the slot that the last results for DRAM were written to.
    parameters : list of (operation, key) or None
        Parameter block that VECTOR's lanes hold.
    staged : list of dict of str to View
        Where rows of a storage in DRAM are in the buffer, for the strip at work.
    loaded : set of (operation, storage, strip)
        Stages that are filled already.
    bands : list of Band
        What is still to be loaded of what the host wrote.
    bands_tag : int
        Tag of the instructions that do it.
    traffic : list of int
        Words of activations that crossed DRAM since the last task.
    """

    emitter: Emitter
    banks: list[int]
    slots: list[int]
    parameters: list[tuple[int, int] | None]
    staged: list[dict[str, View]]
    traffic: list[int]
    loaded: set[tuple[int, str, int]] = field(default_factory=set)
    bands: list[Band] = field(default_factory=list)
    bands_tag: int = 0

    @classmethod
    def begin(cls, context: Context) -> "ProgramState":
        """Before the first instruction."""
        boards = context.plan.boards
        emitter = Emitter(context.config, boards, context.dram.region_count)
        return cls(emitter, [0] * boards, [0] * boards, [None] * boards, [{} for _ in range(boards)], [0] * boards)

    def cut(self) -> None:
        """End the boards' programs and begin the next: VECTOR's parameters are loaded anew."""
        self.emitter.cut()
        self.parameters = [None] * len(self.parameters)

    def taken_traffic(self) -> int:
        """Words of activations over DRAM since this was last asked, of the board with most."""
        most, self.traffic = max(self.traffic), [0] * len(self.traffic)
        return most
