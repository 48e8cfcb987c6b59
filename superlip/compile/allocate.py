"""Places buffers with lifetimes in a memory of fixed size."""

from dataclasses import dataclass

__all__ = ["Allocator", "DoesNotFit"]


class DoesNotFit(ValueError):
    """A buffer found no room."""


@dataclass
class _Block:
    base: int
    words: int
    first: int
    last: int


class Allocator:
    """First fit over (address, time): two buffers may share words if their lifetimes don't overlap.

    Lifetimes are inclusive steps of the program. Requests may come in any order; larger ones first waste least.
    """

    def __init__(self, words):
        self.words = words
        self._blocks = []

    def place(self, words, first, last, name=""):
        """Address of ``words`` words, free during steps ``first`` to ``last``.

        Raises
        ------
        DoesNotFit
            If there is no such range.
        """
        busy = sorted((b.base, b.base + b.words) for b in self._blocks if b.first <= last and first <= b.last)
        base = 0
        for low, high in busy:
            if base + words <= low:
                break
            base = max(base, high)
        if base + words > self.words:
            raise DoesNotFit(
                f"{name}: {words} words do not fit beside {sum(h - low for low, h in busy)} of {self.words}"
            )
        self._blocks.append(_Block(base, words, first, last))
        return base
