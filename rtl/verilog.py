"""Verilog text of a component."""

from amaranth.back import verilog
from amaranth.hdl import Const, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

__all__ = ["to_verilog"]


def to_verilog(component, name="top"):
    """Verilog text of a component, the same for the same design.

    Members that are constant, as ``ready`` of a stream that is always ready, get no port: Amaranth's own
    conversion refuses them.
    """
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if not isinstance(signal, Const):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = (signal, direction)
    return verilog.convert(component, name=name, ports=ports, emit_src=False, strip_internal_attrs=True)
