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

    def __init__(self, words: int, bank_words: int | None = None, most: int = 0) -> None:
        self.words, self.bank_words, self.most = words, bank_words, most
        self._blocks: list[_Block] = []

    def place(self, words: int, first: int, last: int, name: str = "") -> int:
        """Address of ``words`` words, free during steps ``first`` to ``last``.

        Raises
        ------
        DoesNotFit
            If there is no such range.
        """
        busy = sorted((b.base, b.base + b.words) for b in self._blocks if b.first <= last and first <= b.last)
        starts = [0, *(high for _, high in busy)]
        spread = self.bank_words if words <= self.most else None
        if spread is not None:
            starts += range(0, self.words, spread)
        free = [
            base
            for base in sorted(set(starts))
            if base + words <= self.words and all(base + words <= low or high <= base for low, high in busy)
        ]
        if not free:
            raise DoesNotFit(
                f"{name}: {words} words do not fit beside {sum(h - low for low, h in busy)} of {self.words}"
            )
        base = free[0] if spread is None else min(free, key=lambda base: _shared(base, words, busy, spread))
        self._blocks.append(_Block(base, words, first, last))
        return base


def _shared(base: int, words: int, busy: list[tuple[int, int]], bank_words: int) -> int:
    """How many buffers lie in the banks of a range."""
    first, last = base // bank_words, (base + words - 1) // bank_words
    return sum(low // bank_words <= last and first <= (high - 1) // bank_words for low, high in busy)
