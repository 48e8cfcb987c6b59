"""Which mutants, what they are tried on, and what became of each: one file a mutant, so that nothing is lost."""

import dataclasses
import hashlib
import json
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from superlip.tools.cache import cache_folder
from superlip.tools.toolchain import find_toolchain

from ..runner import TOP, build_verilog, load_testbench, run_tests
from ..stand_ins import StandIns
from .equivalence import equivalent, unreached
from .netlist import plant
from .planting import netlist_of, verilog_with
from .process import VARIABLE, Outcome, Settings

__all__ = ["KILLED", "MORE_SEEDS", "VERDICTS", "Campaign", "Result"]

SEED = 1
"""Of the testbenches' random numbers in the fast round, and of the node's."""
MORE_SEEDS = (2, 3, 4, 5)
"""Those of the slow round."""

VERDICTS = ("fast", "slow", "node", "equivalent", "bounded", "alive")
"""What may become of a mutant."""
KILLED = ("fast", "slow", "node")
"""Those of a mutant that a test noticed."""


@dataclass(frozen=True)
class Result:
    """What became of a mutant.

    ``verdict`` is ``fast`` (killed by the first run of its testbench), ``slow`` (by a further one), ``node`` (by the
    node's testbench), ``equivalent`` (nothing can tell it from the component, proved), ``bounded`` (nothing can within
    ``CYCLES`` cycles, proved) or ``alive``. Of a killed one ``killed_by`` names the test, and ``how`` the manner
    (``Outcome``). ``mutant`` is its text.
    """

    number: int
    mutant: str
    verdict: str
    killed_by: str = ""
    how: str = ""


@dataclass(frozen=True)
class _Bench:
    """A simulator with all mutants, and the testbench that runs on it."""

    build: Path
    module: str
    parameters: dict
    name: str


class Campaign:
    """The mutants of one component.

    Results are kept for as long as the component stays as it is; a changed testbench is not looked at.

    Parameters
    ----------
    component : Component
    count : int, optional
        Another number of mutants.
    seed : int
        Which.
    folder : Path, optional
        Where results lie; by default in the cache.
    known : dict, optional
        Results of campaigns by their ``key``, as ``as_known`` makes them: those of this one need not be tried again.
    """

    def __init__(self, component, *, count=None, seed=1, folder=None, known=None):
        self.component = component
        design = load_testbench(component.testbench).build(**component.parameters)
        rtlil = netlist_of(component.kind, design)
        self.netlist = plant(rtlil, count or component.count, seed, modules=component.modules)
        key = hashlib.sha256(self.netlist.verilog.encode()).hexdigest()[:12]
        self.key = f"{component.kind.__name__}-{component.case}-{key}"
        self.folder = (Path(folder) if folder else cache_folder("mutant-results")) / self.key
        self.folder.mkdir(parents=True, exist_ok=True)
        there = self.results()
        for values in (known or {}).get(self.key, ()):
            if (result := Result(**values)).number not in there:
                self._write(result)

    @property
    def name(self):
        return self.component.name

    @property
    def mutants(self):
        return self.netlist.mutants

    def results(self):
        """Those that are known: dict of number to Result."""
        paths = self.folder.glob("mutant-*.json")
        return {result.number: result for result in (Result(**json.loads(path.read_text())) for path in paths)}

    def as_known(self):
        """The results that there are, in order, for a file: list of dict."""
        return [dataclasses.asdict(result) for _, result in sorted(self.results().items())]

    def run(self, *, jobs=1, again=False, progress=None):
        """Try all mutants whose result is not known, and return all results, in order.

        Parameters
        ----------
        jobs : int
            Processes at a time.
        again : bool
            Those that the fast round did not kill are tried again (with better tests).
        progress : callable of (int, str), optional
            Told how many mutants are decided, and what happens.

        Raises
        ------
        RuntimeError
            If a test fails without any mutant.
        """
        known = {
            n: r for n, r in self.results().items() if not (again and r.verdict in ("alive", "bounded", "slow", "node"))
        }
        left = [mutant for mutant in self.mutants if mutant.number not in known]
        if left:
            tell = progress or (lambda done, text: None)
            tell(len(known), f"{self.name}: building")
            own = self._own_bench()
            left = self._round(own, (SEED,), "fast", left, jobs, tell)
            left = self._without_proved(equivalent, "equivalent", left, tell)
            left = self._round(own, MORE_SEEDS, "slow", left, jobs, tell)
            if left and self.component.node is not None:
                tell(len(self.mutants) - len(left), f"{self.name}: building a node")
                left = self._round(self._node_bench(), (SEED,), "node", left, jobs, tell)
            left = self._without_proved(unreached, "bounded", left, tell)
            for mutant in left:
                self._keep(mutant, "alive")
        results = self.results()
        return [results[mutant.number] for mutant in self.mutants]

    def _own_bench(self):
        component = self.component
        module = load_testbench(component.testbench)
        text = verilog_with(self.netlist, component.kind, module.build(**component.parameters), TOP)
        build = build_verilog(find_toolchain(), text)
        return _Bench(build, module.__name__, component.parameters, component.bench)

    def _node_bench(self):
        """With the simulator's stand-ins, which are cycle- and bit-identical, for what has no mutants."""
        module, sizes = load_testbench("node"), self.component.sizes
        stand_ins = None if self.component.in_stand_in else StandIns()
        text = verilog_with(self.netlist, self.component.kind, module.build(**sizes), TOP, platform=stand_ins)
        build = build_verilog(find_toolchain(), text, stand_ins=stand_ins)
        return _Bench(build, module.__name__, sizes, "node")

    def _round(self, bench, seeds, verdict, mutants, jobs, tell):
        """Run the tests with these seeds on each; returns those that pass."""
        survivors = []
        done = len(self.mutants) - len(mutants)
        for outcome in self._outcomes(bench, seeds, [mutant.number for mutant in mutants], jobs):
            mutant = self.mutants[outcome.number - 1]
            if outcome.how == "passed":
                survivors.append(mutant)
            else:
                self._keep(mutant, verdict, outcome)
                done += 1
            tell(done, f"{self.name}, {verdict}")
        return sorted(survivors, key=lambda mutant: mutant.number)

    def _outcomes(self, bench, seeds, numbers, jobs):
        """Yield outcomes as they come."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.folder) as temporary:
            folder = Path(temporary)
            settings = Settings(bench.module, temporary, numbers, list(seeds), jobs)
            thread = threading.Thread(
                target=run_tests, args=(bench.build, f"{__package__}.process", bench.parameters, seeds[0], folder),
                kwargs={"variables": {VARIABLE: json.dumps(dataclasses.asdict(settings))}}, daemon=True,
            )  # fmt: skip
            thread.start()
            waiting = set(numbers)
            while waiting:
                thread.join(timeout=0.1)
                over = not thread.is_alive()
                for number in sorted(waiting):
                    if (path := folder / f"{number}.json").exists():
                        waiting.remove(number)
                        yield Outcome.read(path)
                if over and waiting:
                    raise RuntimeError(self._trouble(bench, folder))
            thread.join()

    def _trouble(self, bench, folder):
        """Why the simulator ended before its mutants."""
        where = f"{self.name} in {bench.name}"
        if (failed := folder / "failed").exists():
            return f"{where} fails by itself: {failed.read_text()}"
        return f"{where}: the simulator ended\n{(folder / 'test.log').read_text(errors='replace')[-3000:]}"

    def _without_proved(self, prove, verdict, mutants, tell):
        """Prove what can be proved; returns the others."""
        if not mutants:
            return mutants
        tell(len(self.mutants) - len(mutants), f"{self.name}: proving {len(mutants)} {verdict}, or not")
        proved = prove(self.netlist.rtlil, [mutant.number for mutant in mutants])
        for mutant in mutants:
            if mutant.number in proved:
                self._keep(mutant, verdict)
        return [mutant for mutant in mutants if mutant.number not in proved]

    def _keep(self, mutant, verdict, outcome=None):
        by, how = (outcome.killed_by, outcome.how) if outcome else ("", "")
        self._write(Result(mutant.number, str(mutant), verdict, by, how))

    def _write(self, result):
        path = self.folder / f"mutant-{result.number}.json"
        path.with_suffix(".new").write_text(json.dumps(dataclasses.asdict(result)))
        path.with_suffix(".new").rename(path)
