"""The hooks of .pre-commit-config.yaml are what `make lint` runs."""

import importlib.util
import os
import re
import shutil
import sysconfig
import tomllib

import pytest
from paths import ROOT

HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()
COMMANDS = re.findall(r"^        entry: (.+)$", HOOKS, re.M)


def test_hooks_are_local():
    """Each runs a tool of this environment: nothing is fetched, no version is pinned a second time."""
    assert re.findall(r"^ *- repo: (.+)$", HOOKS, re.M) == ["local"]
    hooks = HOOKS.split("- id: ")[1:]
    assert len(hooks) == len(COMMANDS) > 0
    assert all("language: system\n" in hook and "rev:" not in hook for hook in hooks)


def test_hooks_are_what_make_lint_runs():
    lint = re.search(r"^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert re.findall(r"^\t@\$\(BIN\)/(.+)$", lint, re.M) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_their_tools_are_installed(command):
    """By the extra ``lint``; and they are there where any of that is."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["lint"]
    tool = command.split()[0]
    assert tool in {re.match(r"[a-z]+", requirement)[0] for requirement in tools}
    if importlib.util.find_spec(tool):
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        assert shutil.which(tool, path=path)
