"""The test module of a simulator with mutants: a copy of the process for each mutant.

When cocotb imports this module, the simulator is at time 0, and it imports the testbench: all this is the same for all
mutants, so the process forks here. A child selects its mutant, returns to cocotb, and runs the tests until one fails.
The parent never returns: it writes down how each child ended.

Settings come in the environment variable SUPERLIP_MUTANTS, as JSON (``Settings``).
"""

import importlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from .netlist import SELECT

__all__ = ["VARIABLE", "Outcome", "Settings"]

VARIABLE = "SUPERLIP_MUTANTS"


_LIMIT = 2.0
"""A test that takes so many times its cycles without a mutant hangs."""
_SPARE_NS = 10_000
"""So many nanoseconds more are given to each test."""
_SPARE_SECONDS = 60.0


@dataclass(frozen=True)
class Settings:
    """What the process is to do.

    Parameters
    ----------
    testbench : str
        Its module.
    folder : str
        Where the outcome of mutant n goes, as ``n.json``; and ``failed``, if a test fails without one, or cocotb does.
    numbers : list of int
        Mutants.
    seeds : list of int
        Of the testbench's random numbers: first all mutants with the first one, then those that passed with the next.
    jobs : int
        Processes at a time.
    """

    testbench: str
    folder: str
    numbers: list[int]
    seeds: list[int]
    jobs: int = 1


@dataclass(frozen=True)
class Outcome:
    """How a mutant ended.

    ``killed_by`` is the test that failed, or nothing if all passed; ``how`` says ``passed``, ``failed``, ``timeout``
    (of simulated time), ``hang`` (of real time) or ``crash`` (the simulator ended, for instance since combinational
    logic does not settle). ``tests`` has nanoseconds and seconds of each test that passed.
    """

    number: int
    seed: int
    how: str
    killed_by: str
    seconds: float
    tests: dict[str, tuple[float, float]]

    @classmethod
    def read(cls, path):
        """From a file."""
        return cls(**json.loads(Path(path).read_text()))


@dataclass(frozen=True)
class _Limits:
    """From the run without a mutant: nanoseconds for each test, tests in order of their seconds, and seconds in all."""

    tests: dict[str, float]
    order: list[str]
    seconds: float

    @classmethod
    def of(cls, outcome):
        order = sorted(outcome.tests, key=lambda name: outcome.tests[name][1])
        tests = {name: round(_LIMIT * nanoseconds) + _SPARE_NS for name, (nanoseconds, _) in outcome.tests.items()}
        return cls(tests, order, 20 * outcome.seconds + _SPARE_SECONDS)


class _Server:
    """Forks for each mutant. ``run`` returns in children only."""

    def __init__(self, settings):
        self._settings, self._folder = settings, Path(settings.folder)
        self._limits = None
        self._running, self._ended, self._said = {}, [], ""

    def run(self):
        """Returns, in a child: the number of its mutant, and its limits, if it has."""
        left = list(self._settings.numbers)
        for seed in self._settings.seeds:
            self._limits = None
            for numbers in ([0], left):
                for number in numbers:
                    if self._start(number, seed):
                        return number, self._limits
                while self._running:
                    self._wait()
                if numbers == [0]:
                    self._limits = self._take_limits()
            left = sorted(outcome.number for outcome in self._ended if outcome.how == "passed")
            self._ended = []
        os._exit(0)

    def _start(self, number, seed):
        """True in the child."""
        while len(self._running) >= self._settings.jobs:
            self._wait()
        folder = self._folder / f"run-{number}"
        folder.mkdir(exist_ok=True)
        pid = os.fork()
        if not pid:
            os.environ["SUPERLIP_SEED"] = str(seed)
            _settle_in(folder)
            return True
        self._running[pid] = (number, seed, folder, time.monotonic())
        return False

    def _take_limits(self):
        (outcome,), self._ended = self._ended, []
        if outcome.how != "passed":
            self._give_up(outcome)
        return _Limits.of(outcome)

    def _give_up(self, outcome):
        text = (
            f"mutant {outcome.number}, seed {outcome.seed}: {outcome.killed_by} ({outcome.how})\n{self._said[-3000:]}"
        )
        (self._folder / "failed").write_text(text)
        os._exit(1)

    def _wait(self):
        """Until a child has ended, or for a moment."""
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            for other, (_, _, _, began) in self._running.items():
                if self._limits and time.monotonic() - began > self._limits.seconds:
                    os.kill(other, signal.SIGKILL)
            time.sleep(0.005)
            return
        number, seed, folder, began = self._running.pop(pid)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        seconds, hung = time.monotonic() - began, ended_by == signal.SIGKILL
        outcome = _outcome(number, seed, folder / "results.xml", seconds, hung=hung)
        self._ended.append(outcome)
        self._said = (folder / "log").read_text(errors="replace")
        # Verilator's word for a design that does not settle, and others. Anything else is no work of a mutant.
        if outcome.how == "crash" and not (ended_by or "%Error" in self._said):
            self._give_up(outcome)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        last = outcome.how != "passed" or seed == self._settings.seeds[-1]
        if number and last:
            target = self._folder / f"{number}.json"
            target.with_suffix(".new").write_text(json.dumps(asdict(outcome)))
            target.with_suffix(".new").rename(target)


def _settle_in(folder):
    """Output, results and working folder of a child."""
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["COCOTB_RESULTS_FILE"] = str(folder / "results.xml")


def _outcome(number, seed, results, seconds, *, hung):
    """From the results of cocotb, or their absence."""
    try:
        cases = list(ElementTree.parse(results).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        cases = []
    if not cases:
        return Outcome(number, seed, "hang" if hung else "crash", "-", seconds, {})
    tests = {}
    for test in cases:
        name = test.attrib["name"]
        failures = [*test.iter("failure"), *test.iter("error")]
        if failures:
            timeout = any("SimTimeoutError" in ElementTree.tostring(failure, "unicode") for failure in failures)
            return Outcome(number, seed, "timeout" if timeout else "failed", name, seconds, tests)
        properties = {p.attrib["name"]: p.attrib["value"] for p in test.iter("property")}
        tests[name] = (float(properties["sim_time_duration"]), float(test.attrib["time"]))
    return Outcome(number, seed, "passed", "", seconds, tests)


def _tests(module, limits):
    """Tests of the testbench, with their limits, the cheapest first."""
    from cocotb._decorators import Test, TestGenerator  # noqa: PLC0415

    found = []
    for thing in vars(module).values():
        if isinstance(thing, Test):
            found.append(thing)
        elif isinstance(thing, TestGenerator):
            found += thing.generate_tests()
    if limits is None:
        return found
    for test in found:
        test.timeout = (limits.tests[test.name], "ns")
    return sorted(found, key=lambda test: limits.order.index(test.name))


def _begin(settings):
    """The parent stays here; a child returns the tests, by names of this module."""
    import cocotb  # noqa: PLC0415
    from cocotb import _shutdown  # noqa: PLC0415
    from cocotb.handle import Immediate  # noqa: PLC0415

    module = importlib.import_module(settings.testbench)
    number, limits = _Server(settings).run()
    # As soon as the results are written: the model's threads are the parent's, and its end would wait for them.
    _shutdown.register(lambda: os._exit(0))
    getattr(cocotb.top, SELECT).set(Immediate(number))
    return {f"test_{place}": test for place, test in enumerate(_tests(module, limits))}


if VARIABLE in os.environ:
    os.environ["COCOTB_MAX_FAILURES"] = "1"
    globals().update(_begin(Settings(**json.loads(os.environ[VARIABLE]))))
