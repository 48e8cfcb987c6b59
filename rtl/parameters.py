"""What components ask of their parameters, and the component that refuses wrong ones without noise."""

from enum import Enum

from amaranth.hdl import Shape
from amaranth.lib import wiring

from .config import LIMITS, Limit, NodeConfig

__all__ = ["BEAT_BYTES", "LANES", "Component", "check_config", "check_kind", "check_shape"]

BEAT_BYTES = Limit(1, 128)
"""Of an AXI beat."""

LANES = Limit(1, LIMITS["tn"].high, power_of_two=False)
"""Of whatever has some for each channel of a word."""


class Component(wiring.Component):
    """A component as Amaranth's, of whose absence from a design Amaranth warns only once it has its ports.

    All have one clock domain, ``sync``, with a synchronous reset: their docstrings say what it does.

    So ``__init__`` checks its parameters before it calls this one's, and the ValueError of a wrong one stands alone.
    """

    def __new__(cls, *arguments, **parameters):
        self = super().__new__(cls, src_loc_at=1)
        self._MustUse__used = True
        return self

    def __init__(self, signature=None, *, src_loc_at=0):
        super().__init__(signature, src_loc_at=src_loc_at + 1)
        self._MustUse__used = False


def check_config(config):
    """ValueError if this is no NodeConfig."""
    check_kind("config", config, NodeConfig)


def check_kind(name, value, kind):
    """ValueError, with the name of the parameter, if a value is not of this type."""
    if not isinstance(value, kind):
        members = f" ({', '.join(kind.__members__)})" if issubclass(kind, Enum) else ""
        raise ValueError(f"{name} must be of the type {kind.__name__}{members}, not {value!r}")


def check_shape(name, value):
    """ValueError, with the name of the parameter, if a value is no shape that Amaranth knows, or one without bits."""
    try:
        bits = None if isinstance(value, bool) else Shape.cast(value).width
    except (TypeError, ValueError):
        bits = None
    if bits is None:
        raise ValueError(f"{name} must be a shape, such as a number of bits or a layout, not {value!r}")
    if not bits:
        raise ValueError(f"{name} must have at least one bit; the shape {value!r} has none")
