"""Whether a mutant can be noticed at all: miters of the component with and without it."""

import re
import tempfile
from pathlib import Path

from ..yosys import run_yosys
from .netlist import SELECT, SELECT_BITS, TOP

__all__ = ["equivalent"]

_PROVED = "no model found: SUCCESS!"
_MARK = "superlip mutant"
_OUTPUTS = {"$dff": "Q", "$dffe": "Q", "$sdff": "Q", "$sdffe": "Q", "$sdffce": "Q", "$mem_v2": "RD_DATA"}
"""Cells with state, and the port that shows it."""
_CELL = re.compile(r"^  cell (\$\w+) (\S+)\n((?:    .*\n)*)  end\n", re.MULTILINE)


def equivalent(rtlil, numbers, *, seconds=60):
    """Which mutants are the component itself, proved for all time.

    The miter takes registers and memories apart: both sides are given the same inputs and the same content of all of
    them, whether it can be reached or not, and must give the same outputs and the same next content. So where the proof
    succeeds no test of any length sees the mutant. Where it fails the mutant may still be out of reach.

    Parameters
    ----------
    rtlil : str
        The mutated netlist.
    numbers : list of int
    seconds : float
        For the solver, each.

    Returns
    -------
    set of int

    Raises
    ------
    YosysError, MissingToolError
    """
    found = set()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "mutated.il").write_text(rtlil)
        run_yosys(["read_rtlil mutated.il", f"hierarchy -top {TOP}", "flatten", "write_rtlil flat.il"], folder)
        (folder / "cut.il").write_text(_cut((folder / "flat.il").read_text()))
        script = ["read_rtlil cut.il", "design -save cut"]
        for number in numbers:
            script += [
                "design -load cut", *_side("gold", 0), *_side("gate", number), f"delete {TOP}",
                "miter -equiv -flatten -make_outputs gold gate miter", "hierarchy -top miter", "opt -fast",
                f"log {_MARK} {number}", f"sat -timeout {seconds} -prove trigger 0 miter",
            ]  # fmt: skip
        said = run_yosys(script, folder, timeout=60 + 2 * seconds * len(numbers))
        for number, rest in re.findall(rf"^{_MARK} (\d+)$(.*?)(?=^{_MARK}|\Z)", said, re.MULTILINE | re.DOTALL):
            if _PROVED in rest:
                found.add(int(number))
    return found


def _side(name, number):
    """Commands that make one side of the miter: a copy in which the input SELECT is a constant."""
    constant = [f"delete -input w:{SELECT}", f"connect -nounset -set {SELECT} {SELECT_BITS}'d{number}"]
    return [f"copy {TOP} {name}", f"cd {name}", *constant, "opt_expr", "opt_clean", "cd .."]


def _cut(text):
    """A flat design in which each cell with state is gone: what it shows is an input, what it is given are outputs."""
    number = 1 + max(int(n) for n in re.findall(r"^  wire .*?(?:input|output|inout) (\d+)", text, re.MULTILINE))
    widths = _widths(text)

    def cut(match):
        nonlocal number
        kind, name, body = match.groups()
        if kind not in _OUTPUTS:
            return match[0]
        lines = []
        for port, signal in re.findall(r"^    connect \\(\S+) (.*)$", body, re.MULTILINE):
            width, wire = _width(signal, widths), f"\\{name.lstrip(chr(92))}.{port}"
            if width:
                shows = port == _OUTPUTS[kind]
                lines.append(f"  wire width {width} {'input' if shows else 'output'} {number} {wire}\n")
                lines.append(f"  connect {signal} {wire}\n" if shows else f"  connect {wire} {signal}\n")
                number += 1
        return "".join(lines)

    return _CELL.sub(cut, text)


def _widths(text):
    """Bits of each wire."""
    found = re.findall(r"^  wire (?:.*?width (\d+) )?.*?(\S+)$", text, re.MULTILINE)
    return {name: int(width or 1) for width, name in found}


def _width(signal, widths):
    """Bits of a signal as RTLIL writes it."""
    signal = signal.strip()
    if signal.startswith("{"):
        parts = re.findall(r"[^\s{}]+(?: \[\d+(?::\d+)?\])?", signal)
        return sum(_width(part, widths) for part in parts)
    if bits := re.fullmatch(r"(\d+)'\S*", signal):
        return int(bits[1])
    if part := re.fullmatch(r"\S+ \[(\d+)(?::(\d+))?\]", signal):
        return int(part[1]) - int(part[2] or part[1]) + 1
    return widths[signal]
