"""What README, documents and docstrings show works as it is shown."""

import doctest
import importlib
import importlib.util
import io
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from rich.console import Console

import superlip
from superlip import cli
from superlip.tools.failures import EXIT_STATUS

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "examples").glob("*/README.md"))
LINKED = [*DOCUMENTS, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs/decisions").glob("*.md"))]


def blocks(language):
    """Code of a language in all documents, one parameter each."""
    for path in DOCUMENTS:
        for number, match in enumerate(re.finditer(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)):
            yield pytest.param(match[1], id=f"{path.relative_to(ROOT)}-{number}")


def command_lines():
    """Lines of code blocks, indented or fenced, that call superlip; and inline code that does."""
    for path in DOCUMENTS:
        text = path.read_text()
        lines = re.findall(r"^(?:    |\$ |)(superlip .*)$", text, re.M) + re.findall(r"`(superlip [^`\n]*)`", text)
        for line in lines:
            yield pytest.param(line, id=f"{path.relative_to(ROOT)}: {line}")


def modules_with_examples():
    """Modules of ours that show what happens at a prompt."""
    for module in ["superlip", *(found.name for found in pkgutil.walk_packages(superlip.__path__, "superlip."))]:
        if ">>> " in Path(importlib.util.find_spec(module).origin).read_text():
            yield module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A fresh folder with the examples in it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_blocks_run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_readme_has_python():
    assert any(parameter.id.startswith("README.md") for parameter in blocks("python"))


@pytest.mark.parametrize("line", list(command_lines()))
def test_command_lines_are_understood(line):
    words = shlex.split(line, comments=True)[1:]
    if words[-1:] == ["..."]:
        words = words[:-1]
    if not words or (len(words) == 1 and not words[0].startswith("-")):  # the name of a command, in a sentence
        assert not words or words[0] in cli_commands(), line
        return
    # A number stands where a document says N, and what may be left out is there.
    numbers = {"N": "1", "SEED": "1", "CYCLES": "1"}
    cli._parser().parse_args([numbers.get(word, word) for word in words])


def cli_commands():
    return next(action for action in cli._parser()._actions if action.dest == "==SUPPRESS==" or action.choices).choices


def test_every_option_of_the_readme_exists_and_is_there_once():
    rows = re.findall(r"^\| (`-.*?`) \|", (ROOT / "README.md").read_text(), re.M)
    options = re.findall(r"--[a-z-]+", " ".join(rows))
    known = {
        text for command in cli_commands().values() for action in command._actions for text in action.option_strings
    }
    assert len(options) > 8 and set(options) <= known
    assert len(options) == len(set(options))


def test_readme_shows_what_the_demo_prints():
    """The table, whose cycles are those of any image from the fourth on (turns in a bank go round in 128 cycles, and
    the first images meet others); numbers of all 360 images are in the lines around it."""
    console = Console(file=io.StringIO(), width=200)
    superlip.run(ROOT / "examples" / "digits" / "digits.onnx", boards=2, node="tiny", limit=4).print(console)
    printed = [line.rstrip() for line in console.file.getvalue().splitlines()]
    shown = (ROOT / "README.md").read_text()
    table = [line for line in printed if line.startswith(tuple("┏┃┡│├└")) or line.startswith(("one board", "2 boards"))]
    assert len(table) > 14 and "\n".join(table) in shown


def test_readme_has_every_exit_status():
    text = (ROOT / "README.md").read_text()
    for status, meaning in EXIT_STATUS.items():
        assert meaning in text.replace("`", "") and str(status) in text


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_of_docstrings(name, folder):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def test_no_example_is_skipped():
    for path in (path for name in ("superlip", "rtl", "sim", "platform") for path in (ROOT / name).rglob("*.py")):
        assert "doctest: +SKIP" not in path.read_text(), path


def anchors(path):
    """Of the headings of a document, as viewers of Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.relative_to(ROOT)}: {target}"
        assert not anchor or anchor in anchors(file), f"{path.relative_to(ROOT)}: {target}"


def test_decisions_are_in_their_index_and_have_three_parts():
    """Numbered, each once; and where code or documents name one, it is there."""
    folder = ROOT / "docs/decisions"
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert re.findall(r"^\| \[\d{4}\]\((.+?)\)", (folder / "README.md").read_text(), re.M) == [p.name for p in records]
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        assert re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.M) == ["Context", "Choice", "Consequence"], (
            path.name
        )
    for name in ("superlip", "rtl", "sim", "platform"):
        for path in (ROOT / name).rglob("*.py"):
            for record in re.findall(r"docs/decisions/([\w.-]+?\.md)", path.read_text()):
                assert (folder / record).is_file(), f"{path}: {record}"
