"""Thousands of damaged models and node files: a result, or one clear line; within 4 GB and a minute each."""

import json
import subprocess
import sys

import pytest
from paths import ROOT

FUZZ = ROOT / "tests" / "fuzz.py"


def faults(first, count):
    """What went wrong in ``count`` cases from ``first`` on, by number; what ends the process is a fault, too."""
    found, number, end = {}, first, first + count
    while number < end:
        command = [sys.executable, FUZZ, str(number), str(end - number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found |= {line["end"]: line["fault"] for line in lines if line.get("fault")}
        if done.returncode == 0:
            return found
        assert lines, done.stderr
        last = lines[-1]["begin"]  # the one that it never came back from
        found[last] = f"ends the process with status {done.returncode} {done.stderr[-500:]}"
        number = last + 1
    return found


def check(first, count):
    found = faults(first, count)
    text = "\n".join(f"python {FUZZ.name} {number}: {fault}" for number, fault in found.items())
    assert not found, f"{len(found)} of {count} cases\n{text}"


def test_three_hundred_cases():
    check(1, 300)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_cases(part, seed):
    check((seed << 14) + 500 * part, 500)


def test_a_fault_is_seen(monkeypatch, tmp_path):
    """The fuzzer's own eyes: an exception, a text that shows internals, several lines."""
    monkeypatch.syspath_prepend(FUZZ.parent)
    import fuzz  # noqa: PLC0415

    assert fuzz.fault_of("Conv 'n0': group=3 does not divide its 8 filters") is None
    for text in ("", "[ONNXRuntimeError] : 1", "a\nb", "/onnxruntime_src/a.cc:12 f()", "\x1b[31m", "x" * 2000):
        assert fuzz.fault_of(text)

    def broken(path, rng):
        raise KeyError("oops")

    monkeypatch.setattr(fuzz, "_run_model", broken)
    monkeypatch.setattr(fuzz, "damaged_model", lambda rng: b"")
    fault, text = fuzz.run_case(1, tmp_path)
    assert "KeyError" in fault and "test_fuzz.py" in fault and "Traceback" in text
