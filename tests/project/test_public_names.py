"""`import superlip`: what it offers is the same in whatever order its parts were imported."""

import subprocess
import sys
from importlib import metadata

import pytest
from paths import ROOT

import superlip

PARTS = {
    "load": "assert superlip.load",
    "package": "import superlip.plan",
    "module": "import superlip.plan.planner",
    "from module": "from superlip.plan.cost import total_cycles",
    "module as": "import superlip.plan.cost as cost; assert cost.total_cycles",
    "from package": "from superlip.plan import lower; assert lower.lower",
    "flow": "import superlip.api",
    "name": "from superlip import plan; assert isinstance(plan, types.FunctionType), plan",
}

CHECK = """
import inspect
assert isinstance(superlip.plan, types.FunctionType), superlip.plan
assert list(inspect.signature(superlip.plan).parameters)[:1] == ["graph"]
assert superlip.plan.__name__ == "plan" and superlip.plan.__module__ == "superlip.api"
from superlip import plan
import superlip.plan.planner as planner, superlip.plan.lower
assert plan is superlip.plan and planner.make_plan is superlip.plan.planner.make_plan
assert sys.modules["superlip.plan"].__name__ == "superlip.plan"
import superlip.plan.residency as late
assert late is sys.modules["superlip.plan.residency"]
for name in superlip.__all__:
    assert not isinstance(getattr(superlip, name), types.ModuleType), name
"""


def python(code, cwd=ROOT):
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("first", PARTS)
@pytest.mark.parametrize("check_between", [True, False], ids=["used-early", "used-late"])
def test_public_names_do_not_depend_on_what_was_imported(first, check_between):
    """What comes first decides what the names are bound to; then everything else, and the names are used."""
    others = [code for name, code in PARTS.items() if name != first]
    steps = [PARTS[first], *([CHECK] if check_between else []), *others, CHECK]
    python("\n".join(["import sys, types, superlip", *steps]))


def test_version():
    assert superlip.__version__ == metadata.version("superlip")


def test_unknown_names_are_missing():
    with pytest.raises(AttributeError, match="no attribute 'plam'"):
        _ = superlip.plam


def test_dir_lists_what_is_public():
    assert set(superlip.__all__) <= set(dir(superlip))


def test_what_is_shown_at_a_prompt_is_short():
    graph = superlip.load(ROOT / "examples" / "digits" / "digits.onnx")
    design = superlip.plan(graph, boards=2, node="tiny")
    assert repr(graph).startswith("<Graph 'digits': image (1, 8, 8) -> ") and len(repr(graph)) < 120
    assert repr(design).startswith("<Design of 'digits' for 2 boards, node tiny: 7 operations, ")
    assert len(repr(design)) < 120
