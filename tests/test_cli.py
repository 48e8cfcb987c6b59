"""The command line: one clear line where something is wrong, and an exit status that tells whose turn it is."""

import argparse
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from superlip import cli
from superlip.boards import TargetError
from superlip.compile.compiler import CompileError
from superlip.golden import AccuracyError
from superlip.graph import ModelError
from superlip.ops.lowering import LoweringError
from superlip.package import PackageError
from superlip.plan.planner import PlanError
from superlip.run.images import DataError
from superlip.sim.build import BuildError
from superlip.sim.cluster import SimulationError
from superlip.synth.resources import SynthesisError
from superlip.tools.failures import EXIT_STATUS
from superlip.tools.toolchain import ToolError

DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
QUOTED = shlex.quote(str(DIGITS))


def said(capsys):
    """The lines on standard error."""
    return capsys.readouterr().err.splitlines()


def parsers(parser=None, name="superlip"):
    """All parsers: (name, parser)."""
    parser = parser or cli._parser()
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from parsers(command, f"{name} {word}")


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("run", "required: model"),
        ("run m.onnx --boards two", "--boards: must be a whole number of at least 1, not 'two'"),
        ("run m.onnx --boards 1.5", "not '1.5'"),
        ("plan m.onnx --boards 0", "not '0'"),
        ("run m.onnx --images 0", "--images: must be a whole number of at least 1, not '0'"),
        ("check m.onnx --random-weights -1", "--random-weights: must be a whole number of at least 0, not '-1'"),
        ("check m.onnx --quantize middling", "'middling' is no way to quantize: there are minmax, percentile"),
        ("plan m.onnx --quantize percentile=7", "percentile must be above 50 and at most 100, not 7"),
        ("run m.onnx --board 2", "unrecognized arguments: --board 2"),
        ("check m.onnx --random 2", "unrecognized arguments: --random 2"),
        ("build m.onnx", "required: -o/--output"),
        ("compile m.onnx", "invalid choice: 'compile'"),
        ("--quiet", "--quiet"),
        ("check ''", "the model's name is empty"),
        ("check .", "'.' is a folder, not an ONNX file"),
        ("run / --node tiny", "'/' is a folder, not an ONNX file"),
        ("plan examples", "'examples' is a folder, not an ONNX file"),
        ("build .. -o new", "'..' is a folder, not an ONNX file"),
        ("bisect . --node tiny", "'.' is a folder, not an ONNX file"),
        ("check nothing.onnx", "'nothing.onnx' does not exist"),
        (f"check {QUOTED} --calibrate nothing.npz", "nothing.npz does not exist"),
        (f"plan {QUOTED} --node nothing", "'nothing' is neither a preset"),
        (f"plan {QUOTED} --node tiny --boards 3", "3 boards"),
        (f"plan {QUOTED} --json nothing/plan.json", "nothing/plan.json: its folder does not exist"),
        (f"run {QUOTED} --csv examples", "examples: is a folder"),
        (f"build {QUOTED} -o examples", "examples holds what superlip build did not write"),
    ],
)
def test_what_a_user_can_mend_is_one_line(line, wanted, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(shlex.split(line)) == 2
    error = said(capsys)
    assert error[-1].startswith("superlip: error: ") and wanted in error[-1]
    assert all(text.startswith("superlip: ") for text in error)


CRASH = ZeroDivisionError("two\nlines [red]\x1b[2J")


@pytest.mark.parametrize(
    "error, status, message",
    [
        *((kind("why [/x]"), 2, "error: why [/x]") for kind in (
            CompileError, DataError, LoweringError, ModelError, PackageError, PlanError, TargetError,
        )),
        *((kind("why"), 3, "error: why") for kind in (BuildError, SimulationError, SynthesisError, ToolError)),
        (AccuracyError("far off"), 1, "error: far off"),
        (CRASH, 3, "internal error: ZeroDivisionError: two lines [red]\x1b[2J; please report, with --debug"),
        (AssertionError(), 3, "internal error: AssertionError: ; please report"),
        (ValueError("numpy's"), 3, "internal error: ValueError: numpy's; please report"),
        (RecursionError("deep"), 3, "internal error: RecursionError: deep"),
        (MemoryError(), 3, "error: out of memory"),
        (OSError(errno.ENOSPC, "full", "a.json"), 3, "error: no space left on the disk while writing a.json"),
        (OSError(errno.EIO, "Input/output error", "a"), 3, "error: a: Input/output error"),
        (OSError(errno.EMFILE, "Too many open files"), 3, "error: input/output: Too many open files"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 2, "error: a: Permission denied"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 3, "error: input/output: Broken pipe"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)  # fmt: skip
def test_every_error_has_its_status_and_is_in_the_json(error, status, message, tmp_path, capsys, monkeypatch):
    def work(*_):
        raise error

    monkeypatch.setattr(cli, "_plan", work)
    path = tmp_path / "plan.json"
    path.write_text('{"old": 1}')
    assert cli.main(["plan", "m.onnx", "--json", str(path)]) == status in EXIT_STATUS
    (line,) = said(capsys)
    shown = message.replace("\x1b", "\\x1b")
    assert line.startswith(f"superlip: {shown}")
    written = json.loads(path.read_text())
    assert list(written) == ["error"] and list(written["error"]) == ["kind", "message", "exit"]
    assert written["error"]["kind"] == type(error).__name__ and written["error"]["exit"] == status
    assert written["error"]["message"].startswith(message)


@pytest.mark.parametrize("how", ["--debug", "SUPERLIP_DEBUG"])
def test_the_traceback_is_shown_where_asked_for(how, capsys, monkeypatch):
    def work(*_):
        raise CRASH

    monkeypatch.setattr(cli, "_plan", work)
    monkeypatch.setenv("SUPERLIP_DEBUG", "1" if how == "SUPERLIP_DEBUG" else "0")
    options = ["--debug"] if how == "--debug" else []
    assert cli.main(["plan", *options, "m.onnx"]) == cli.main([*options, "plan", "m.onnx"]) == 3
    error = said(capsys)
    assert error.count("Traceback (most recent call last):") == 2 and "raise CRASH" in "".join(error)
    assert "\x1b" not in "".join(error)
    monkeypatch.setenv("SUPERLIP_DEBUG", "0")
    cli.main(["plan", "m.onnx"])
    assert len(said(capsys)) == 1


def test_an_error_never_overwrites_what_is_no_report(tmp_path):
    """`--json` without its file took the model's name."""
    model = tmp_path / "model.onnx"
    model.write_bytes(DIGITS.read_bytes())
    assert cli.main(["run", "--json", str(model)]) == 2
    assert model.read_bytes() == DIGITS.read_bytes()
    assert cli.main(["run", "--boards", "two", f"--json={tmp_path}/new.json"]) == 2
    assert json.loads((tmp_path / "new.json").read_text())["error"]["kind"] == "UsageError"
    assert cli.main(["run", str(model), "--json"]) == 2


@pytest.mark.parametrize("line", ["", "sim", "--help", "run --help"])
def test_help(line, capsys):
    assert cli.main(line.split()) == 0
    assert f"usage: superlip {line.split()[0] if line[:1] not in '-' else ''}".strip() in capsys.readouterr().out


def test_help_says_what_each_status_means(capsys):
    cli.main([])
    out = capsys.readouterr().out
    assert all(f"{status:3}  {meaning}" in out for status, meaning in EXIT_STATUS.items())


def test_every_option_has_help_and_no_command_knows_half_of_one():
    for name, parser in parsers():
        assert not parser.allow_abbrev and parser.description, name
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help, f"{name} {action.option_strings or action.dest}"


def shell(line):
    """A command in a shell, with superlip as `$SUPERLIP`."""
    line = line.replace("$SUPERLIP", '"$PYTHON" -m superlip.cli')
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", [f"check {QUOTED}", "--help", f"plan {QUOTED} --node tiny", "doctor"])
def test_a_closed_output_ends_quietly(command):
    """`true` reads nothing: the pipe is closed before the first line comes."""
    _, _, error = shell(f"(sleep 0.3; $SUPERLIP {command}; echo status $? >&2) | true")
    assert [line for line in error.splitlines() if not line.startswith("superlip: ")] == ["status 141"], error


def test_no_output_at_all():
    status, _, error = shell(f"$SUPERLIP check {QUOTED} >&-")
    assert status == 0 and "Traceback" not in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_the_output():
    status, _, error = shell(f"$SUPERLIP check {QUOTED} >/dev/full")
    assert status == 3 and error.splitlines()[-1].startswith("superlip: error: no space left on the disk")
    assert "Traceback" not in error and "Exception ignored" not in error


def test_text_that_the_terminal_has_no_letters_for():
    status, _, error = shell("PYTHONIOENCODING=ascii $SUPERLIP check $'h\\xc3\\xa9\\xff.onnx'")
    assert status == 2 and error.splitlines()[-1] == r"superlip: error: 'h\xe9\udcff.onnx' does not exist"


def test_signals_are_as_before():
    """main() in a process of somebody else's leaves it as it was."""
    before = signal.getsignal(signal.SIGTERM)
    cli.main(["check", "nothing"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_plan_is_explained(tmp_path, capsys):
    path = tmp_path / "plan.json"
    options = ["--boards", "2", "--node", "tiny", "--explain", "--json", str(path)]
    assert cli.main(["plan", str(DIGITS), *options]) == 0
    printed = capsys.readouterr().out
    assert "cycles by MATMUL" in printed and "; instead: " in printed
    assert {"name", "instead", "one_board"} <= set(json.loads(path.read_text())["explained"][0])
