"""Runs cocotb testbenches, on Verilator or Icarus: build once per design (by content), test, optionally with waves.

A testbench is a Python module, one of ``superlip.sim.testbenches`` or any other file, with

``CASES``
    dict of case name to a dict of parameters;
``build(**parameters)``
    the Amaranth component under test, for the parameters of one case; if it has instances of Verilog modules, its
    attribute ``verilog`` is their text;
``@cocotb.test()`` coroutines
    which read their parameters with ``case()`` and their random numbers from ``rng()``. They see nothing but the ports:
    a design builds and runs several times faster so.

Icarus knows unknown values, builds at once and runs some hundred times slower: ``SIM=icarus`` in the environment.
"""

import base64
import contextlib
import hashlib
import importlib
import importlib.metadata
import os
import pickle
import pkgutil
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from amaranth.lib import wiring

from superlip.rtl.verilog import to_verilog
from superlip.tools.cache import cache_folder, entry, remove_old, work_folder
from superlip.tools.children import child
from superlip.tools.toolchain import MissingToolError, Toolchain, find_toolchain, install_command

from .build import BuildError, last_lines
from .stand_ins import StandIns

__all__ = ["SIMULATORS", "TestbenchError", "testbenches", "case", "load_testbench", "rng", "run_bench", "to_verilog"]

TOP = "top"
SIMULATORS = {"verilator": "", "icarus": "-g2012", "icarus-2005": "-g2005"}
"""What testbenches run on, and the generation of Verilog that it is told."""
OPT_FAST = "-O1"
QUIET = ["-Wno-UNOPTFLAT", "-Wno-UNSIGNED", "-Wno-CMPCONST"]  # what somebody's component may have; a node has not


class TestbenchError(ValueError):
    """There is no such testbench, or no such case of it, or it can't be built."""


def testbenches() -> list[str]:
    """Names of superlip's own testbenches."""
    from . import testbenches as package  # noqa: PLC0415

    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def case() -> dict[str, Any]:
    """Inside a testbench: the parameters of the running case."""
    return pickle.loads(base64.b64decode(os.environ["SUPERLIP_CASE"]))


def rng() -> random.Random:
    """Inside a testbench: a generator from the printed seed."""
    return random.Random(int(os.environ["SUPERLIP_SEED"]))


def load_testbench(testbench: str | Path) -> ModuleType:
    """The module of a testbench.

    Parameters
    ----------
    testbench : str or Path
        Name of one of superlip's own, or path of a Python file. As for a script, its folder becomes the first on
        ``sys.path``, so that it can import what lies beside it.

    Raises
    ------
    TestbenchError
        If there is none, or it lacks ``CASES`` or ``build``.
    MissingToolError
        If cocotb is not installed.
    """
    if testbench not in testbenches() and Path(testbench).suffix != ".py":
        raise TestbenchError(
            f"no testbench {str(testbench)!r}; there are: {', '.join(testbenches())}, and any Python file (PATH.py)"
        )
    if find_spec("cocotb") is None or find_spec("cocotb_tools") is None:
        raise MissingToolError(f"cocotb is not installed: {install_command('cocotb', 'cocotbext-axi')}")
    module = _import_file(Path(testbench)) if Path(testbench).suffix == ".py" else _import_own(testbench)
    missing = [name for name in ("CASES", "build") if not hasattr(module, name)]
    if not _tests(module):
        missing.append("@cocotb.test()")
    if missing:
        raise TestbenchError(f"{testbench} is no testbench: it has no {' and no '.join(missing)}")
    if not isinstance(module.CASES, Mapping) or not module.CASES:
        raise TestbenchError(f"{testbench} is no testbench: its CASES must be a dict of at least one case")
    return module


def _tests(module):
    """Names of a module's cocotb tests; of a test with parameters, its name alone."""
    ours = [value for value in vars(module).values() if type(value).__module__.partition(".")[0] == "cocotb"]
    return [value.name for value in ours if hasattr(value, "fullname") or hasattr(value, "generate_tests")]


def _import_own(name):
    try:
        return importlib.import_module(f"{__package__}.testbenches.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("cocotbext"):
            raise
        raise MissingToolError(f"testbench {name} needs cocotbext-axi: {install_command('cocotbext-axi')}") from None


def _import_file(path):
    path = path.absolute()
    if not path.is_file():
        raise TestbenchError(f"there is no testbench {path}")
    if not path.stem.isidentifier():
        raise TestbenchError(f"{path} can't be imported: a testbench's file name is a Python name")
    if os.pathsep in str(path.parent):
        raise TestbenchError(
            f"{path} can't be imported: its folder has {os.pathsep!r} in its name, as PYTHONPATH has not"
        )
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    with _told(f"{path} can't be imported"):
        module = importlib.import_module(path.stem)
    if not os.path.samefile(getattr(module, "__file__", None) or os.devnull, path):
        raise TestbenchError(f"{path} has the name of another module ({module.__name__}): rename it")
    return module


def run_bench(
    testbench: str | Path,
    case_name: str | None = None,
    *,
    parameters: dict[str, Any] | None = None,
    seed: int | None = None,
    waves: bool = False,
    test: str | None = None,
    folder: str | Path | None = None,
    stand_ins: bool = False,
    simulator: str | None = None,
) -> Path:
    """Run the cocotb tests of one case of a testbench, superlip's or your own.

    ``superlip.sim.run_bench("vector", "lanes8")``, or ``run_bench("my/adder.py", parameters={"width": 12})``.

    Parameters
    ----------
    testbench : str or Path
        As for ``load_testbench``.
    case_name : str, optional
        One of its ``CASES``; by default the first.
    parameters : dict, optional
        For ``build`` and ``case()``, instead of those of the case. They must be picklable.
    seed : int, optional
        Printed; a random one without it.
    waves : bool
        Write ``dump.vcd`` to the run folder (Icarus: ``dump.fst``).
    test : str, optional
        Only the cocotb test of that name, with all its parameters.
    folder : Path, optional
        Where results (and waves) go; by default a new one inside the cache.
    stand_ins : bool
        With the C++ stand-ins of the simulator (``StandIns``) for the data paths. Not with Icarus.
    simulator : str, optional
        One of ``SIMULATORS``; by default what the environment's SIM says, or Verilator.

    Returns
    -------
    Path of the run folder

    Raises
    ------
    AssertionError
        If a test failed (the message says which, and the seed).
    TestbenchError
        If there is no such testbench, case, test or simulator, or its component can't be built.
    MissingToolError
        If the simulator, a compiler or cocotb is missing.
    BuildError
        If the simulator or the compiler refuses the design.
    CacheError
        If the cache can't be used.
    """
    simulator = simulator or os.environ.get("SIM", "verilator")
    if simulator not in SIMULATORS or (stand_ins and simulator != "verilator"):
        known = "verilator" if stand_ins else ", ".join(SIMULATORS)
        raise TestbenchError(f"a testbench runs on {known}{' with stand-ins' if stand_ins else ''}, not {simulator!r}")
    module = load_testbench(testbench)
    tools = find_toolchain() if simulator == "verilator" else _find_icarus()
    name = module.__name__.removeprefix(f"{__package__}.testbenches.")
    case_name, parameters = _case(module, name, case_name, parameters)
    if test is not None and test not in _tests(module):
        raise TestbenchError(f"testbench {name} has no test {test!r}; there are: {', '.join(_tests(module))}")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"testbench {name}[{case_name}] seed {seed}", flush=True)
    platform = StandIns() if stand_ins else None
    with _told(f"testbench {name}[{case_name}] can't be built"):
        pickle.dumps(parameters)
        text = _text(module.build(**parameters), platform)
    if simulator == "verilator":
        build = build_verilog(tools, text, waves=waves, stand_ins=platform)
    else:
        # What cocotb dumps waves with is SystemVerilog.
        build = _build_icarus(tools, text, waves, SIMULATORS["icarus" if waves else simulator])
    folder = Path(folder).absolute() if folder else _run_folder(name, case_name)
    folder.mkdir(parents=True, exist_ok=True)
    count, failed = run_tests(
        build, module.__name__, parameters, seed, folder, waves=waves, test=test, simulator=simulator
    )
    if failed or not count:
        what = f"{failed} of {count} tests failed" if count else "no test was run to its end"
        tail = (folder / "test.log").read_text(errors="replace")[-6000:]
        raise AssertionError(f"testbench {name}[{case_name}] seed {seed}: {what}\n{tail}")
    return folder


@contextlib.contextmanager
def _told(what):
    """A mistake in somebody's testbench is theirs to mend."""
    try:
        yield
    except Exception as error:
        raise TestbenchError(f"{what}: {type(error).__name__}: {error}") from error


def _case(module, name, case_name, parameters):
    """Name and parameters of what is to be run."""
    if case_name is None:
        case_name = "parameters" if parameters is not None else next(iter(module.CASES), None)
    if parameters is not None:
        return case_name, parameters
    if case_name not in module.CASES:
        raise TestbenchError(f"testbench {name} has no case {case_name!r}; there are: {', '.join(module.CASES)}")
    return case_name, module.CASES[case_name]


def _run_folder(name, case_name):
    runs = cache_folder("testbench-runs")
    remove_old(runs)
    return Path(tempfile.mkdtemp(prefix=f"{name}-{re.sub(r'[^A-Za-z0-9_.-]', '_', case_name)}-", dir=runs))


def _text(component, platform):
    """Verilog of what a testbench has built."""
    if not isinstance(component, wiring.Component):
        raise TypeError(f"build() must return a wiring.Component, not {component!r}")
    return to_verilog(component, TOP, platform=platform) + getattr(component, "verilog", "")


def build_verilog(tools: Toolchain, text: str, *, waves: bool = False, stand_ins: StandIns | None = None) -> Path:
    """Folder of the simulator of a Verilog text with a module ``top``: from the cache, or built.

    ``stand_ins`` : StandIns, optional
        Those that the text was made with.
    """
    extra = {path.name: path.read_text() for path in StandIns.sources if stand_ins}
    extra |= {path.name: path.read_text() for path in StandIns.headers if stand_ins}
    definitions = stand_ins.definitions if stand_ins else {}
    cocotb = importlib.metadata.version("cocotb")
    parts = (text, waves, OPT_FAST, tools.version, cocotb, sys.version, definitions, extra)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:20]

    def make(target):
        with work_folder(target) as work, _environment(tools.linked(work).environment()):
            for name, content in {f"{TOP}.v": text, "ports.vlt": _control_file(text), **extra}.items():
                (work / name).write_text(content)
            # Verilator's "slow" files run once: optimised, those of a large design take minutes.
            os.environ["MAKEFLAGS"] = f"{os.environ.get('MAKEFLAGS', '')} OPT_FAST={OPT_FAST} OPT_SLOW=-O0".strip()
            log = work / "build.log"
            verilog = [name for name in ("ports.vlt", *extra, f"{TOP}.v") if not name.endswith((".cpp", ".h"))]
            try:
                _runner(work).build(
                    sources=[work / name for name in verilog], hdl_toplevel=TOP, build_dir=work, defines=definitions,
                    build_args=[*QUIET, *_cflags(definitions), *(str(work / n) for n in extra if n.endswith(".cpp"))],
                    waves=waves, always=True, timescale=("1ns", "1ps"), log_file=log,
                )  # fmt: skip
            except subprocess.CalledProcessError as error:
                tool = Path(error.cmd[0]).name
                raise BuildError(f"building the testbench's simulator failed in {tool}\n{last_lines(log)}") from None
            (target / TOP).write_bytes((work / TOP).read_bytes())
            (target / TOP).chmod(0o755)

    return entry("testbench-simulators", key, make)


def _find_icarus():
    """Version of Icarus."""
    missing = [tool for tool in ("iverilog", "vvp") if shutil.which(tool) is None]
    if missing:
        raise MissingToolError(f"{missing[0]} not found: install Icarus Verilog, e.g. apt-get install iverilog")
    return subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False).stdout.partition("\n")[0]


def _build_icarus(version, text, waves, generation):
    """Folder of what vvp runs, from the cache or built."""
    parts = (text, waves, version, importlib.metadata.version("cocotb"), generation)

    def make(target):
        (target / f"{TOP}.v").write_text(text)
        log = target / "build.log"
        try:
            _icarus().build(
                sources=[target / f"{TOP}.v"], hdl_toplevel=TOP, build_dir=target, build_args=[generation],
                waves=waves, always=True, timescale=("1ns", "1ps"), log_file=log,
            )  # fmt: skip
        except subprocess.CalledProcessError:
            raise BuildError(f"iverilog {generation} refuses the testbench's component\n{last_lines(log)}") from None

    return entry("testbench-simulators", hashlib.sha256(repr(parts).encode()).hexdigest()[:20], make)


def run_tests(
    build: Path,
    module_name: str,
    parameters: Any,
    seed: int,
    folder: Path,
    *,
    waves: bool = False,
    test: str | None = None,
    simulator: str = "verilator",
    variables: Mapping[str, str] | None = None,
) -> tuple[int, int]:
    """Run the tests of a module on a simulator that was built: how many there are, and how many of them failed.

    ``variables`` : dict, optional
        More of the environment, for the test module.
    """
    from cocotb_tools import config  # noqa: PLC0415
    from cocotb_tools.check_results import get_results  # noqa: PLC0415

    libraries = os.pathsep.join(filter(None, [str(config.libs_dir), os.environ.get("LD_LIBRARY_PATH")]))
    settings = {"SUPERLIP_CASE": base64.b64encode(pickle.dumps(parameters)).decode(), "SUPERLIP_SEED": str(seed)}
    results = folder / "results.xml"
    with _environment({**os.environ, **settings, **(variables or {}), "LD_LIBRARY_PATH": libraries}):
        runner = _runner(None) if simulator == "verilator" else _icarus()
        runner.sources = []
        with contextlib.suppress(subprocess.CalledProcessError, SystemExit):  # then there are no results
            runner.test(
                test_module=module_name, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=build,
                test_dir=folder, results_xml=str(results), waves=waves, seed=seed,
                test_filter=None if test is None else rf"\.{re.escape(test)}(/.*)?$",
                plusargs=[f"+dumpfile_path={folder / 'dump.fst'}"], timescale=("1ns", "1ps"),
                log_file=folder / "test.log",
            )  # fmt: skip
    try:
        _, failed = get_results(results)
    except RuntimeError:
        return 0, 0
    # Some versions of cocotb count those that were skipped, too.
    return sum(test.find("skipped") is None for test in ElementTree.parse(results).iter("testcase")), failed


@contextlib.contextmanager
def _environment(variables):
    """cocotb's runner takes its settings from this process's environment."""
    saved = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # with it, cocotb would judge the results, in its own way
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _execute(commands, cwd, environment, stdout):
    """Run a runner's commands, which end with us."""
    for command in commands:
        with child(command, cwd=cwd, env=environment, stdout=stdout, stderr=subprocess.STDOUT) as process:
            code = process.wait()
        if code:
            raise subprocess.CalledProcessError(code, command)


def _icarus():
    """cocotb's runner."""
    from cocotb_tools.runner import Icarus  # noqa: PLC0415

    class Runner(Icarus):
        def _execute_cmds(self, cmds, cwd, stdout=None):
            _execute(cmds, cwd, self.env, stdout)

    return Runner()


def _runner(work):
    """cocotb's runner, with some things done differently.

    There is no --public-flat-rw, which keeps Verilator from optimising anything away. Paths of cocotb in the build are
    those of links in the folder ``work``: make can't take what a path may hold.
    """
    from cocotb_tools import config  # noqa: PLC0415
    from cocotb_tools.runner import Verilator  # noqa: PLC0415

    class Runner(Verilator):
        def _build_command(self):
            links = {config.libs_dir: work / "cocotb-libs", config.share_dir: work / "cocotb-share"}
            for place, link in links.items():
                link.symlink_to(place, target_is_directory=True)

            def linked(word):
                for place, link in links.items():
                    word = word.replace(str(place), str(link))
                return word

            commands = super()._build_command()
            return [[linked(word) for word in command if word != "--public-flat-rw"] for command in commands]

        def _execute_cmds(self, cmds, cwd, stdout=None):
            _execute(cmds, cwd, self.env, stdout)

    return Runner()


def _control_file(text):
    """A Verilator control file that makes the ports public."""
    pattern = r"^  (?:input|output) (?:wire |reg )?(?:signed )?(?:\[\d+:\d+\] )?(\w+) ?;"
    ports = re.findall(pattern, _module(text, TOP), re.MULTILINE)
    lines = [f'public_flat_rw -module "{TOP}" -var "{port}"' for port in ports]
    return "\n".join(["`verilator_config", *lines, ""])


def _cflags(definitions):
    """Arguments of Verilator that make macros known to the C++ compiler."""
    return ["-CFLAGS", " ".join(f"-D{name}={value}" for name, value in definitions.items())] if definitions else []


def _module(text, name):
    start = text.index(f"\nmodule {name}(")
    return text[start : text.index("\nendmodule", start)]
