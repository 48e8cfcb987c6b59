"""What an exception means for who started a command."""

import errno
import json

import pytest

from superlip.graph.errors import ModelError
from superlip.sim.checkpoint import SimulationInterrupted
from superlip.tools.failures import EXIT_STATUS, INTERRUPTED, MACHINE, USER, failure_of, write_failure
from superlip.tools.toolchain import ToolError


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ModelError("conv1 is odd"), USER, "error: conv1 is odd"),
        (ToolError("no make"), MACHINE, "error: no make"),
        (ValueError("not ours"), MACHINE, "internal error: ValueError: not ours; please report"),
        (KeyError("x\n y"), MACHINE, "internal error: KeyError: 'x\\n y'"),
        (MemoryError(), MACHINE, "error: out of memory"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (SimulationInterrupted(1234), INTERRUPTED, "goes on from cycle 1,234"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.onnx"), USER, "error: a.onnx: No such file"),
        (OSError(errno.ENOSPC, "full", "a.bin"), MACHINE, "no space left on the disk while writing a.bin"),
        (OSError(errno.EIO, "broken"), MACHINE, "input/output: broken"),
    ],
)
def test_whose_turn_it_is(error, status, message):
    failure = failure_of(error)
    assert failure.exit == status and message in failure.message and failure.kind == type(error).__name__
    assert status in EXIT_STATUS


def test_a_failure_is_written_for_programs(tmp_path):
    path = tmp_path / "report.json"
    for text in (None, "", "[1]"):
        if text is not None:
            path.write_text(text)
        write_failure(failure_of(ToolError("no make")), path)
        assert json.loads(path.read_text()) == {"error": {"kind": "ToolError", "message": "error: no make", "exit": 3}}


def test_what_is_no_json_is_left_as_it_is(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x01")
    write_failure(failure_of(ToolError("no make")), path)
    assert path.read_bytes() == b"\x08\x01"
    write_failure(failure_of(ToolError("no make")), tmp_path / "no" / "folder")  # nothing is raised
