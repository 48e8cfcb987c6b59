"""What is printed: nothing is cut, nothing in a name is taken for an order to the terminal."""

import csv
import io
import random
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from superlip.report.rows import LayerRow
from superlip.report.table import layers_csv, print_layers
from superlip.tools.progress import Phases
from superlip.tools.terminal import Column, Fit, Row, clean, print_table, print_text, shortened

HOSTILE = "a[/x]b[red]c:warning:\x1b[2Jd\u202ee\n"
SHOWN = "a[/x]b[red]c:warning:\\x1b[2Jd\\u202ee\\x0a"
LONG = "features/inception_4e/branch3x3dbl/conv_3/Conv + features/inception_4e/branch3x3dbl/Relu"


def printed(show, *, width=80, terminal=True):
    """Text that ``show(console)`` prints, without colours, on a console as a user of the library may have it."""
    console = Console(width=width, file=io.StringIO(), force_terminal=terminal, legacy_windows=False)
    show(console)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def layers(name="conv", count=9):
    """Rows with a number of its own in every cell, and those numbers as the table shows them."""
    rng = random.Random(3)
    rows, numbers = [], []
    for index in range(count):
        cycles, busy, moved = (rng.randrange(1_000_000, 9_999_999), *rng.sample(range(10_000, 99_999), 2))
        measured = (0, 0, busy, 0, 0, 0, 0, 0, 0.5 + index / 100)
        rows.append(LayerRow(f"{name}{index}", "Pm", cycles, "compute", 123, moved, 0, *measured))
        numbers.append([f"{cycles:,}", f"{50 + index}.0 %", "equal", f"{busy:,}", f"{moved:,}"])
    return rows, numbers


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("name", ["conv", LONG, "層" * 60], ids=["short", "long", "double-width"])
@pytest.mark.parametrize("wide", [False, True], ids=["short", "wide"])
@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
def test_every_number_of_the_layers_is_whole(width, wide, name, terminal):
    rows, numbers = layers(name)
    text = printed(lambda console: print_layers(console, rows, "title", wide=wide), width=width, terminal=terminal)
    for wanted in numbers:
        for number in wanted if wide else wanted[:3]:
            assert f" {number} " in text
    widest = max(map(cell_len, text.splitlines()))
    assert widest <= width or not terminal or width == 40
    if not terminal:
        assert f"{name}8" in text


def test_the_short_table_is_one_table_at_80_columns():
    rows, numbers = layers(LONG)
    text = printed(lambda console: print_layers(console, rows, "title"))
    lines = [line for line in text.splitlines() if "equal" in line]
    assert len(lines) == len(rows) + 1  # and the total
    for line, wanted in zip(lines, numbers, strict=False):
        assert "…" in line and "features" in line and all(number in line for number in wanted[:3])


def test_differences_are_counted():
    rows, _ = layers(count=2)
    text = printed(lambda console: print_layers(console, [*rows, LayerRow("x", "Pm", 1, "", 0, 0, 0, 1234)], ""))
    assert [line.rsplit("│", 2)[1].strip() for line in text.splitlines() if line[:1] == "│"] == [
        "equal", "equal", "1,234 differ", "1,234 differ",
    ]  # fmt: skip


def test_csv_has_every_field_and_nothing_for_what_was_not_measured():
    rows, _ = layers(HOSTILE, 1)
    read = list(csv.DictReader(io.StringIO(layers_csv([*rows, LayerRow("plan", "Pr", 5, "dram", 1, 2, 3)]))))
    assert read[0]["name"] == f"{HOSTILE}0" and int(read[0]["busy"]) == rows[0].busy
    assert read[1]["busy"] == read[1]["mismatches"] == "" and read[1]["cycles"] == "5"


@pytest.mark.parametrize(
    "show",
    [
        lambda console: print_table(console, [Column("n", Fit.FOLDED), Column("v")], [Row([HOSTILE, "1"])]),
        lambda console: print_table(console, [Column("n")], [Row(["1"])], title=HOSTILE),
        lambda console: print_layers(console, layers(HOSTILE, 1)[0], "title"),
        lambda console: print_text(console, HOSTILE.strip() + "\\x0a"),
        lambda console: Phases(console)(HOSTILE),
    ],
    ids=["table", "title", "layers", "text", "phase"],
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
