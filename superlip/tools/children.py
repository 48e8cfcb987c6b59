"""Processes that this one starts: they end with the work that they are for, and so do those that they start."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

__all__ = ["child", "ended_children"]


@contextlib.contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Start a process; if what is done with it ends by an exception (Ctrl-C, a time-out), its whole group is killed.

    ``options`` as for ``subprocess.Popen``. It reads nothing from the terminal, and Ctrl-C there comes to us alone.
    """
    process = subprocess.Popen(command, start_new_session=True, **{"stdin": subprocess.DEVNULL, **options})
    try:
        yield process
    except BaseException:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


@contextlib.contextmanager
def ended_children() -> Iterator[None]:
    """For the command line: what is started within, by whatever library, does not outlive an exception."""
    us = psutil.Process()
    before = set(us.children())
    try:
        yield
    except BaseException:
        for first in set(us.children()) - before:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in (*first.children(recursive=True), first):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                first.wait()
        raise
