"""Places buffers with lifetimes in a memory of fixed size, and places them anew where lifetimes change."""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Allocator", "DoesNotFit", "Key", "Refused", "Request", "TooManyMoves"]

Key = tuple[int, ...]


class DoesNotFit(ValueError):
    """A buffer found no room."""


class TooManyMoves(DoesNotFit):
    """So many buffers would have to be placed anew that it is not done."""


class Refused(DoesNotFit):
    """``request``: what found no room."""

    def __init__(self, message: str, request: "Request") -> None:
        super().__init__(message)
        self.request = request


@dataclass(frozen=True)
class Request:
    """A buffer that wants room during steps ``first`` to ``last``, both included.

    Those of smaller ``key`` are placed before it. It takes the first of ``sizes``, in words, for which there is room.
    """

    key: Key
    name: str
    sizes: Sequence[int]
    first: int
    last: int


@dataclass(frozen=True)
class _Place:
    base: int
    words: int
    choice: int

    @property
    def end(self) -> int:
        return self.base + self.words


class Allocator:
    """Fit over (address, time): two buffers may share words if their lifetimes don't overlap.

    Buffers are placed in the order of their keys, each where those before it leave room. After a change only those are
    placed anew that it may move: the places are those that all would get from the start.

    Parameters
    ----------
    words : int
    bank_words : int, optional
        Then a buffer of up to ``most`` words is put where it shares a bank with as few as can be that live at the same
        time, since a bank serves one reader a cycle. Without it, at the lowest address.
    """

    def __init__(self, words: int, bank_words: int | None = None, most: int = 0) -> None:
        self.words, self.bank_words, self.most = words, bank_words, most
        self.requests: dict[Key, Request] = {}
        self.placed = 0
        """How often a buffer was placed."""
        self._places: dict[Key, _Place] = {}
        self._alive: defaultdict[int, set[Key]] = defaultdict(set)
        self._begin: defaultdict[int, set[Key]] = defaultdict(set)
        self._dirty: set[Key] = set()
        self._queue: list[Key] = []
        self._before: dict[Key, tuple[Request | None, _Place | None]] = {}

    def base(self, key: Key) -> int:
        """Address of a buffer that is placed."""
        return self._places[key].base

    def choice(self, key: Key) -> int:
        """Which of its sizes a buffer that is placed has."""
        return self._places[key].choice

    def put(self, request: Request) -> None:
        """Ask for a buffer, or for another lifetime of one; ``settle`` places it."""
        key = request.key
        self._remember(key)
        old, place = self.requests.get(key), self._places.get(key)
        if old is not None:
            if place is not None and not request.first <= old.first <= old.last <= request.last:
                self._disturb(old, place, None)
            self._set(key, None)
        self._set(key, request)
        self._mark(key)

    def remove(self, key: Key) -> None:
        """Ask for a buffer no more."""
        self._remember(key)
        place = self._places.pop(key, None)
        if place is not None:
            self._disturb(self.requests[key], place, None)
        self._set(key, None)

    def settle(self, most: int | None = None) -> None:
        """Place what is asked for, ``most`` buffers at most.

        Raises
        ------
        Refused
            If there is no room for a buffer, the first of them; those before it are placed.
        TooManyMoves
        """
        end = None if most is None else self.placed + most
        while self._queue:
            key = self._queue[0]
            if key in self._dirty:
                if self.placed == end:
                    raise TooManyMoves(f"more than {most} buffers would move")
                self._place(self.requests[key])
                self._dirty.discard(key)
                self.placed += 1
            heapq.heappop(self._queue)

    def keep(self) -> None:
        """All is as it should be: ``undo`` comes back to here."""
        self._before.clear()

    def undo(self) -> None:
        """Ask for what was asked for when all was last as it should be, and have it where it lay."""
        self._dirty.clear()
        self._queue.clear()
        for key, (request, place) in self._before.items():
            if key in self.requests:
                self._set(key, None)
            self._places.pop(key, None)
            if request is not None:
                self._set(key, request)
            if place is not None:
                self._places[key] = place
        self._before.clear()

    def _remember(self, key: Key) -> None:
        if key not in self._before:
            self._before[key] = self.requests.get(key), self._places.get(key)

    def _set(self, key: Key, request: Request | None) -> None:
        """Have a request for a key where there is none, or none where there is one."""
        if request is None:
            old = self.requests.pop(key)
            self._begin[old.first].discard(key)
            for step in range(old.first, old.last + 1):
                self._alive[step].discard(key)
            self._dirty.discard(key)
        else:
            self.requests[key] = request
            self._begin[request.first].add(key)
            for step in range(request.first, request.last + 1):
                self._alive[step].add(key)

    def _mark(self, key: Key) -> None:
        if key not in self._dirty:
            self._dirty.add(key)
            heapq.heappush(self._queue, key)

    def _beside(self, request: Request) -> Iterator[Key]:
        """Keys of the requests that live at the same time, its own included."""
        yield from self._alive[request.first]
        for step in range(request.first + 1, request.last + 1):
            yield from self._begin[step]

    def _disturb(self, request: Request, old: _Place | None, new: _Place | None) -> None:
        """Have those placed anew that the way of a buffer from one place to another may move.

        At lowest addresses, those in whose way it comes, and those above of what it leaves.
        """
        for key in self._beside(request):
            place = self._places.get(key)
            if key <= request.key or place is None:
                continue
            left = old is not None and (old.base < place.base or place.choice > 0)
            if self.most or left or (new is not None and new.base < place.end and place.base < new.end):
                self._mark(key)

    def _place(self, request: Request) -> None:
        beside = [self._places[key] for key in self._beside(request) if key < request.key]
        busy = sorted((place.base, place.end) for place in beside)
        fitting = ((choice, self._fit(words, busy)) for choice, words in enumerate(request.sizes))
        choice, base = next(((choice, base) for choice, base in fitting if base is not None), (0, None))
        if base is None:
            beyond = f"beside {sum(b - a for a, b in busy)} of {self.words}"
            raise Refused(f"{request.name}: {request.sizes[-1]} words do not fit {beyond}", request)
        old, new = self._places.get(request.key), _Place(base, request.sizes[choice], choice)
        self._remember(request.key)
        self._places[request.key] = new
        self._disturb(request, None if old == new else old, new)

    def _fit(self, words: int, busy: list[tuple[int, int]]) -> int | None:
        spread = self.bank_words if words <= self.most else None
        if spread is None:
            base = 0
            for low, high in busy:
                if base + words <= low:
                    break
                base = max(base, high)
            return base if base + words <= self.words else None
        starts = {0, *(high for _, high in busy), *range(0, self.words, spread)}
        free = [
            base
            for base in sorted(starts)
            if base + words <= self.words and all(base + words <= low or high <= base for low, high in busy)
        ]
        return min(free, key=lambda base: _shared(base, words, busy, spread), default=None)


def _shared(base: int, words: int, busy: list[tuple[int, int]], bank_words: int) -> int:
    """How many buffers lie in the banks of a range."""
    first, last = base // bank_words, (base + words - 1) // bank_words
    return sum(low // bank_words <= last and first <= (high - 1) // bank_words for low, high in busy)
