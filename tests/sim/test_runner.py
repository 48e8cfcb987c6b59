"""Testbenches are found by name or path, and what is wrong with one is said."""

import base64
import pickle
import sys

import pytest
from amaranth.hdl import Fragment
from paths import ROOT

from superlip.sim import runner

OWN = """
import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

CASES = {cases}


class Double(wiring.Component):
    i: In(3)
    o: Out(4)

    def elaborate(self, platform):
        return self.nothing


def build(width):
    return {made}


@cocotb.test()
async def doubles(dut): ...


@cocotb.test()
@cocotb.parametrize(value=[1, 2])
async def more(dut, value): ...
"""


def test_every_module_that_is_no_helper_is_a_testbench():
    files = {path.stem for path in (ROOT / "sim/testbenches").glob("[!_]*.py")}
    assert set(runner.testbenches()) == files and {"load", "vector"} <= files


@pytest.mark.parametrize("name", runner.testbenches())
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_components_take_what_their_testbenches_ask_for(name):
    """In every case: most of them run in the slow tests only."""
    pytest.importorskip("cocotb")
    module = runner.load_testbench(name)
    for parameters in module.CASES.values():
        Fragment.get(module.build(**parameters), None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no testbench 'nothing'; there are: .*load.*and any Python file"),
        ("no_such_file.py", "there is no testbench .*no_such_file.py"),
        ("a-b.py", "a-b.py can't be imported: a testbench's file name is a Python name"),
        ("empty.py", "empty.py is no testbench: it has no CASES and no build and no @cocotb.test"),
        ("json.py", "has the name of another module"),
        ("a:b/mine.py", "a:b/mine.py can't be imported: its folder has ':' in its name"),
    ],
)
def test_what_is_no_testbench(name, message, tmp_path, monkeypatch):
    pytest.importorskip("cocotb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a:b").mkdir()
    for file in ("a-b.py", "empty.py", "json.py", "a:b/mine.py"):
        (tmp_path / file).write_text("")
    with pytest.raises(runner.TestbenchError, match=message):
        runner.load_testbench(name)


def test_a_testbench_of_ones_own(tmp_path, monkeypatch):
    pytest.importorskip("cocotb")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "superlip_test_own.py").write_text(OWN.format(cases={"small": {"width": 3}}, made="None"))
    module = runner.load_testbench(tmp_path / "superlip_test_own.py")
    assert runner._case(module, "own", None, None) == ("small", {"width": 3})
    assert runner._case(module, "own", None, {"width": 5}) == ("parameters", {"width": 5})
    with pytest.raises(runner.TestbenchError, match="no case 'large'; there are: small"):
        runner._case(module, "own", "large", None)


@pytest.mark.parametrize(
    ("cases", "made", "options", "message"),
    [
        ({}, "Double()", {}, "its CASES must be a dict of at least one case"),
        (["small"], "Double()", {}, "its CASES must be a dict of at least one case"),
        ({"a": {}}, "Double()", {}, r"own_0\[a\] can't be built: TypeError: build\(\) .*'width'"),
        (
            {"a": {"width": 3}},
            "Double",
            {},
            r"can't be built: TypeError: build\(\) must return a wiring.Component, not <cl",
        ),
        (
            {"a": {"width": 3}},
            "None",
            {},
            r"can't be built: TypeError: build\(\) must return a wiring.Component, not None",
        ),
        ({"a": {"width": 3}}, "Double()", {}, "can't be built: AttributeError: 'Double' object has no .*'nothing'"),
        ({"a": {"width": 3}}, "Double()", {"test": "some"}, "own_0 has no test 'some'; there are: doubles, more"),
        ({"a": {"width": 3}}, "Double()", {"parameters": {"width": print, "b": lambda: 0}}, "can't be built: .*ickl"),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_testbench_of_ones_own_with_a_mistake(cases, made, options, message, tmp_path, monkeypatch):
    """One error, before anything is built, which says what is wrong."""
    pytest.importorskip("cocotb")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runner, "_build_icarus", None)
    monkeypatch.setattr(runner, "_find_icarus", lambda: "")
    name = "superlip_test_own_0"
    (tmp_path / f"{name}.py").write_text(OWN.format(cases=cases, made=made))
    try:
        with pytest.raises(runner.TestbenchError, match=message):
            runner.run_bench(tmp_path / f"{name}.py", simulator="icarus", **options)
    finally:
        sys.modules.pop(name, None)


def test_inside_a_testbench(monkeypatch):
    monkeypatch.setenv("SUPERLIP_CASE", base64.b64encode(pickle.dumps({"tn": 8})).decode())
    monkeypatch.setenv("SUPERLIP_SEED", "7")
    assert runner.case() == {"tn": 8}
    assert runner.rng().random() == runner.rng().random()
