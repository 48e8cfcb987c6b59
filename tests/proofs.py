"""Formal proofs as data, each with faults that it must find: what tests/sim/test_formal*.py and docs/proofs.md say.

python tests/proofs.py          # prove all and write the table of docs/proofs.md
python tests/proofs.py Issue    # prove those of that component, and take over the others' seconds
"""

import importlib.util
import inspect
import re
import resource
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from amaranth.hdl import Assert, Assume, Signal
from paths import ROOT

from superlip.sim.formal import ProofError, Spec, available, prove

__all__ = ["DOCUMENT", "NEEDS_TOOLS", "Fault", "Proof", "all_proofs", "documented", "stable", "steady", "checks_of"]

NEEDS_TOOLS = pytest.mark.skipif(not available(), reason="pip install '.[formal]'")
"""yosys and z3, which are an extra."""

DOCUMENT = ROOT / "docs" / "proofs.md"
_HEADING = "| Component | Proved | How | Seconds |\n|---|---|---|---|\n"
_ROW = re.compile(r"^\| (.*) \| (.*) \| (.*) \| ([\d.]+) \|$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One change of the source of a component: ``old``, which is in it once, becomes ``new``.

    ``depth`` cycles show it, from the initial values on; 0 where that takes too many: then the induction fails.
    """

    name: str
    old: str
    new: str
    depth: int = 5


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A line of docs/proofs.md.

    Parameters
    ----------
    component, claim : str
        As in the document.
    module : module
        Where the component's source is.
    spec : function of the module to a component with assertions
        The module that it gets is a copy, perhaps with a fault.
    depth, mode
        Of ``prove``.
    faults : tuple of Fault
    slow : bool
        For the slow tests.
    """

    component: str
    claim: str
    module: types.ModuleType
    spec: Callable[[types.ModuleType], Spec]
    depth: int
    mode: str = "prove"
    faults: tuple[Fault, ...] = ()
    slow: bool = False

    def __str__(self):
        return self.component

    @property
    def method(self):
        """How, as in the document."""
        return {"prove": "induction", "bmc": f"{self.depth} cycles", "cover": f"within {self.depth} cycles"}[self.mode]

    @property
    def subject(self):
        """The component without its sizes."""
        return self.component.partition("(")[0]

    def holds(self):
        """Prove it."""
        prove(self.spec(_source(self.module)), depth=self.depth, mode=self.mode, timeout=3600 if self.slow else 300)

    def finds(self, fault):
        """Plant a fault: there must be a counterexample, not just no proof, except for one of depth 0."""
        faulty = self.spec(_source(self.module, fault.old, fault.new))
        with pytest.raises(ProofError, match=r"DONE \(FAIL" if fault.depth else r"DONE \(UNKNOWN"):
            prove(faulty, depth=fault.depth or self.depth, mode="bmc" if fault.depth else self.mode)


def proofs_of(proofs):
    """Parameters of a test: each proof."""
    return [pytest.param(proof, id=str(proof), marks=[pytest.mark.slow] * proof.slow) for proof in proofs]


def faults_of(proofs):
    """Parameters of a test: each proof with each of its faults."""
    return [
        pytest.param(proof, fault, id=f"{proof.component}: {fault.name}") for proof in proofs for fault in proof.faults
    ]


def checks_of(proofs):
    """The tests of a module of proofs: that each holds, and finds each of its faults."""

    @NEEDS_TOOLS
    @pytest.mark.parametrize("proof", proofs_of(proofs))
    def test_proof(proof):
        proof.holds()

    @NEEDS_TOOLS
    @pytest.mark.parametrize(("proof", "fault"), faults_of(proofs))
    def test_fault_is_found(proof, fault):
        proof.finds(fault)

    return test_proof, test_fault_is_found


def steady(m, value):
    """``value``, a free input of a proof, assumed to be the same in every cycle: any that there is, but only one."""
    begun, before = Signal(name="begun"), Signal.like(value, name="before")
    m.d.sync += [begun.eq(1), before.eq(value)]
    m.d.comb += Assume(~begun | (value == before))
    return value


def stable(m, side, channel, names):
    """Assert that what an AXI channel offers and nobody takes is offered unchanged in the next cycle."""
    waited = Signal(name=f"{channel}_waited")
    valid, ready = getattr(side, f"{channel}valid"), getattr(side, f"{channel}ready")
    m.d.sync += waited.eq(valid & ~ready)
    m.d.comb += Assert(~waited | valid)
    for name in names:
        now = getattr(side, channel + name)
        before = Signal.like(now, name=f"{channel}{name}_before")
        m.d.sync += before.eq(now)
        m.d.comb += Assert(~waited | (now == before))


def all_proofs():
    """Those of all tests/sim/test_formal*.py, in order."""
    proofs = []
    for path in sorted((ROOT / "tests" / "sim").glob("test_formal*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        proofs += module.PROOFS
    return proofs


def documented():
    """Rows of the table of docs/proofs.md: (component, claim, how, seconds), all strings."""
    return _ROW.findall(DOCUMENT.read_text())


def _document(names):
    seconds = {component: float(seconds) for component, _, _, seconds in documented()}
    rows = []
    for proof in sorted(all_proofs(), key=str):
        if not names or any(name in str(proof) for name in names) or str(proof) not in seconds:
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            proof.holds()
            seconds[str(proof)] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            print(f"{proof}: {seconds[str(proof)]:.1f} s")
        rows.append(f"| {proof} | {proof.claim} | {proof.method} | {seconds[str(proof)]:.1f} |\n")
    before, _, rest = DOCUMENT.read_text().partition(_HEADING)
    after = _ROW.sub("", rest).lstrip("\n")
    DOCUMENT.write_text(before + _HEADING + "".join(rows) + (f"\n{after}" if after else ""))


def _source(module, old="", new=""):
    """A module once more, from its source."""
    text = inspect.getsource(module)
    if old:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {module.__name__}"
    copy = types.ModuleType(module.__name__)
    copy.__package__, copy.__file__ = module.__package__, module.__file__
    exec(compile(text.replace(old, new) if old else text, module.__file__, "exec"), copy.__dict__)
    return copy


if __name__ == "__main__":
    _document(sys.argv[1:])
