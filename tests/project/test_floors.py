"""Imports go down: each floor knows only the floors that docs/architecture.md lets it know."""

import ast
import re

import pytest
from paths import ROOT, modules

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
FLOORS = {
    name: set(re.findall(r"`(\w+)`", knows))
    for names, knows in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|[^|]*\|([^|]*)\|[^|]*\|$", ARCHITECTURE, re.M)
    for name in re.findall(r"`(\w+)`", names)
}


def imported(path, parts):
    """Floors that a module imports, at its top or later."""
    package = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "superlip" and len(name) > 1)


def test_every_floor_is_in_the_table():
    rooms = {path.stem if path.is_file() else path.name for path in (ROOT / "superlip").iterdir()}
    assert set(FLOORS) == {name for name in rooms if not name.startswith("__")}


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_know_what_is_below_them(floor):
    found = set()
    for path, parts in modules():
        if parts[1] == floor:
            found |= {other for other in imported(path, parts) if other in FLOORS and other != floor}
    assert found <= FLOORS[floor], f"superlip.{floor} imports {found - FLOORS[floor]}: see docs/architecture.md"


def test_the_table_has_no_circles():
    done = set()
    while left := {floor for floor in FLOORS if floor not in done}:
        free = {floor for floor in left if FLOORS[floor] <= done}
        assert free, f"circle among {left}"
        done |= free
