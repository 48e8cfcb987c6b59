"""What a simulator may watch: words that VECTOR writes, in the cycle in which it does."""

from amaranth.lib import data
from amaranth.lib.wiring import Out, Signature

from superlip.element import INT8

from .config import ADDRESS_BITS

__all__ = ["Trace", "trace_write_layout"]


def trace_write_layout():
    """A word of the activation buffer is written at ``addr``, by an instruction with ``tag``."""
    return data.StructLayout({"valid": 1, "addr": ADDRESS_BITS, "tag": 16})


class Trace(Signature):
    """``write`` with its word and the mask of the lanes written."""

    def __init__(self, lanes):
        super().__init__({"write": Out(trace_write_layout()), "data": Out(INT8.bits * lanes), "mask": Out(lanes)})
