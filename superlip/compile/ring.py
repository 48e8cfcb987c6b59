"""The part of the weight buffer that blocks pass through, one behind the other."""

from collections import deque
from dataclasses import dataclass

__all__ = ["Held", "Ring"]


@dataclass(eq=False)
class Held:
    """Words [start, end) of a ring with a block that is still to be used ``uses`` times."""

    start: int
    end: int
    uses: int


class Ring:
    """Addresses for blocks that come and go in order, in words [base, base + words) of the weight buffer.

    ``take`` may run ahead of the use of a block: it gives room only where no block lies that is still to be used.
    """

    def __init__(self, base: int, words: int) -> None:
        self.base, self.words = base, words
        self._next = 0
        self._held: deque[Held] = deque()

    def fits(self, words: int) -> int | None:
        """Where a block would begin (relative), or None if there is no room yet."""
        start = self._start(words)
        return None if start is None or self._in_the_way(start, words) else start

    def _start(self, words: int) -> int | None:
        """Where the next block begins, whatever lies there: behind the last one, or at the front."""
        start = self._next if self._next + words <= self.words else 0
        return start if start + words <= self.words else None

    def _in_the_way(self, start: int, words: int) -> list[Held]:
        return [held for held in self._held if start < held.end and held.start < start + words]

    def take(self, words: int, uses: int) -> tuple[int, Held]:
        """Address of a new block that will be used ``uses`` times, and its place.

        Raises
        ------
        ValueError
            If there is no room: ask ``fits`` before.
        """
        start = self.fits(words)
        if start is None:
            raise ValueError(f"no room for {words} words in a ring of {self.words}")
        held = Held(start, start + words, uses)
        self._held.append(held)
        self._next = held.end
        return self.base + start, held

    def make_room(self, words: int) -> list[Held] | None:
        """Give up the blocks that lie where ``words`` words are to begin: their list, None if there is no place."""
        start = self._start(words)
        if start is None:
            return None
        given_up = self._in_the_way(start, words)
        self._held = deque(held for held in self._held if held not in given_up)
        return given_up

    def release(self, held: Held) -> None:
        """One use is over."""
        held.uses -= 1
        while self._held and self._held[0].uses <= 0:
            self._held.popleft()
