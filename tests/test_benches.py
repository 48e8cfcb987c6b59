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


STAND_INS = [
    ("pe_array", "packed"), ("pe_array", "packed_deep"), ("pe_array", "single_wide"), ("matrix", "packed"),
    ("matrix", "single"), ("vector", "lanes8"), ("vector", "lanes16"), ("buffer", "node"), ("buffer", "three_banks"),
    ("node", "tiny"),
]  # fmt: skip


def _stand_in_cases():
    fast = ("pe_array", "vector")
    for name, case in STAND_INS:
        first = name in fast and (name, case) == next(pair for pair in STAND_INS if pair[0] == name)
        yield pytest.param(name, case, id=f"{name}-{case}", marks=[] if first else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "case"), _stand_in_cases())
def test_stand_ins_pass_the_benches_of_the_rtl(name, case, seed, tmp_path):
    run_bench(name, case, seed=seed, folder=tmp_path, stand_ins=True)
