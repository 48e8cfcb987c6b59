"""Whether a mutant can be noticed at all: miters of the component with it and without."""

import contextlib
import re
import tempfile
from pathlib import Path

from ..yosys import YosysError, run_yosys
from .netlist import SELECT, SELECT_BITS, TOP

__all__ = ["CYCLES", "equivalent", "unreached"]

CYCLES = 20
"""How far from a reset on ``unreached`` looks."""

_PROVED = "no model found: SUCCESS!"
_MARK = "superlip mutant"
_OUTPUTS = {"$dff": "Q", "$dffe": "Q", "$sdff": "Q", "$sdffe": "Q", "$sdffce": "Q", "$mem_v2": "RD_DATA"}
"""Cells with state, and the port that shows it."""
_REGISTER = re.compile(r"state_\S+\.Q")
_SELECTED = re.compile(
    rf"^  cell \$eq \S+\n(?:    .*\n)*?    connect \\A \\{SELECT}\n    connect \\B \d+'([01]+)\n"
    r"    connect \\Y (.*)\n  end\n",
    re.MULTILINE,
)
"""The cell that says whether a mutant is selected."""
_CELL = re.compile(r"^  cell (\$\w+) (\S+)\n((?:    .*\n)*)  end\n", re.MULTILINE)


def equivalent(rtlil, numbers, *, seconds=60):
    """Which mutants are the component itself, proved for all time.

    The miter takes registers and memories apart, but for what nothing reads: both sides are given the same inputs and
    the same content of all of them, whether it can be reached or not, and must give the same outputs and the same next
    content. So where the proof succeeds no test of any length sees the mutant. Where it fails the mutant may still be
    out of reach.

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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_cut(rtlil, folder, numbers)
        check = ["hierarchy -top miter", "opt -fast", f"sat -timeout {seconds} -prove trigger 0 miter"]
        return _proved(folder, numbers, check, seconds)


def unreached(rtlil, numbers, *, cycles=CYCLES, seconds=30):
    """Which mutants change nothing within some cycles of a reset, whatever the inputs are.

    A bounded miter: the component runs from a cycle of reset on, and in each cycle what the mutant would make of its
    registers and inputs is held against what it makes itself. Registers without a reset hold anything at first, and
    memories answer anything at any time, so more can be reached than by the component.

    Parameters
    ----------
    rtlil : str
        The mutated netlist.
    numbers : list of int
    cycles : int
        Behind the one of reset.
    seconds : float
        For the solver, each.

    Returns
    -------
    set of int
        Without those that the solver has no time or no memory for, as where there are multipliers.

    Raises
    ------
    MissingToolError
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_cut(rtlil, folder, numbers)
        check = [
            "read_rtlil running.il", "hierarchy -check -top running", "flatten", "opt -fast",
            f"sat -seq {cycles + 1} -set-at 1 in_rst 1 -prove-skip 1 -timeout {seconds} -prove trigger 0 running",
        ]  # fmt: skip
        found: set[int] = set()
        for number in numbers:
            (folder / "running.il").write_text(_running((folder / f"cut-{number}.il").read_text()))
            with contextlib.suppress(YosysError):
                found |= _proved(folder, [number], check, seconds)
        return found


def _write_cut(rtlil, folder, numbers):
    """``cut-NUMBER.il`` of each mutant: the flat netlist with it alone, without its state and what nothing reads."""
    script = []
    for number in numbers:
        (folder / f"alone-{number}.il").write_text(_alone(rtlil, number))
        bits = ["flatten", "dffunmap", "opt_expr", "splitcells", "opt_clean"]  # bit by bit: others of a word are read
        script += [f"read_rtlil alone-{number}.il", f"hierarchy -top {TOP}", *bits, f"write_rtlil flat-{number}.il"]
        script += ["design -reset"]
    run_yosys(script, folder, timeout=60 + 30 * len(numbers))
    for number in numbers:
        (folder / f"cut-{number}.il").write_text(_cut((folder / f"flat-{number}.il").read_text()))


def _alone(rtlil, number):
    """A mutated netlist in which the others are never selected."""

    def never(match):
        return match[0] if int(match[1], 2) == number else f"  connect {match[2]} 1'0\n"

    return _SELECTED.sub(never, rtlil)


def _proved(folder, numbers, check, seconds):
    """Of which of the mutants in ``cut-NUMBER.il`` the commands, given the module ``miter``, prove what they shall."""
    script = []
    for number in numbers:
        script += [
            "design -reset", f"read_rtlil cut-{number}.il", *_side("gold", 0), *_side("gate", number), f"delete {TOP}",
            "miter -equiv -flatten -make_outputs gold gate miter", "delete gold gate", f"log {_MARK} {number}", *check,
        ]  # fmt: skip
    said = run_yosys(script, folder, timeout=60 + 2 * seconds * len(numbers))
    sections = re.findall(rf"^{_MARK} (\d+)$(.*?)(?=^{_MARK}|\Z)", said, re.MULTILINE | re.DOTALL)
    return {int(number) for number, rest in sections if _PROVED in rest}


def _running(cut):
    """A module ``running``: the miter with the component's registers, which it gives their next content."""
    inputs = re.findall(r"^  wire (?:width (\d+) )?input \d+ \\(\S+)$", cut, re.MULTILINE)
    lines, connections = [], ["    connect \\trigger \\trigger\n"]
    for number, (bits, name) in enumerate(inputs, 1):
        width = f"width {bits or 1}"
        if name == SELECT:
            continue
        connections.append(f"    connect \\in_{name} \\in_{name}\n")
        if _REGISTER.fullmatch(name):
            following = f"{name.removesuffix('.Q')}.D"
            connections.append(f"    connect \\gold_{following} \\next_{name}\n")
            lines.append(
                f"  wire {width} \\in_{name}\n  wire {width} \\next_{name}\n  cell $dff $register{number}\n"
                f"    parameter \\CLK_POLARITY 1'1\n    parameter \\WIDTH {bits or 1}\n"
                f"    connect \\CLK \\in_clk\n    connect \\D \\next_{name}\n    connect \\Q \\in_{name}\n  end\n"
            )
        else:
            lines.append(f"  wire {width} input {number} \\in_{name}\n")
    trigger = f"  wire output {len(inputs) + 1} \\trigger\n"
    return f"module \\running\n{trigger}{''.join(lines)}  cell \\miter \\miter\n{''.join(connections)}  end\nend\n"


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
            width, wire = _width(signal, widths), f"\\state_{name.lstrip(chr(92))}.{port}"
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
