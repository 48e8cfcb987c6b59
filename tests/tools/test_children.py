"""Processes end with the work that they are for."""

import subprocess
import sys
import time

import psutil
import pytest

from superlip.tools.children import child, ended_children

# Says that it has begun, as has a child of its own, then waits.
NESTED = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]).pid, flush=True)
time.sleep(100)
"""


class Trouble(Exception):
    pass


def is_gone(pid, seconds=5.0):
    """A killed process may be seen for a moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_an_exception_ends_the_whole_group():
    with (
        pytest.raises(Trouble),
        child([sys.executable, "-c", NESTED], stdout=subprocess.PIPE, text=True) as process,
    ):
        nested = int(process.stdout.readline())
        raise Trouble
    assert process.returncode is not None and is_gone(nested)


def test_what_ended_by_itself_is_left_alone():
    with child([sys.executable, "-c", "import sys; sys.exit(sys.stdin.read() != '')"]) as process:
        assert process.wait(timeout=30) == 0  # and there was nothing to read


def test_what_a_library_started_ends_too():
    with pytest.raises(Trouble), ended_children():
        process = subprocess.Popen([sys.executable, "-c", NESTED], stdout=subprocess.PIPE, text=True)
        nested = int(process.stdout.readline())
        raise Trouble
    assert is_gone(process.pid) and is_gone(nested)
    process.stdout.close()
    process.wait()


def test_what_was_there_before_stays():
    before = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        with pytest.raises(Trouble), ended_children():
            raise Trouble
        assert before.poll() is None
    finally:
        before.kill()
        before.wait()
