"""Reports are written whole or not at all."""

import os
import stat

import pytest

from superlip.tools.files import write_whole


def test_a_file_takes_the_place_of_another(tmp_path):
    path = tmp_path / "report.json"
    write_whole(path, "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    write_whole(tmp_path / "link", "é")
    assert path.read_text(encoding="utf-8") == "é" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "report.json"]


def test_a_failure_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_whole(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_whole(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["report.json"]


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(path, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
