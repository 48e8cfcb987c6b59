"""The cache: one process makes an entry, nobody sees half of one, damage is mended, and every folder will do."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from paths import ROOT

from superlip.boards import TARGETS
from superlip.cli import main
from superlip.sim import build
from superlip.sim.cluster import SimulationError, Simulator
from superlip.sim.runner import run_bench
from superlip.tools.cache import CacheError, cache_dir, cache_folder, check_cache, entry, lookup, work_folder
from superlip.tools.toolchain import MissingToolError, ToolError, find_toolchain

KEY = "0123456789abcdef0123"
ODD = ["with space", "don't", 'say "x"', "semi;colon", "dollar$(HOME)#", "Größe"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tools():
    try:
        return find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


class Maker:
    """Writes an entry and counts how often."""

    def __init__(self, content="content"):
        self.content, self.calls = content, 0

    def __call__(self, folder):
        assert not list(folder.iterdir())
        self.calls += 1
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text(self.content)
        program = folder / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)


def names(kind="things"):
    """What lies there but for locks."""
    return sorted(path.name for path in cache_folder(kind).iterdir() if path.suffix != ".lock")


def process(code, **options):
    """Another Python process with ``entry``; ``make(folder)`` waits for ``go`` to appear in the current folder."""
    before = """
        import os, sys, time
        from pathlib import Path
        from superlip.tools.cache import entry
        def make(folder):
            (folder / "begun").touch()
            print("begun", flush=True)
            while not Path("go").exists():
                time.sleep(0.01)
            (folder / "by").write_text(str(os.getpid()))
    """
    command = [sys.executable, "-c", textwrap.dedent(before) + textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_an_entry_is_made_once():
    make = Maker()
    assert lookup("things", KEY) is None
    folder = entry("things", KEY, make)
    assert folder == cache_dir() / "things" / KEY == entry("things", KEY, make) == lookup("things", KEY)
    assert (folder / "sub" / "file").read_text() == "content" and make.calls == 1
    assert names() == [KEY]


def damage_content(folder):
    (folder / "sub" / "file").write_text("Content")


def empty(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace_by_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


DAMAGE = {
    "content": damage_content,
    "truncated": lambda folder: os.truncate(folder / "sub" / "file", 0),
    "file lost": lambda folder: (folder / "sub" / "file").unlink(),
    "manifest lost": lambda folder: (folder / "manifest.json").unlink(),
    "manifest empty": lambda folder: (folder / "manifest.json").write_text("{}"),
    "manifest no object": lambda folder: (folder / "manifest.json").write_text("[1]"),
    "manifest cut": lambda folder: os.truncate(folder / "manifest.json", 20),
    "no program": lambda folder: (folder / "program").chmod(0o644),
    "emptied": empty,
    "a file": replace_by_a_file,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_made_anew(damage):
    make = Maker()
    folder = entry("things", KEY, make)
    damage(folder)
    assert lookup("things", KEY) is None
    assert entry("things", KEY, make) == folder and make.calls == 2
    assert (folder / "sub" / "file").read_text() == "content" and os.access(folder / "program", os.X_OK)
    assert names() == [KEY]


def test_a_maker_that_fails_leaves_nothing():
    def fails(folder):
        (folder / "file").touch()
        raise KeyError("why")

    with pytest.raises(KeyError):
        entry("things", KEY, fails)
    assert names() == []


def test_two_processes_make_an_entry_once(tmp_path):
    code = f"print((entry('things', {KEY!r}, make, note=lambda text: print(text, flush=True)) / 'by').read_text())"
    first = process(code, cwd=tmp_path)
    assert first.stdout.readline() == "begun\n"
    second = process(code, cwd=tmp_path)
    assert "another process" in second.stdout.readline()
    (tmp_path / "go").touch()
    (by_first,), (by_second,) = first.stdout.readlines(), second.stdout.readlines()
    assert first.wait() == second.wait() == 0
    assert by_first == by_second == f"{first.pid}\n"
    assert names() == [KEY]


@pytest.mark.parametrize("key", [KEY, "another"])
def test_what_a_killed_process_left_goes(tmp_path, key):
    """Whatever its process number was: in a container the next process has the same."""
    killed = process(f"entry('things', {KEY!r}, make)", cwd=tmp_path)
    assert killed.stdout.readline() == "begun\n"
    (left,) = names()
    killed.kill(), killed.wait()
    make = Maker()
    entry("things", key, make)
    assert make.calls == 1 and names() == [key] and left != key


def test_what_another_process_is_making_stays(tmp_path):
    working = process(f"entry('things', {KEY!r}, make)", cwd=tmp_path)
    assert working.stdout.readline() == "begun\n"
    entry("things", "another", Maker())
    assert len(names()) == 2
    (tmp_path / "go").touch()
    assert working.wait() == 0 and names() == [KEY, "another"]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o702])
@pytest.mark.parametrize("kind", ["", "things"])
def test_a_folder_that_others_may_write_to_is_refused(cache, mode, kind):
    entry("things", KEY, Maker())
    (cache / kind).chmod(mode)
    with pytest.raises(
        CacheError, match=r"can be written by others \(d[rwx-]{9}\).*chmod go-w.*SUPERLIP_CACHE"
    ) as caught:
        lookup("things", KEY)
    assert str(cache / kind) in str(caught.value) and "\n" not in str(caught.value)
    (cache / kind).chmod(mode & ~0o022)
    assert lookup("things", KEY)


def test_a_folder_of_somebody_else_is_refused(cache, monkeypatch):
    cache_folder("things")
    monkeypatch.setattr(os, "getuid", lambda: cache.stat().st_uid + 1)
    if cache.stat().st_uid == 0:
        os.chown(cache, 12345, -1)
    with pytest.raises(CacheError, match="belongs to another user"):
        cache_folder("things")


def test_new_folders_are_private_whatever_the_umask(cache):
    before = os.umask(0)
    try:
        folder = entry("things", KEY, Maker())
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (cache, folder.parent, folder)} == {0o700}


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERLIP_CACHE", "relative")
    assert cache_dir() == tmp_path / "relative"
    monkeypatch.delenv("SUPERLIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "superlip"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_dir() == tmp_path / "x" / "superlip"


def no_folder(path):
    path.write_text("a file")
    return path / "cache"


def read_only(path):
    """Not even root can make folders there."""
    return Path("/proc/self/superlip")


@pytest.mark.parametrize("place", [no_folder, read_only])
@pytest.mark.parametrize("work", [check_cache, lambda: entry("things", KEY, Maker()), lambda: lookup("things", KEY)])
def test_a_folder_that_can_not_be_written_is_named(tmp_path, monkeypatch, place, work):
    folder = place(tmp_path / "place")
    monkeypatch.setenv("SUPERLIP_CACHE", str(folder))
    with pytest.raises(CacheError, match="set SUPERLIP_CACHE to a folder that you can write to") as caught:
        work()
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_is_named():
    def fills(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "file"))

    with pytest.raises(
        CacheError, match=r"no space left on the disk while writing .*file: free some, or set SUPERLIP_CACHE"
    ):
        entry("things", KEY, fills)
    assert names() == []


def test_other_errors_of_files_come_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        entry("things", KEY, lambda folder: (tmp_path / "missing").read_text())


@pytest.mark.parametrize("name", ODD)
def test_builds_work_where_make_can(tmp_path, monkeypatch, name):
    odd = tmp_path / name
    odd.mkdir()
    with work_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
    with work_folder(odd) as folder:
        assert odd not in folder.parents and list(folder.iterdir()) == []
    monkeypatch.setenv("TMPDIR", str(odd))
    monkeypatch.setattr("tempfile.tempdir", None)
    with work_folder(odd) as folder:
        assert odd not in folder.parents
    assert not folder.exists()


@pytest.mark.slow
def test_simulator_and_bench_in_an_odd_folder(tmp_path, monkeypatch, tools):
    """One of each kind of odd character in the cache, in the temporary folder and in Verilator's."""
    odd = tmp_path / "a b'c\"d;e$(f)#g"
    odd.mkdir()
    monkeypatch.setenv("SUPERLIP_CACHE", str(odd / "cache"))
    monkeypatch.setenv("TMPDIR", str(odd))
    monkeypatch.setattr("tempfile.tempdir", None)
    if tools.root is not None:
        shutil.copytree(tools.root, odd / "verilator")
        monkeypatch.syspath_prepend(str(odd))
    sim = Simulator.build(TARGETS["tiny"])
    assert odd in sim.executable.parents and Simulator.build(TARGETS["tiny"]) == sim
    with pytest.raises(SimulationError, match=r"node 0.*cycle"):  # it runs: an empty DRAM holds no program
        sim.run(boards=1, programs=[0], watchdog=1000).check()
    pytest.importorskip("cocotb")
    assert odd in run_bench("read_mux", "8_bytes").parents


@pytest.mark.parametrize("command", ["run", "bisect"])
@pytest.mark.parametrize("missing", ["g++", "make", "perl", "a cache"])
def test_what_is_missing_is_found_before_the_model_is_read(tmp_path, monkeypatch, capsys, command, missing):
    (tmp_path / "bin").mkdir()
    for name in {"g++", "make", "perl"} - {missing}:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or pytest.skip(f"no {name}"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    if missing == "a cache":
        monkeypatch.setenv("SUPERLIP_CACHE", "/proc/self/superlip")
    assert main([command, str(tmp_path / "no-model.onnx"), "--node", "tiny"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("superlip: error: ") and said.count("\n") == 1
    assert ("SUPERLIP_CACHE" if missing == "a cache" else missing) in said


def test_a_compiler_that_fails_is_told_with_its_last_lines(tmp_path, monkeypatch, tools):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(build.BuildError, match=r"failed in make; the log is .*\.log\n(?s:.*)it is broken") as caught:
        Simulator.build(TARGETS["tiny"])
    assert isinstance(caught.value, ToolError)
    assert [Path(name).suffix for name in names(build.KIND)] == [".log"]


def test_a_log_that_tells_of_a_full_disk(tmp_path):
    (tmp_path / "log").write_text(
        "a\n" * 100 + "cc1plus: error writing to x.s: No space left on device\nmake: Error 1\n"
    )
    assert build.last_lines(tmp_path / "log").endswith("set SUPERLIP_CACHE or TMPDIR to another")


def waits_for(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def descendants(pid):
    """Commands of what a process has started, and of all that these have."""
    import psutil  # noqa: PLC0415

    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (signal.SIGTERM, "yosys"),
        (signal.SIGHUP, "cc1plus"),
        pytest.param(signal.SIGINT, "verilator_bin", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_command_and_all_it_started(cache, tools, number, stage):
    """In Amaranth's conversion, and while a simulator is compiled."""
    model = ROOT / "examples" / "digits" / "digits.onnx"
    command = [sys.executable, "-m", "superlip.cli", "run", str(model), "--node", "tiny", "--images", "1"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = set()

    def reached():
        import psutil  # noqa: PLC0415

        assert running.poll() is None, running.stderr.read()
        for found in descendants(running.pid):
            try:
                line = " ".join(found.cmdline())
            except psutil.NoSuchProcess:
                continue
            seen.add(found)
            if stage in line:
                return True
        return False

    waits_for(120, reached)
    running.send_signal(number)
    assert running.wait(timeout=30) == 130
    assert "interrupted" in running.stderr.read()
    running.stdout.close(), running.stderr.close()
    waits_for(5, lambda: not any(found.is_running() and found.status() != "zombie" for found in seen))
    assert not list(cache.rglob("*.partial"))
