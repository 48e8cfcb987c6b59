"""Every case of every cocotb bench, on Verilator. One of them: ``pytest tests/test_benches.py -k 'NAME and CASE'``."""

import importlib

import pytest
from superlip.sim.runner import benches, run_bench

ALL = [
    pytest.param(name, case, id=f"{name}-{case}")
    for name in benches()
    for case in importlib.import_module(f"superlip.sim.benches.{name}").CASES
]


@pytest.mark.parametrize(("name", "case"), ALL)
def test_bench(name, case, seed, tmp_path):
    run_bench(name, case, seed=seed, folder=tmp_path)
