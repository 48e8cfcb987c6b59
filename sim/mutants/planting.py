"""A design in which one component is exchanged for its netlist with mutants: a testbench's, or a whole node."""

import re
from contextlib import contextmanager

from amaranth.hdl import ClockSignal, Instance, Module, ResetInserter, ResetSignal, Signal
from amaranth.hdl._ir import Fragment, PortDirection

from superlip.rtl.verilog import ports_of, to_rtlil, to_verilog

from .netlist import SELECT, SELECT_BITS, TOP

__all__ = ["NotThereError", "netlist_of", "verilog_with"]


class NotThereError(ValueError):
    """A design has no such component."""


def netlist_of(kind, design):
    """RTLIL of the first ``kind`` in a design, alone, with a top module TOP.

    Parameters
    ----------
    kind : type
        A ``wiring.Component``.
    design : wiring.Component
        The component itself, or what has one in it.

    Raises
    ------
    NotThereError
        If there is none.
    """
    found: list = []

    def note(component, original):
        found.append(component)
        return original(component, None)

    with _elaborated(kind, note):
        Fragment.get(design, None)
    if not found:
        raise NotThereError(f"{type(design).__name__} has no {kind.__name__}")
    return to_rtlil(found[0], TOP)


def verilog_with(netlist, kind, design, name, *, platform=None):
    """Verilog of a design in which a netlist with mutants takes the place of the first ``kind`` with these ports.

    Parameters
    ----------
    netlist : Netlist
        Of ``netlist_of`` this or another design, with mutants planted.
    kind, design
        As for ``netlist_of``. Nothing is looked at but ports: sizes inside are the netlist's.
    name : str
        Of the top module. It has one input more, SELECT.
    platform : object, optional
        As for ``to_verilog``.

    Raises
    ------
    NotThereError
        If there is none, or only others, of other sizes.
    """
    select, planted = Signal(SELECT_BITS, name=SELECT), []
    wanted = _widths(netlist.plain)

    def exchange(component, original):
        if planted or {name: len(signal) for name, (signal, _) in ports_of(component).items()} != wanted:
            return original(component, platform)
        planted.append(component)
        m = Module()
        m.submodules.mutated = _instance(component, select)
        return m

    with _elaborated(kind, exchange):
        text = to_verilog(design, name, platform=platform, inputs={SELECT: select})
    if not planted:
        raise NotThereError(f"{type(design).__name__} has no {kind.__name__} of these sizes")
    return netlist.verilog + text


def _widths(rtlil):
    """Bits of each port of the top module but clock and reset."""
    (top,) = re.findall(rf"^module \\{TOP}\n(.*?)^end$", rtlil, re.MULTILINE | re.DOTALL)
    ports = re.findall(r"^  wire (?:width (\d+) )?(?:input|output) \d+ +(?:signed )?\\(\S+)$", top, re.MULTILINE)
    return {name: int(width or 1) for width, name in ports if name not in ("clk", "rst")}


def _instance(component, select):
    ports = {f"{'i' if direction is PortDirection.Input else 'o'}_{name}": signal
             for name, (signal, direction) in ports_of(component).items()}  # fmt: skip
    return Instance(TOP, i_clk=ClockSignal(), i_rst=ResetSignal(), **{f"i_{SELECT}": select}, **ports)


@contextmanager
def _elaborated(kind, how):
    """Within, each ``kind`` is elaborated by ``how(component, original elaborate)``, and its resets reach Instances."""
    original, on_fragment, inside = kind.elaborate, ResetInserter.on_fragment, []

    def elaborate(self, platform):
        if inside:  # ``how`` asks for the component itself
            return original(self, platform)
        inside.append(self)
        try:
            return how(self, original)
        finally:
            inside.pop()

    def inserted(self, fragment):
        """Amaranth's own leaves Instances as they are."""
        new = on_fragment(self, fragment)
        if isinstance(new, Instance) and new.type == TOP:
            reset, direction = new.ports["rst"]
            new.ports["rst"] = (reset | self.controls["sync"], direction)
        return new

    kind.elaborate, ResetInserter.on_fragment = elaborate, inserted
    try:
        yield
    finally:
        kind.elaborate, ResetInserter.on_fragment = original, on_fragment
