"""Which operations may run beside each other: the last that must be complete before each one begins."""

from collections.abc import Collection, Sequence

__all__ = ["Overlap"]


class Overlap:
    """For each operation the last one that must be complete before it begins (-1: none), in ``after``.

    Parameters
    ----------
    depths : list of int
        Operation i may begin before the ``depths[i] - 1`` operations in front of it are complete; 1: none overlaps it.
    barriers : collection of int
        Operations that begin after all before them: where the host works in between.
    """

    def __init__(self, depths: Sequence[int], barriers: Collection[int] = ()) -> None:
        self.depths, self.barriers = list(depths), set(barriers)
        self.after: list[int] = [-1] * len(self.depths)
        self._update(range(len(self.depths)))

    def deepen(self, ops: range, depth: int) -> range:
        """Another depth for some operations. Returns those for which ``after`` has changed, from first to last."""
        self.depths[ops.start : ops.stop] = [depth] * len(ops)
        return self._update(ops)

    def restore(self, ops: range, depths: Sequence[int]) -> None:
        """Depths as they were before."""
        self.depths[ops.start : ops.stop] = depths
        self._update(ops)

    def bar(self, op: int) -> range:
        """An operation is a barrier. Returns those for which ``after`` has changed, from first to last."""
        self.barriers.add(op)
        return self._update(range(op, op + 1))

    def _update(self, ops: range) -> range:
        """Reckon anew from the first of some operations on, as far as anything changes."""
        changed = [ops.start]
        index = ops.start
        while index < len(self.after):
            latest = index - 1 if index in self.barriers else index - self.depths[index]
            new = max(self.after[index - 1] if index else -1, latest)
            if new != self.after[index]:
                self.after[index] = new
                changed.append(index + 1)
            elif index >= ops.stop - 1:
                break
            index += 1
        return range(changed[0], changed[-1])
