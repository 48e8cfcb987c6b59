"""Testbenches are found by name or path, and what is wrong with one is said."""

import base64
import pickle

import pytest
from paths import ROOT

from superlip.sim import runner


def test_every_module_that_is_no_helper_is_a_testbench():
    files = {path.stem for path in (ROOT / "sim/testbenches").glob("[!_]*.py")}
    assert set(runner.testbenches()) == files and {"load", "vector"} <= files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no testbench 'nothing'; there are: .*load.*and any Python file"),
        ("no_such_file.py", "there is no testbench .*no_such_file.py"),
        ("a-b.py", "a-b.py can't be imported: a testbench's file name is a Python name"),
        ("empty.py", "empty.py is no testbench: it has no CASES and no build"),
        ("json.py", "has the name of another module"),
    ],
)
def test_what_is_no_testbench(name, message, tmp_path, monkeypatch):
    pytest.importorskip("cocotb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for file in ("a-b.py", "empty.py", "json.py"):
        (tmp_path / file).write_text("")
    with pytest.raises(runner.TestbenchError, match=message):
        runner.load_testbench(name)


def test_a_testbench_of_ones_own(tmp_path, monkeypatch):
    pytest.importorskip("cocotb")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "superlip_test_own.py").write_text("CASES = {'small': {'width': 3}}\ndef build(width): ...\n")
    module = runner.load_testbench(tmp_path / "superlip_test_own.py")
    assert runner._case(module, "own", None, None) == ("small", {"width": 3})
    assert runner._case(module, "own", None, {"width": 5}) == ("parameters", {"width": 5})
    with pytest.raises(runner.TestbenchError, match="no case 'large'; there are: small"):
        runner._case(module, "own", "large", None)


def test_inside_a_testbench(monkeypatch):
    monkeypatch.setenv("SUPERLIP_CASE", base64.b64encode(pickle.dumps({"tn": 8})).decode())
    monkeypatch.setenv("SUPERLIP_SEED", "7")
    assert runner.case() == {"tn": 8}
    assert runner.rng().random() == runner.rng().random()
