"""A component with many faults in it, of which an input selects one."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from superlip.rtl.verilog import WAIVED

from ..yosys import run_yosys

__all__ = ["SELECT", "SELECT_BITS", "TOP", "Mutant", "Netlist", "plant"]

SELECT = "mutant"
"""Name of the input that selects: 0 for none, or a mutant's number."""
SELECT_BITS = 16
TOP = "mutated"
"""Name of the component's module, with which its submodules' begin."""

_CLOCKS = ("CLK", "ARST", "SRST", "RD_CLK", "WR_CLK")
"""Ports of cells that are left alone: a design with its clock cut or its reset stuck is not what a test is for."""

_LINT = ("UNOPTFLAT", "LATCH", "CMPCONST", "UNSIGNED", "BLKSEQ", "CASEOVERLAP")
"""Of Verilator: what a mutant may do to a design that is clean, and yosys' way to write a priority."""


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Parameters
    ----------
    number : int
        What selects it, from 1 on.
    options : str
        Of yosys' ``mutate``: kind of the fault, module, cell, port and bit.
    source : str
        File and line that the cell was made by (``axi.py:177``), or nothing.
    """

    number: int
    options: str
    source: str

    def option(self, name):
        """What the options say of a name (``wire``), or nothing."""
        found = re.search(rf"-{name} \\?(\S+)", self.options)
        return found[1] if found else ""

    def __str__(self):
        """Kind of the fault, and the bit that it is at: a wire's, or a port's of a cell without a name."""
        place, bit = ("wire", "wirebit") if self.option("wire") else ("port", "portbit")
        cell = "" if place == "wire" else f"{self.option('cell')}."
        return f"{self.option('mode')} {cell}{self.option(place)}[{self.option(bit)}]"


@dataclass(frozen=True)
class Netlist:
    """``plain``: the component for yosys; ``rtlil``: with all mutants and the input SELECT; ``verilog``: the same."""

    plain: str
    verilog: str
    rtlil: str
    mutants: tuple[Mutant, ...]


def plant(rtlil, count, seed, *, modules=()):
    """Plant ``count`` mutants, evenly over the cells of a design.

    Parameters
    ----------
    rtlil : str
        The component, its top module called TOP.
    count, seed : int
        How many, and which.
    modules : sequence of str
        Those that have them, as many each, by their names behind TOP; without any, all do.

    Returns
    -------
    Netlist
        With fewer mutants than ``count`` where there are no more.

    Raises
    ------
    YosysError, MissingToolError
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "plain.il").write_text(_anywhere(rtlil))
        # Not flattened: modules, cells and source lines keep their names. Memories stay memories.
        script, drawn = ["read_rtlil plain.il", f"prep -top {TOP}", "write_rtlil prepared.il"], []
        where = [f"-module {TOP}{module}" for module in modules] or [""]
        each = count // len(where)
        # More than are wanted: those at clocks are dropped. Where there are fewer, it would look for more for ever.
        for place, option in enumerate(where):
            script.append(f"mutate -list {each + each // 4 + 10} {option} -seed {seed} -o list{place}.txt")
        run_yosys(script, folder, timeout=200)
        for place in range(len(where)):
            drawn += _drawn((folder / f"list{place}.txt").read_text(), each)
        mutants = tuple(Mutant(number, text, _source(text)) for number, text in enumerate(drawn, 1))
        planted = [f"mutate -ctrl {SELECT} {SELECT_BITS} {m.number} {_without_notes(m.options)}" for m in mutants]
        script = ["read_rtlil prepared.il", *planted, "write_rtlil mutated.il", "write_verilog -noattr mutated.v"]
        run_yosys(script, folder)
        quiet = "".join(f"/* verilator lint_off {rule} */\n" for rule in (*WAIVED, *_LINT))
        return Netlist(rtlil, quiet + (folder / "mutated.v").read_text(), (folder / "mutated.il").read_text(), mutants)


def _anywhere(rtlil):
    """With source lines that say nothing of the machine: yosys draws by them, too."""
    return re.sub(r'/[^"|]*/(?=(?:superlip|amaranth)/)', "", rtlil)


def _drawn(text, count):
    """The first ``count`` of a list of yosys' that may be taken, each once."""
    lines = dict.fromkeys(line.removeprefix("mutate ") for line in text.splitlines() if line.startswith("mutate "))
    return [line for line in lines if Mutant(0, line, "").option("port") not in _CLOCKS][:count]


def _without_notes(options):
    """Without what ``mutate`` ignores, since a source may hold anything."""
    return re.sub(r" -(?:wire|wirebit|src) \S+", "", options)


def _source(options):
    """File and line of the innermost place in superlip's own code, or else of what it calls."""
    places = re.findall(r"-src (\S+)", options)
    own = [place for place in places if not place.startswith("amaranth/")]
    return (own or places or [""])[-1].rpartition("/")[2]
