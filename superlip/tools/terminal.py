"""What people read, on a terminal or in a pipe: text of unknown origin shown as it is, tables that lose nothing."""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "Column", "Fit", "OutputClosed", "Row", "clean", "counted", "drop_output", "flush_output", "literal",
    "make_console", "open_streams", "print_table", "print_text", "shortened",
]  # fmt: skip


class OutputClosed(Exception):
    """Whoever read the standard output or error has closed it: there is no one to tell."""


class _Console(Console):
    """One that leaves a closed pipe to its caller, where rich ends the process with the status 1."""

    def on_broken_pipe(self):
        raise OutputClosed


def counted(count: int, noun: str) -> str:
    """``2 boards``, ``1 board``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def make_console(*, stderr: bool = False) -> Console:
    """A console that takes nothing in a text for markup, an emoji or a number to be coloured."""
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def open_streams() -> None:
    """Make the standard streams take any text: one that was closed goes nowhere, what can't be encoded is escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we live
        with contextlib.suppress(AttributeError):  # a stream of a test
            getattr(sys, name).reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Write what is left of the standard output.

    Raises
    ------
    OutputClosed
    OSError
        If the disk is full.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def drop_output() -> None:
    """Forget what can't be written, so that Python does not try it once more when it ends, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


_CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of what moves a cursor, turns the direction of writing or can't be encoded."""


def clean(text: str, *, lines: bool = False) -> str:
    """A text with control characters as ``\\x1b``, ``\\u202e``; with ``lines``, line ends are left.

    >>> clean("conv\\x1b[2J")
    'conv\\\\x1b[2J'
    """
    return "".join(_shown(c) if unicodedata.category(c) in _CONTROL and not (lines and c == "\n") else c for c in text)


def _shown(character):
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def literal(text: str, style: str = "", *, lines: bool = False) -> Text:
    """``clean(text)`` for rich, which looks for markup in plain strings."""
    return Text(clean(str(text), lines=lines), style=style)


def shortened(text: str, width: int) -> str:
    """A text of at most ``width`` columns: what does not fit is taken out of the middle, where names differ least.

    >>> shortened("features/block1/conv2", 12)
    'featur…conv2'
    """
    if cell_len(text) <= width:
        return text
    front, back = text[: len(text) // 2], text[len(text) // 2 :]
    while front + back and cell_len(front) + cell_len(back) + 1 > width:
        front, back = (front[:-1], back) if cell_len(front) > cell_len(back) else (front, back[1:])
    return f"{front}…{back}"


def print_text(console: Console, text: str, style: str = "") -> None:
    """Print a text of one or more lines as it is; a terminal's lines are broken between words."""
    console.print(literal(text, style, lines=True), soft_wrap=_is_endless(console))


class Fit(Enum):
    """What becomes of a column's cells where the terminal is too narrow for them."""

    WHOLE = "neither broken nor cut"
    FOLDED = "broken over several lines"
    SHORTENED = "their middle is left out; the first column only"


@dataclass(frozen=True)
class Column:
    """Title and look of a column; numbers are ``right``."""

    title: str
    fit: Fit = Fit.WHOLE
    right: bool = False


@dataclass(frozen=True)
class Row:
    """Cells of a line; a ``section`` ends with it."""

    cells: Sequence[str]
    style: str = ""
    section: bool = False


NARROWEST = 16
"""Columns that a shortened name is left with, at least."""


def print_table(console: Console, columns: Sequence[Column], rows: Sequence[Row], *, title: str = "") -> None:
    """Print a table that fits the terminal and loses no cell.

    Where it is wider than the terminal, cells are treated as their columns say (``Fit``); what is still too wide is
    divided in several tables, each with the first column. Nothing is done to what goes into a pipe or a file.
    """
    rows = [Row([clean(cell) for cell in row.cells], row.style, row.section) for row in rows]
    if title:
        print_text(console, clean(title), "bold")
    for names, group in _groups(console, columns, rows):
        indices = [0, *group]
        widths = [names, *(_width(columns, rows, index) for index in group)]
        table = Table(header_style="bold")
        for index, width in zip(indices, widths, strict=True):
            _add_column(table, columns[index], width)
        for row in rows:
            cells = [Text(row.cells[index]) for index in indices]
            if columns[0].fit is Fit.SHORTENED:
                cells[0] = Text(shortened(row.cells[0], names))
            table.add_row(*cells, style=row.style or None, end_section=row.section)
        if _is_endless(console) or not any(columns[index].fit is Fit.FOLDED for index in indices):
            table.width = _outer(widths)  # also where that is more than the terminal has: a broken line loses nothing
        console.print(table, crop=False, soft_wrap=True)


def _is_endless(console):
    """Whether lines may be as long as they like."""
    return not console.is_terminal


def _add_column(table, column, width):
    folded = column.fit is Fit.FOLDED
    table.add_column(
        Text("\n".join(column.title.split())) if column.right else Text(column.title),
        justify="right" if column.right else "left",
        overflow="fold",
        no_wrap=not folded,
        min_width=min(width, 8) if folded else width,
    )


def _width(columns, rows, index):
    """Of a column's widest cell. A title of numbers is broken at its spaces."""
    title = columns[index].title
    titles = title.split() if columns[index].right else [title]
    return max(map(cell_len, [*titles, *(row.cells[index] for row in rows)]), default=0)


def _outer(widths):
    """Width of a table with its frame."""
    return sum(widths) + 3 * len(widths) + 1


def _groups(console, columns, rows):
    """Width of the first column, and numbers of the other ones, of each table."""
    widths = [_width(columns, rows, index) for index in range(len(columns))]
    others, room = list(range(1, len(columns))), console.width
    folds = any(column.fit is Fit.FOLDED for column in columns)
    if _is_endless(console) or folds or _outer(widths) <= room:
        return [(widths[0], others)]
    first = min(widths[0], NARROWEST) if columns[0].fit is Fit.SHORTENED else widths[0]
    if _outer([first, *widths[1:]]) <= room:
        return [(room - _outer(widths[1:]) - 3, others)]
    if columns[0].fit is Fit.SHORTENED:
        first = min(widths[0], max(NARROWEST, room // 3))
    groups = [[]]
    for index in others:
        if groups[-1] and _outer([first, *(widths[i] for i in groups[-1]), widths[index]]) > room:
            groups.append([])
        groups[-1].append(index)
    return [(first, group) for group in groups]
