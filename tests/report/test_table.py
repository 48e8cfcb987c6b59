"""The table of layers: no number is cut, whatever the terminal and the names."""

import csv
import io
import random

import pytest
from printing import HOSTILE, LONG, SHOWN, printed
from rich.cells import cell_len

from superlip.report.rows import LayerRow
from superlip.report.table import layers_csv, print_layers


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


@pytest.mark.parametrize("terminal", [True, False])
def test_names_are_shown_as_they_are(terminal):
    text = printed(lambda console: print_layers(console, layers(HOSTILE, 1)[0], "title"), width=120, terminal=terminal)
    assert SHOWN in text and "\x1b" not in text and "\u202e" not in text
