"""Weights that do not stay on chip: a ring in the weight buffer."""

from collections import deque

__all__ = ["Ring"]


class Ring:
    """Addresses for blocks that are used once each, in order, in words [base, base + words) of the weight buffer.

    ``take`` may run ahead of the use of a block: it gives an address only where no block that is still
    waiting for its use lies.
    """

    def __init__(self, base, words):
        self.base, self.words = base, words
        self._next = self._before = 0
        self._live = deque()

    def take(self, words):
        """Address of a new block, or None where it would overlap one that is still to be used."""
        start = self._next if self._next + words <= self.words else 0
        end = start + words
        if any(start < e and s < end for s, e in self._live):
            return None
        self._live.append((start, end))
        self._before, self._next = self._next, end
        return self.base + start

    def untake(self):
        """Give back the newest block, which was not loaded after all."""
        self._live.pop()
        self._next = self._before

    def release(self):
        """The oldest block has been used."""
        self._live.popleft()
