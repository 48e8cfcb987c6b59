"""The cocotb testbenches, on Verilator: the first case of each, and the others as slow tests (``pytest -m slow``).

One of them: ``pytest tests/sim/test_testbenches.py -k 'NAME and CASE'``.
"""

import importlib
import re
import subprocess
import sys

import pytest
from paths import ROOT

import superlip.sim
from superlip.cli import main
from superlip.sim import runner
from superlip.sim.runner import load_testbench, run_bench

FILE = "tests/sim/test_testbenches.py"
MINE = """
import cocotb
from beside import Double
from cocotb.triggers import Timer
from superlip.sim.runner import case, rng

CASES = {"narrow": {"width": 3}, "wide": {"width": 9}}


def build(width):
    return Double(width)


@cocotb.test()
async def doubles(dut):
    value = rng().getrandbits(case()["width"])
    assert len(dut.i) == case()["width"], len(dut.i)
    dut.i.value = value
    await Timer(1, "ns")
    assert int(dut.o.value) == 2 * value
"""
BESIDE = """
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Double(wiring.Component):
    def __init__(self, width):
        super().__init__({"i": In(width), "o": Out(width + 1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.i << 1)
        return m
"""


def _cases():
    for name in runner.testbenches():
        for number, case in enumerate(importlib.import_module(f"superlip.sim.testbenches.{name}").CASES):
            yield pytest.param(name, case, id=f"{name}-{case}", marks=[pytest.mark.slow] if number else [])


@pytest.mark.parametrize(("name", "case"), list(_cases()))
def test_testbench(name, case, seed, tmp_path):
    run_bench(name, case, seed=seed, folder=tmp_path)
    log = (tmp_path / "test.log").read_text()
    assert not re.findall(r"\S*(?:sim|rtl)/\S+\.py:\d+: \w*DeprecationWarning.*", log), "our own code's"


STAND_INS = [
    ("pe_array", "packed"), ("pe_array", "packed_deep"), ("pe_array", "single_wide"), ("matrix", "packed"),
    ("matrix", "single"), ("vector", "lanes8"), ("vector", "lanes16"), ("buffer", "node"), ("buffer", "three_banks"),
    ("wide_memory", "node"), ("wide_memory", "three_banks"), ("node", "tiny"),
]  # fmt: skip


def _stand_in_cases():
    fast = ("pe_array", "vector")
    for name, case in STAND_INS:
        first = name in fast and (name, case) == next(pair for pair in STAND_INS if pair[0] == name)
        yield pytest.param(name, case, id=f"{name}-{case}", marks=[] if first else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "case"), list(_stand_in_cases()))
def test_stand_ins_pass_the_benches_of_the_rtl(name, case, seed, tmp_path):
    run_bench(name, case, seed=seed, folder=tmp_path, stand_ins=True)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's testbench, in a folder of theirs."""
    folder = tmp_path / "my testbenches"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "beside.py").write_text(BESIDE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder / "mine.py"
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)


def test_a_users_bench(mine, seed, tmp_path, capsys):
    assert superlip.sim.run_bench(mine, "narrow", seed=seed, folder=tmp_path / "out") == tmp_path / "out"
    assert main(["sim", "cocotb", f"{mine}::narrow"]) == 0
    assert f"{mine}[narrow] passed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_users_bench_with_parameters_of_theirs(mine, seed, tmp_path):
    run_bench(mine, parameters={"width": 5}, seed=seed, folder=tmp_path / "out", waves=True)
    assert (tmp_path / "out" / "dump.vcd").exists()


def test_a_users_bench_that_fails(mine, capsys):
    mine.write_text(MINE.replace("2 * value", "2 * value + 1"))
    assert main(["sim", "cocotb", str(mine), "--case", "narrow"]) == 1
    assert "testbench mine[narrow]" in capsys.readouterr().err
    mine.write_text(MINE.replace("@cocotb.test()", "@cocotb.test(skip=True)"))
    sys.modules.pop("mine")
    with pytest.raises(AssertionError, match="no test was run"):
        run_bench(mine)


@pytest.mark.parametrize(
    ("name", "text"),
    [("nothing", "no testbench 'nothing'; there are: buffer, "), ("nowhere/bench.py", "there is no testbench "),
     ("read_mux::9_bytes", "testbench read_mux has no case '9_bytes'; there are: 8_bytes"),
     ("read_mux::", "testbench read_mux has no case ''; there are: 8_bytes")],
)  # fmt: skip
def test_a_bench_that_is_not_there(name, text, capsys):
    assert main(["sim", "cocotb", name]) == 2
    assert text in capsys.readouterr().err


def test_a_file_that_is_no_bench(mine):
    mine.write_text("CASES = {}")
    with pytest.raises(runner.TestbenchError, match=r"is no testbench: it has no build and no @cocotb\.test"):
        load_testbench(mine)
    named = mine.rename(mine.with_name("my-bench.py"))
    with pytest.raises(runner.TestbenchError, match="a Python name"):
        load_testbench(named)
    wrong = named.rename(mine.with_name("wrong.py"))
    wrong.write_text("import nothing_of_that_name")
    with pytest.raises(runner.TestbenchError, match=r"can't be imported: ModuleNotFoundError: .*nothing_of_that_name"):
        load_testbench(wrong)
    wrong.write_text(MINE.replace("return Double(width)", "return Double(widht)"))
    with pytest.raises(runner.TestbenchError, match=r"wrong\[narrow\] can't be built: NameError: .*widht"):
        run_bench(wrong, "narrow")
    sys.modules.pop("wrong")
    with pytest.raises(runner.TestbenchError, match="has the name of another module"):
        load_testbench(wrong.rename(mine.with_name("random.py")))


def test_the_command_lists_the_benches(capsys):
    assert main(["sim", "cocotb"]) == 0
    assert capsys.readouterr().out.split() == runner.testbenches()


def test_without_cocotb_it_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("superlip.sim.runner.find_spec", lambda name: None)
    assert main(["sim", "cocotb"]) == 0
    assert main(["sim", "cocotb", "control"]) == 3
    said = capsys.readouterr().err
    assert "cocotb is not installed: pip install 'cocotb>=" in said and said.count("\n") == 1


def collected(*arguments):
    """Ids of the tests of this file that pytest would run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    root = ROOT
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    return set(re.findall(r"::(.*)", done.stdout))


def test_the_documented_command_finds_every_case():
    every = {(name, case) for name in runner.testbenches() for case in load_testbench(name).CASES}
    document = (ROOT / "CONTRIBUTING.md").read_text()
    assert f"`pytest {FILE} -k 'NAME and CASE' -s`" in document
    found = collected(FILE, "-k", " or ".join(f"({name} and {case})" for name, case in sorted(every)))
    assert {f"test_testbench[{name}-{case}]" for name, case in every} <= found
    name, case = next((name, case) for name, case in sorted(every) if next(iter(load_testbench(name).CASES)) != case)
    assert collected(f"{FILE}::test_testbench[{name}-{case}]") == {f"test_testbench[{name}-{case}]"}
    usual = collected(FILE)
    assert 0 < len(usual) < len(found) and f"test_testbench[{name}-{case}]" not in usual
    assert f"test_testbench[{name}-{case}]" not in collected(FILE, "-m", "not slow", "-k", f"{name} and {case}")
