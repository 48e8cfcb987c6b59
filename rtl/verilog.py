"""Verilog text of a component."""

from contextlib import contextmanager

from amaranth.back import rtlil, verilog
from amaranth.hdl import Const, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

__all__ = ["ports_of", "to_verilog"]


def to_verilog(component, name="top", *, platform=None):
    """Verilog text of a component, the same for the same design.

    ``platform`` may build some data paths its own way: see ``PEArray``, ``Accumulators``, ``BankedMemory`` and
    ``VectorDatapath``.

    Members that are constant, as ``ready`` of a stream that is always ready, get no port: Amaranth's own conversion
    refuses them. Memories that start as zeros have no ``initial`` block: it would be one line for each word, most of
    the text and of the time for a large node. So what a memory holds before it is written is undefined.
    """
    options = {"ports": ports_of(component), "emit_src": False, "strip_internal_attrs": True, "platform": platform}
    with _no_zero_init():
        return verilog.convert(component, name=name, **options)


def ports_of(component):
    """What ``convert`` of Amaranth's back ends takes as ``ports``: the members that are not constant."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if not isinstance(signal, Const):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = (signal, direction)
    return ports


@contextmanager
def _no_zero_init():
    """Amaranth 0.5 has no option for this; with a version that works differently, the text is just longer."""
    emitter = getattr(rtlil, "ModuleEmitter", None)
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
