"""A board's DRAM: reads and writes share its bandwidth burst by burst, where ``superlip.sim`` shares it by beats."""

from collections import deque
from collections.abc import Callable
from math import ceil, inf

from superlip.boards import Target

from .clock import Clock

__all__ = ["Dram"]

_EPSILON = 1e-6

_Burst = tuple[int, float, float, Callable[[int], None]]
"""Earliest cycle, beats of a port, bytes, and whom to tell."""


class _Stream:
    """Bursts of one direction, in order, and what is left of the one that moves."""

    __slots__ = ("beats", "bursts", "bytes", "tell")

    def __init__(self) -> None:
        self.bursts: deque[_Burst] = deque()
        self.beats = self.bytes = 0.0
        self.tell: Callable[[int], None] | None = None


class Dram:
    """Reads and writes, each in order. While both have something to do, each gets half of what there is.

    A burst over all ports is one here; a beat of it is a word.
    """

    def __init__(self, clock: Clock, target: Target) -> None:
        self.clock, dram, node = clock, target.dram, target.node
        self.rate, self.latency = dram.bytes_per_cycle, dram.latency
        self.word, self.overhead = node.word_bytes, dram.burst_overhead * dram.bytes_per_cycle
        self.ports = node.axi_ports
        self.reads, self.writes = _Stream(), _Stream()
        self._since = 0.0
        self._version = 0

    def read(self, cycle: int, words: int, tell: Callable[[int], None]) -> None:
        """A burst of words on all ports, asked for in a cycle; ``tell`` gets the cycle in which the last word comes."""
        self._add(self.reads, (cycle + self.latency, words, words * self.word + self.overhead, tell))

    def fetch(self, cycle: int, beats: int, bytes_: int, first: bool, tell: Callable[[int], None]) -> None:
        """Beats on port 0 alone, the first ones of a burst or later ones."""
        overhead = self.overhead / self.ports if first else 0.0
        # The other ports go on meanwhile, so what the burst costs on top is lost to all.
        self._add(self.reads, (cycle + self.latency, beats + overhead / self.rate, bytes_ + overhead, tell))

    def write(self, cycle: int, words: int, tell: Callable[[int], None]) -> None:
        """A burst of words on all ports, of which the first is there in a cycle; ``tell``: when it is answered."""
        delay = max(1, self.latency)
        self._add(self.writes, (cycle, words, words * self.word + self.overhead, lambda last: tell(last + delay)))

    def _add(self, stream: _Stream, burst: _Burst) -> None:
        stream.bursts.append(burst)
        if stream.tell is None and len(stream.bursts) == 1:
            self._go_on()

    def _next(self) -> tuple[float, _Stream | None]:
        """What happens next: the end of a burst, or the beginning of one."""
        first, which, share = inf, None, self._share
        for stream in (self.reads, self.writes):
            if stream.tell is not None:
                cycle = self._since + max(stream.beats, stream.bytes / share)
            elif stream.bursts:
                cycle = max(self._since, stream.bursts[0][0])
            else:
                continue
            if cycle < first:
                first, which = cycle, stream
        return first, which

    def _go_on(self) -> None:
        """All that happens up to now; then come back for what is next."""
        now = self.clock.now
        while True:
            cycle, stream = self._next()
            if stream is None or cycle > now:
                break
            self._pass(cycle)
            if stream.tell is None:
                _, stream.beats, stream.bytes, stream.tell = stream.bursts.popleft()
            else:
                tell, stream.tell = stream.tell, None
                tell(ceil(cycle - _EPSILON) - 1)
        self._pass(now)
        self._version += 1
        cycle, stream = self._next()
        if stream is not None:
            self.clock.at(max(now, ceil(cycle - _EPSILON)), self._come_back, self._version)

    def _pass(self, until: float) -> None:
        """Time goes by."""
        passed, share = until - self._since, self._share
        if passed > 0:
            for stream in (self.reads, self.writes):
                if stream.tell is not None:
                    stream.beats -= passed
                    stream.bytes -= passed * share
            self._since = until

    def _come_back(self, version: int) -> None:
        if version == self._version:
            self._go_on()

    @property
    def _share(self) -> float:
        """Bytes a cycle for each direction that works."""
        return self.rate / 2 if self.reads.tell is not None and self.writes.tell is not None else self.rate
