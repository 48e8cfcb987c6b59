"""What a long command shows while it works."""

import io
import re
import time
from types import SimpleNamespace

from rich.console import Console

from superlip.api import _Shown
from superlip.tools.progress import Phases


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, _environ={"TERM": "xterm"})


def test_a_log_file_gets_a_line_when_a_phase_begins():
    console = Console(file=io.StringIO(), width=80)
    with Phases(console) as say:
        say("reading")
        say.part(0.5)
        say.message("by the way")
        assert console.file.getvalue() == "superlip: reading\nsuperlip: by the way\n"
        say("planning")
    assert console.file.getvalue() == "superlip: reading\nsuperlip: by the way\nsuperlip: planning\n"


def test_a_terminal_shows_a_clock_and_the_time_left(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    console = terminal()
    with Phases(console) as say:
        say._bar.get_time = lambda: now[0]
        say("simulating 360 images on 2 boards")
        now[0] += 5
        say._bar.refresh()
        assert "0:00:05" in console.file.getvalue() and "left" not in console.file.getvalue()
        for fraction in (0.4, 0.5, 0.6):  # 0.4: done by a run before
            now[0] += 10
            say.part(fraction, "144 done")
        say._bar.refresh()
        assert re.search("0:00:35.*144 done.*0:00:4[01] left", console.file.getvalue())
        say("comparing")
    assert "superlip: simulating 360 images on 2 boards (35 s)" in console.file.getvalue()


def test_a_phase_that_fails_is_not_said_to_be_done():
    console = terminal()
    try:
        with Phases(console) as say:
            say("working")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert "superlip: working" not in console.file.getvalue()


def test_the_caller_is_told():
    notes = []
    with Phases(None, notes.append) as say:
        say("reading")
        say.part(0.3)
        say.message("by the way")
    assert notes == ["reading", "by the way"]


def test_the_part_of_a_simulation_follows_the_images_that_are_done():
    """The first image of many is slower than the others: what is left must not be told by it for ever."""
    parts = []
    shown = _Shown(SimpleNamespace(part=lambda fraction, detail: parts.append((round(fraction, 3), detail))), 100)
    for image, cycles in [(0, 50), (1, 400), (1, 600), (2, 500), (99, 10_300), (100, 10_400)]:
        shown(SimpleNamespace(images=100, images_done=image, cycles=cycles))
    assert parts[0] == (0.005, "0 done") and parts[1] == (0.01, "1 done") and parts[2] == (0.015, "1 done")
    assert parts[-2] == (0.99, "99 done") and parts[-1] == (1.0, "100 done")
