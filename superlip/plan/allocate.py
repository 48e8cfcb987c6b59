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
    """Fit over (address, time): two buffers may share words if their lifetimes don't overlap.

    Lifetimes are inclusive steps of the program. Requests may come in any order; larger ones first waste least.

    Parameters
    ----------
    words : int
    bank_words : int, optional
        Then a buffer of up to ``most`` words is put where it shares a bank with as few as can be that live at the same
        time, since a bank serves one reader a cycle. Without it, at the lowest address.
    """

    def __init__(self, words, bank_words=None, most=0):
        self.words, self.bank_words, self.most = words, bank_words, most
        self._blocks = []

    def place(self, words, first, last, name=""):
        """Address of ``words`` words, free during steps ``first`` to ``last``.

        Raises
        ------
        DoesNotFit
            If there is no such range.
        """
        busy = sorted((b.base, b.base + b.words) for b in self._blocks if b.first <= last and first <= b.last)
        starts = [0, *(high for _, high in busy)]
        spread = self.bank_words is not None and words <= self.most
        if spread:
            starts += range(0, self.words, self.bank_words)
        free = [
            base
            for base in sorted(set(starts))
            if base + words <= self.words and all(base + words <= low or high <= base for low, high in busy)
        ]
        if not free:
            raise DoesNotFit(
                f"{name}: {words} words do not fit beside {sum(h - low for low, h in busy)} of {self.words}"
            )
        base = min(free, key=lambda base: self._shared(base, words, busy)) if spread else free[0]
        self._blocks.append(_Block(base, words, first, last))
        return base

    def _shared(self, base, words, busy):
        """How many buffers lie in the banks of a range."""
        size = self.bank_words
        first, last = base // size, (base + words - 1) // size
        return sum(low // size <= last and first <= (high - 1) // size for low, high in busy)
