"""Node and components in an event-driven simulator with unknown values, as Verilog of 2005 and of 2012."""

from pathlib import Path

import pytest

from superlip.sim.runner import run_bench, testbenches
from superlip.tools.toolchain import MissingToolError

TESTBENCH = Path(__file__).with_name("four_state_testbench.py")


@pytest.mark.parametrize("simulator", ["icarus", "icarus-2005"])
@pytest.mark.parametrize(
    "case", ["layer", *(pytest.param(name, marks=pytest.mark.slow) for name in ("digits", "digits_two"))]
)
def test_from_all_unknown(case, simulator, seed, tmp_path):
    try:
        run_bench(TESTBENCH, case, simulator=simulator, seed=seed, folder=tmp_path)
    except MissingToolError as error:
        pytest.skip(str(error))


FAST = "read_mux"


@pytest.mark.parametrize("simulator", ["icarus", "icarus-2005"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == FAST else [pytest.mark.slow]) for name in testbenches()]
)
def test_a_component(name, simulator, seed, tmp_path):
    """The first case of each testbench; what nobody drives, or holds nothing yet, is unknown in it."""
    try:
        run_bench(name, simulator=simulator, seed=seed, folder=tmp_path)
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("simulator", ["icarus", "icarus-2005"])
def test_waves(simulator, seed, tmp_path):
    try:
        run_bench(FAST, simulator=simulator, seed=seed, folder=tmp_path, waves=True)
    except MissingToolError as error:
        pytest.skip(str(error))
    assert (tmp_path / "dump.fst").exists()
