"""Operators: one specification for each, and the words that it works on."""

from . import add, conv, depthwise, host, interleave, interpolate, moves, mul, pool, table  # noqa: F401  (each registers its specifications)
from .spec import OpSpec, Window, apply, register, spec_of

__all__ = ["OpSpec", "Window", "apply", "register", "spec_of"]
