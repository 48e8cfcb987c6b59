"""Time: what happens next, and those who wait for it."""

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from itertools import count

__all__ = ["Clock", "Process", "Signal", "Wait"]


class Signal:
    """Something that processes wait for, without a value: each looks again for what it needs when it is given."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Generator[int | Signal, None, None]] = []


Wait = int | Signal
"""What a process waits for: a cycle, or a signal."""

Process = Generator[Wait, None, None]


class Clock:
    """Runs processes and calls in order of time; ``now`` is the present cycle.

    A process is a generator that yields what it waits for. A cycle that has passed is now.
    """

    def __init__(self) -> None:
        self.now = 0
        self._later: list[tuple[int, int, Callable[..., None], tuple]] = []
        self._number = count()

    def at(self, cycle: int, call: Callable[..., None], *arguments: object) -> None:
        """Call in a cycle."""
        heappush(self._later, (cycle, next(self._number), call, arguments))

    def begin(self, process: Process) -> None:
        """Let a process go on until it waits."""
        self._go_on(process)

    def give(self, signal: Signal) -> None:
        """Wake those who wait for a signal."""
        if signal.waiting:
            waiting, signal.waiting = signal.waiting, []
            for process in waiting:
                self._go_on(process)

    def run(self) -> None:
        """Until nothing is left to happen."""
        later = self._later
        while later:
            cycle, _, call, arguments = heappop(later)
            self.now = max(self.now, cycle)
            call(*arguments)

    def _go_on(self, process: Process) -> None:
        for wait in process:
            if isinstance(wait, Signal):
                wait.waiting.append(process)
            elif wait > self.now:
                self.at(wait, self._go_on, process)
            else:
                continue
            return
