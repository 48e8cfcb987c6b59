"""The package: what is in the repository is in the wheel, under its import names."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

LINKS = {"superlip/rtl": "rtl", "superlip/sim": "sim", "superlip/boards": "platform/boards"}
SOURCES = ("superlip", "rtl", "sim", "platform/boards")
BUILD = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


def python(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_source(folder):
    """What a build needs, without an old build/ and what else lies about."""
    folder.mkdir(exist_ok=True)
    for name in BUILD:
        shutil.copy(ROOT / name, folder)
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=JUNK, symlinks=True)
    return folder


def build_wheel(source, out):
    python("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source, cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(copy_source(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("wheel"))


def test_no_folder_hides_pythons_platform():
    """A platform/__init__.py would shadow the standard library for whoever starts Python here."""
    assert python("-c", "import platform; print(platform.machine())", cwd=ROOT).strip()


def files(folder):
    """Names of the files below a folder that belong to it, links followed."""
    for base, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        yield from (Path(base, name).relative_to(folder) for name in names)


@pytest.mark.parametrize("link", LINKS)
def test_top_level_folders_are_linked(link):
    path = ROOT / link
    assert path.is_symlink() and path.resolve() == ROOT / LINKS[link]
    assert not Path(os.readlink(path)).is_absolute()


def test_wheel_holds_every_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in files(ROOT / "superlip"):
        assert f"superlip/{path.as_posix()}" in names, (
            f"superlip/{path} is not in the wheel: an __init__.py, package-data?"
        )


def test_sdist_gives_the_same_wheel(wheel, tmp_path):
    source, out = copy_source(tmp_path / "source"), tmp_path / "out"
    out.mkdir()
    python("-c", "from setuptools import build_meta; build_meta.build_sdist('../out')", cwd=source)
    (archive,) = out.glob("*.tar.gz")
    shutil.unpack_archive(archive, out)
    again = build_wheel(out / archive.name.removesuffix(".tar.gz"), out)
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_a_checkout_without_links_says_so(tmp_path):
    source = copy_source(tmp_path / "source")
    (source / "superlip/rtl").unlink()
    (source / "superlip/rtl").write_text("../rtl")  # as git leaves it where links are not allowed
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode and "superlip/rtl should be symbolic links to rtl" in done.stdout + done.stderr


def test_wheel_imports_from_anywhere(wheel, tmp_path):
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel, cwd=elsewhere)
    code = (
        "import superlip.boards, superlip.rtl, superlip.rtl.config, superlip.sim, superlip.sim.native\n"
        "for module in (superlip, superlip.boards, superlip.rtl, superlip.sim, superlip.sim.native):\n"
        "    print(module.__file__)\n"
    )
    lines = python("-c", code, cwd=elsewhere, PYTHONPATH=str(target)).split()
    assert len(lines) == 5
    assert all(Path(line).is_relative_to(target) for line in lines), lines
