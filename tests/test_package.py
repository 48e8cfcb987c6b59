"""The package: what is in the repository is in the wheel, under its import names."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = {name: ROOT / folder for name, folder in SETUP["package-dir"].items()}
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that neither the repository nor an old build/ has a part in it."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS.values():
        shutil.copytree(folder, copy / folder.relative_to(ROOT), ignore=JUNK, dirs_exist_ok=True)
    python("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, copy, cwd=copy)
    (path,) = out.glob("*.whl")
    return path


def test_no_folder_hides_pythons_platform():
    """A platform/__init__.py would shadow the standard library for whoever starts Python here."""
    assert python("-c", "import platform; print(platform.machine())", cwd=ROOT).strip()


def test_package_list_is_complete():
    """A folder with an ``__init__.py`` that pyproject.toml does not list would be missing from the wheel."""
    found = set()
    for name, folder in FOLDERS.items():
        for path in folder.rglob("__init__.py"):
            found.add(".".join((name, *path.parent.relative_to(folder).parts)))
    assert set(SETUP["packages"]) == found


def test_wheel_holds_every_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if path.is_dir() or "__pycache__" in inside.parts or inside.parts[0].startswith("."):
                continue
            name = "/".join((*package.split("."), *inside.parts))
            assert name in names, f"{path.relative_to(ROOT)} is not in the wheel: see package-data in pyproject.toml"


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
