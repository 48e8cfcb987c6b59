"""What a long command is doing, for how long, and how much is left."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from .terminal import clean, literal

__all__ = ["Phases"]

SHOWN_SECONDS = 2
"""A phase that took longer is said to have."""


class Phases:
    """Shows on a console the phases of some work, one line each.

    On a terminal the present phase has a clock, and a bar with the time left where something calls ``part``. Elsewhere
    (a log file) a line is written when a phase begins. A context manager: what comes next is no phase any more.

    Parameters
    ----------
    console : rich Console, optional
        Without one, nothing is shown.
    note : callable of str, optional
        Told, too.
    """

    def __init__(self, console: Console | None = None, note: Callable[[str], None] | None = None):
        self._console, self._note = console, note
        self._bar = None
        if console is not None and console.is_terminal:
            columns = (
                SpinnerColumn(), _text("{task.description}"), TimeElapsedColumn(table_column=Column(no_wrap=True)),
                BarColumn(bar_width=12), _text("{task.fields[detail]}"), _TimeLeft(table_column=Column(no_wrap=True)),
            )  # fmt: skip
            self._bar = Progress(*columns, console=console, transient=True, speed_estimate_period=300)
        self._text: str | None = None
        self._task: TaskID | None = None
        self._began, self._counted = 0.0, False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._end(finished=error is None)
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, text: str) -> None:
        """A phase begins, the one before it is over."""
        self._end()
        self._text, self._began, self._counted = text, time.monotonic(), False
        if self._note is not None:
            self._note(text)
        if self._bar is not None:
            self._task = self._bar.add_task(clean(text), total=None, detail="")
            self._bar.start()
        else:
            self._print(text)

    def part(self, fraction: float, detail: str = "") -> None:
        """So much of the phase is done. The first time left is told from the second call on."""
        if self._bar is None or self._task is None:
            return
        if self._counted:
            self._bar.update(self._task, completed=fraction, detail=detail)
        else:  # what was done at that moment says nothing about the speed
            began = self._bar.tasks[-1].start_time
            self._bar.reset(self._task, total=1.0, detail=detail)
            self._bar.update(self._task, completed=fraction)
            self._bar.tasks[-1].start_time = began
            self._counted = True

    def message(self, text: str) -> None:
        """Something to know, in the middle of a phase."""
        if self._note is not None:
            self._note(text)
        self._print(text)

    def _end(self, finished=True):
        if self._bar is None or self._task is None:
            return
        took = time.monotonic() - self._began
        self._bar.remove_task(self._task)
        self._task = None
        if finished:
            self._print(f"{self._text} ({took:.0f} s)" if took > SHOWN_SECONDS else self._text)

    def _print(self, text):
        if self._console is not None:
            self._console.print(literal(f"superlip: {text}"), style="dim", soft_wrap=True)


def _text(text):
    return TextColumn(text, markup=False, table_column=Column(no_wrap=True))


class _TimeLeft(ProgressColumn):
    """``0:01:20 left``; nothing where that is not known."""

    max_refresh = 0.5

    def render(self, task):
        left = task.time_remaining
        if task.total is None or left is None:
            return Text("")
        minutes, seconds = divmod(int(left), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left", style="progress.remaining")
