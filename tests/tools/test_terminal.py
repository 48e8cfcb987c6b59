"""What is printed: nothing is cut, nothing in a name is taken for an order to the terminal."""

import pytest
from printing import HOSTILE, LONG, SHOWN, printed
from rich.cells import cell_len

from superlip.tools.progress import Phases
from superlip.tools.terminal import Column, Fit, Row, clean, counted, print_table, print_text, shortened


@pytest.mark.parametrize(
    "show",
    [
        lambda console: print_table(console, [Column("n", Fit.FOLDED), Column("v")], [Row([HOSTILE, "1"])]),
        lambda console: print_table(console, [Column("n")], [Row(["1"])], title=HOSTILE),
        lambda console: print_text(console, HOSTILE.strip() + "\\x0a"),
        lambda console: Phases(console)(HOSTILE),
    ],
    ids=["table", "title", "text", "phase"],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_names_are_shown_as_they_are(show, terminal):
    text = printed(show, width=120, terminal=terminal)
    assert SHOWN in text
    assert "\x1b" not in text and "\u202e" not in text


def test_a_phase_with_a_clock_shows_names_as_they_are():
    def show(console):
        with Phases(console) as say:
            say(HOSTILE)
            say.part(0.5, "[/y]")
            console.print("", end="")

    assert SHOWN in printed(show, width=120)


def test_a_folded_name_is_whole():
    def show(console):
        print_table(console, [Column("n", Fit.FOLDED), Column("why", Fit.FOLDED)], [Row([LONG, "x " * 60])])

    text = printed(show)
    column = "".join(line.split("│")[1].rstrip()[1:] for line in text.splitlines() if line[:1] == "│")
    assert column.replace(" ", "") == LONG.replace(" ", "")


@pytest.mark.parametrize("width", [1, 5, 9, 30])
def test_shortening_leaves_both_ends(width):
    text = shortened(LONG, width)
    assert cell_len(text) == width and text[0] in (LONG[0], "…") and (width < 5 or text[-1] == LONG[-1])
    assert shortened("conv", 4) == "conv"


def test_clean_leaves_lines_where_asked():
    assert clean("a\nb\r", lines=True) == "a\nb\\x0d"


def test_counts():
    assert [counted(n, "board") for n in (0, 1, 2)] == ["0 boards", "1 board", "2 boards"]
