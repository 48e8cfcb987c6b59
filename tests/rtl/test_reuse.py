"""PE array, requantizer, link ports and buffer in a package of another repository, which takes public names only."""

import ast
import importlib
import shutil
import subprocess
import sys

from paths import ROOT

DESIGN = ROOT / "tests" / "rtl" / "reuse_design.py"


def test_it_works_in_a_package_elsewhere(tmp_path):
    """Simulated in a process of its own, which has nothing of the repository but ``superlip``; no warning is heard."""
    package = tmp_path / "another repository" / "theirs"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(DESIGN, package / "design.py")
    (package.parent / "superlip").symlink_to(ROOT / "superlip", target_is_directory=True)
    command = [sys.executable, "-W", "always", "-m", "theirs.design"]
    done = subprocess.run(
        command, cwd=package.parent, env={"PATH": ""}, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "16 words equal\n", "")


def test_it_takes_public_names_only():
    """Each is in ``__all__`` of its module."""
    taken = []
    for node in ast.walk(ast.parse(DESIGN.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("superlip"):
            taken += [(node.module, alias.name) for alias in node.names]
    assert len(taken) == 6
    for module, name in taken:
        assert name in importlib.import_module(module).__all__, f"{module}.{name}"
