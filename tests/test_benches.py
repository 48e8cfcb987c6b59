"""The cocotb benches, on Verilator: the first case of each, and the others as slow tests (``pytest -m slow``).

One of them: ``pytest tests/test_benches.py -m '' -k 'NAME and CASE'``.
"""

import importlib

import pytest
from superlip.sim.runner import benches, run_bench


def _cases():
    for name in benches():
        if name == "cluster":  # tests/test_cluster_equal.py runs it, beside the native simulator
            continue
        for number, case in enumerate(importlib.import_module(f"superlip.sim.benches.{name}").CASES):
            yield pytest.param(name, case, id=f"{name}-{case}", marks=[pytest.mark.slow] if number else [])


@pytest.mark.parametrize(("name", "case"), _cases())
def test_bench(name, case, seed, tmp_path):
    run_bench(name, case, seed=seed, folder=tmp_path)
