"""To which layer each cycle belongs: the rule of the reports (docs/numbers.md), on reckoned cycles."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superlip.rtl.isa import LINK_SOURCES, Unit

from .instructions import Instruction

__all__ = ["Run", "add_layers"]

_IDLE = -1


@dataclass(frozen=True, eq=False)
class Run:
    """A segment: ``instructions`` by board and unit, in order; ``ends``: the cycle of each board's interrupt."""

    instructions: list[list[list[Instruction]]]
    ends: list[int]


class _Work:
    """What a unit is at: the layer of its oldest instruction that is not done, from its arrival on."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.tags: list[int] = []
        end = 0
        for instruction in instructions:
            begin, end = max(end, instruction.offered), instruction.done + 1
            self.begins.append(min(begin, end))
            self.ends.append(end)
            self.tags.append(instruction.tag)

    def between(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """(layer or _IDLE, cycles) of the cycles from ``first`` to ``end`` - 1."""
        at = max(0, bisect_right(self.begins, first) - 1)
        while first < end:
            while at < len(self.ends) and self.ends[at] <= first:
                at += 1
            if at == len(self.ends):
                yield _IDLE, end - first
                return
            if self.begins[at] > first:
                until, tag = min(end, self.begins[at]), _IDLE
            else:
                until, tag = min(end, self.ends[at]), self.tags[at]
            yield tag, until - first
            first = until


def add_layers(found: NDArray[np.int64], run: Run, board: int, sums: Collection[int], *, first: bool) -> None:
    """Add a run's cycles to their layers.

    Parameters
    ----------
    found : ndarray int64, shape (layers,)
    board : int
        Whose MATMUL counts: a cycle belongs to the layer whose instruction sends a pixel or can't begin; but while it
        waits for VECTOR, which works on a layer not in ``sums``, or for LOAD, which is at the input, to that one.
    first : bool
        It is the first segment: what comes before any instruction belongs to the input.
    """
    units = run.instructions[board]
    vector, load = _Work(units[Unit.VECTOR]), _Work(units[Unit.LOAD])
    cycle, last = 0, 0

    def wait(until: int, layer: int) -> None:
        nonlocal cycle
        for tag, cycles in vector.between(cycle, until):
            found[tag if tag > 0 and tag not in sums else layer] += cycles
        cycle = max(cycle, until)

    def wait_for_load(until: int, layer: int) -> None:
        nonlocal cycle
        for tag, cycles in load.between(cycle, until):
            found[0 if tag == 0 else layer] += cycles
        cycle = max(cycle, until)

    for instruction in units[Unit.MATMUL]:
        last = instruction.tag
        linked = max((at for source, at in instruction.met if source in LINK_SOURCES), default=0)
        loaded = max((at for source, at in instruction.met if source == Unit.LOAD), default=0)
        wait(min(instruction.taken, max(instruction.offered, linked)), last)
        wait_for_load(min(instruction.taken, loaded), last)
        wait(instruction.taken, last)
        end = max(cycle, instruction.last + 1)
        found[last] += end - cycle
        cycle = end
    wait(max(run.ends), last if last or not first else 0)
