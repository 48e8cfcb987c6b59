"""Runs cocotb benches on Verilator: build once per design (by content), test, optionally with waves.

A bench is a module ``superlip.sim.benches.NAME`` with

``CASES``
    dict of case name to a dict of parameters;
``build(**parameters)``
    the Amaranth component under test, for the parameters of one case; if it has instances of Verilog modules, its
    attribute ``verilog`` is their text;
``@cocotb.test()`` coroutines
    which read their parameters with ``case()`` and their random numbers from ``rng()``. They see nothing but the ports:
    a design builds and runs several times faster so.
"""

import hashlib
import importlib
import os
import pkgutil
import random
import re
import shutil
import sys
from pathlib import Path

from superlip.rtl.verilog import to_verilog

from .stand_ins import StandIns
from .toolchain import ToolError, find_toolchain

__all__ = ["benches", "cache_dir", "case", "rng", "run_bench", "to_verilog"]

TOP = "top"
OPT_FAST = "-O1"
# Amaranth's Verilog has these by nature; anything else that Verilator warns of is an error to look at.
QUIET = [
    "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-Wno-UNUSEDSIGNAL", "-Wno-UNOPTFLAT", "-Wno-CASEINCOMPLETE",
    "-Wno-DECLFILENAME", "-Wno-UNSIGNED", "-Wno-CMPCONST", "-Wno-TIMESCALEMOD", "-Wno-LATCH", "-Wno-BLKSEQ",
]  # fmt: skip


def cache_dir():
    """Where builds are kept: $SUPERLIP_CACHE, or superlip/ in the user's cache folder."""
    base = os.environ.get("SUPERLIP_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "superlip"


def benches():
    """Names of all benches."""
    from . import benches as package  # noqa: PLC0415

    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def case():
    """Inside a bench: the parameters of the running case."""
    module = importlib.import_module(os.environ["SUPERLIP_BENCH"])
    return module.CASES[os.environ["SUPERLIP_CASE"]]


def rng():
    """Inside a bench: a generator from the printed seed."""
    return random.Random(int(os.environ["SUPERLIP_SEED"]))


def _ports_only_runner(base):
    """cocotb's runner without --public-flat-rw, which keeps Verilator from optimising anything away."""

    class PortsOnly(base):
        def _build_command(self):
            return [[word for word in command if word != "--public-flat-rw"] for command in super()._build_command()]

    return PortsOnly()


def _control_file(folder, text):
    """A Verilator control file that makes the ports public."""
    pattern = r"^  (?:input|output) (?:wire |reg )?(?:\[\d+:\d+\] )?(\w+) ?;"
    ports = re.findall(pattern, _module(text, TOP), re.MULTILINE)
    path = folder / "ports.vlt"
    lines = [f'public_flat_rw -module "{TOP}" -var "{port}"' for port in ports]
    path.write_text("\n".join(["`verilator_config", *lines, ""]))
    return path


def _cflags(definitions):
    """Arguments of Verilator that make macros known to the C++ compiler."""
    return ["-CFLAGS", " ".join(f"-D{name}={value}" for name, value in definitions.items())] if definitions else []


def _module(text, name):
    start = text.index(f"\nmodule {name}(")
    return text[start : text.index("\nendmodule", start)]


def run_bench(name, case_name, *, seed=None, waves=False, test=None, folder=None, stand_ins=False):
    """Run the cocotb tests of one case of a bench.

    Parameters
    ----------
    name, case_name : str
        Bench module and case.
    seed : int, optional
        Printed; a random one without it.
    waves : bool
        Write ``dump.vcd`` to the run folder.
    test : str, optional
        Only the cocotb test of that name.
    folder : Path, optional
        Where results (and waves) go; by default inside the cache.
    stand_ins : bool
        With the C++ stand-ins of the simulator (``StandIns``) for the data paths.

    Returns
    -------
    Path of the run folder

    Raises
    ------
    AssertionError
        If a test failed (the message says which, and the seed).
    ToolError
        If Verilator, a compiler or cocotb is missing.
    """
    try:
        from cocotb_tools.check_results import get_results  # noqa: PLC0415
        from cocotb_tools.runner import Verilator  # noqa: PLC0415
    except ImportError:
        raise ToolError("cocotb is not installed: pip install 'superlip[bench]'") from None
    tools = find_toolchain()
    module_name = f"{__package__}.benches.{name}"
    module = importlib.import_module(module_name)
    parameters = module.CASES[case_name]
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"bench {name}[{case_name}] seed {seed}", flush=True)

    component = module.build(**parameters)
    platform = StandIns() if stand_ins else None
    text = to_verilog(component, TOP, platform=platform) + getattr(component, "verilog", "")
    extra = [path for path in StandIns.sources if stand_ins]
    definitions = platform.definitions if stand_ins else {}
    parts = (text, waves, OPT_FAST, tools.version, sys.version, definitions, [path.read_text() for path in extra])
    key = hashlib.sha256("".join(map(str, parts)).encode()).hexdigest()[:20]
    build = cache_dir() / "cocotb" / key
    runner = _ports_only_runner(Verilator)
    saved = dict(os.environ)
    try:
        os.environ.update(tools.environment())
        if not (build / "complete").exists():
            partial = build.with_name(f"{key}.{os.getpid()}")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            source = partial / f"{TOP}.v"
            source.write_text(text)
            # Verilator's "slow" files run once: optimised, those of a large design take minutes.
            os.environ["MAKEFLAGS"] = f"{os.environ.get('MAKEFLAGS', '')} OPT_FAST={OPT_FAST} OPT_SLOW=-O0".strip()
            runner.build(
                sources=[_control_file(partial, text), *(p for p in extra if p.suffix == ".sv"), source],
                hdl_toplevel=TOP, build_dir=partial, defines=definitions,
                build_args=[*QUIET, *_cflags(definitions), *(str(p) for p in extra if p.suffix != ".sv")],
                waves=waves, always=True, timescale=("1ns", "1ps"), log_file=partial / "build.log",
            )  # fmt: skip
            (partial / "complete").touch()
            try:
                partial.rename(build)
            except OSError:  # another process was faster
                shutil.rmtree(partial)
        folder = Path(folder) if folder else build / f"run-{case_name}-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(SUPERLIP_BENCH=module_name, SUPERLIP_CASE=case_name, SUPERLIP_SEED=str(seed))
        runner.build_dir, runner.sources, runner.waves = build, [], waves
        results = runner.test(
            test_module=module_name, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=build, test_dir=folder,
            results_xml=str(folder / "results.xml"), testcase=test, waves=waves, seed=seed,
            log_file=folder / "test.log", timescale=("1ns", "1ps"),
        )  # fmt: skip
    finally:
        os.environ.clear()
        os.environ.update(saved)
    count, failed = get_results(results)
    if failed or not count:
        tail = (folder / "test.log").read_text()[-6000:]
        raise AssertionError(f"bench {name}[{case_name}] seed {seed}: {failed} of {count} tests failed\n{tail}")
    return folder
