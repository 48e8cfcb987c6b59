"""Verilog text of a component, for any simulator and synthesizer: Verilog of 2005 and SystemVerilog of 2012 alike."""

import re
from contextlib import contextmanager
from typing import Any

from amaranth.back import rtlil, verilog
from amaranth.hdl import Const, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

__all__ = ["WAIVED", "ports_of", "to_rtlil", "to_verilog"]

WAIVED = {
    "CASEINCOMPLETE": "signals have a default in front of each case, which the rule does not see",
    "DECLFILENAME": "all modules are in one file",
    "INITIALDLY": "an event that each always @* sees, as all of them wait by then",
    "PROCASSINIT": "registers have a first value as well as a reset",
    "UNUSEDSIGNAL": "each member of an interface is a signal, used or not",
    "WIDTHEXPAND": "operands of different widths are meant: Amaranth's expressions are as wide as their values",
    "WIDTHTRUNC": "where a value is cut to its place, Amaranth says so by the width of the place",
}
"""What ``verilator --lint-only -Wall`` would say of every text, and why it may: the text itself switches these rules
off. Of a node there is nothing else to say."""

_EVENT = "$at_start"
_YOSYS_EVENT = r"\\\$auto\$verilog_backend\S+ "


def to_verilog(component, name="top", *, platform=None, inputs=None):
    """Verilog text of a component, the same for the same design.

    ``platform`` may build some data paths its own way: see ``PEArray``, ``Accumulators``, ``BankedMemory`` and
    ``VectorDatapath``. ``inputs``: signals by name that become inputs beside the component's members.

    Members that are constant, as ``ready`` of a stream that is always ready, get no port: Amaranth's own conversion
    refuses them. Memories that start as zeros have no ``initial`` block: it would be one line for each word, most of
    the text and of the time for a large node. So what a memory holds before it is written is undefined.
    """
    more = {name: (signal, PortDirection.Input) for name, signal in (inputs or {}).items()}
    ports = ports_of(component) | more
    options = {"ports": ports, "emit_src": False, "strip_internal_attrs": True, "platform": platform}
    with _no_zero_init():
        text = verilog.convert(component, name=name, **options)
    return _waivers() + _start_all_processes(text)


def to_rtlil(component, name="top"):
    """Text of a component for yosys, with the source lines of its cells; memories as in ``to_verilog``."""
    with _no_zero_init():
        return rtlil.convert(component, name=name, ports=ports_of(component))


def ports_of(component):
    """What ``convert`` of Amaranth's back ends takes as ``ports``: the members that are not constant."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if not isinstance(signal, Const):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = (signal, direction)
    return ports


def _waivers():
    return "".join(f"/* verilator lint_off {rule} */ // {reason}\n" for rule, reason in WAIVED.items())


def _start_all_processes(text):
    """Let each ``always @*`` run once at time 0.

    A process waits for a change of what it reads. Where that is constant, or has its first value before processes
    start (SystemVerilog's ``reg x = 0``), none comes. Yosys makes a change by a register that begins as 0, which is one
    in Verilog only, and not for all processes. A non-blocking assignment in an ``initial`` is one everywhere: it comes
    when all processes wait.
    """
    text = re.sub(rf"^  reg {_YOSYS_EVENT} = 0;\n", "", text, flags=re.MULTILINE)
    text = re.sub(rf"^    if \({_YOSYS_EVENT}\) begin end\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^  always @\*\n    (.*;)\n", r"  always @* begin\n    \1\n  end\n", text, flags=re.MULTILINE)
    first, *modules = re.split(r"^(?=module )", text, flags=re.MULTILINE)
    return first + "".join(map(_start_processes, modules))


def _start_processes(module):
    """The same for the text of one module."""
    always = "  always @* begin\n"
    if always not in module:
        return module
    if _EVENT in module:
        raise ValueError(f"a signal of {module.split('(')[0]} has the name {_EVENT}, which is taken")
    head, body = module.split(");\n", 1)
    event = f"\\{_EVENT} "
    body = body.replace(always, f"{always}    if ({event}) begin end\n")
    return f"{head});\n  reg {event};\n  initial {event} <= 1'h0;\n{body}"


@contextmanager
def _no_zero_init():
    """Amaranth 0.5 has no option for this; with a version that works differently, the text is just longer."""
    emitter: Any = getattr(rtlil, "ModuleEmitter", None)
    emit_memory = getattr(emitter, "emit_memory", None)
    if emit_memory is None:
        yield
        return

    def emit_init(self, cell_index, cell):
        if any(cell.init):
            emit_memory(self, cell_index, cell)

    emitter.emit_memory = emit_init
    try:
        yield
    finally:
        emitter.emit_memory = emit_memory
