"""The node in an event-driven simulator with unknown values, as Verilog of 2005 and as SystemVerilog of 2012."""

from pathlib import Path

import pytest

from superlip.sim.runner import run_bench
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


@pytest.mark.parametrize("simulator", ["icarus", "icarus-2005"])
def test_a_component(simulator, seed, tmp_path):
    try:
        run_bench("read_mux", simulator=simulator, seed=seed, folder=tmp_path, waves=True)
    except MissingToolError as error:
        pytest.skip(str(error))
    assert (tmp_path / "dump.fst").exists()
