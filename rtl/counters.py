"""Synchronisation counters of one unit: counting semaphores, one for each source of posts."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from .config import Limit
from .isa import COUNTERS, WAIT_BITS
from .parameters import Component

__all__ = ["COUNTER_BITS", "Counters"]

COUNTER_BITS = 10
"""Bits of a synchronisation counter: at most 1023 posts of a source wait to be taken."""


class Counters(Component):
    """``COUNTERS`` counting semaphores that are taken together.

    A post and a take in the same cycle both count; a take may leave nothing behind but never less than
    nothing, as long as it is raised only while ``lacking`` is zero. A post that finds its counter full is not
    lost in silence: its bit of ``overflow`` is high in that cycle, and the counter keeps its value.

    Latency: a post is seen in ``lacking`` one cycle later.

    Reset makes all counters 0.

    Parameters
    ----------
    bits : int
        Width of a counter; by default 10.
    wait_bits : int
        Width of what a take may ask for; by default 6, as in instructions.

    Members
    -------
    post : In(8)
        Bit s: counter s goes up by one.
    wait : In(wait_bits).array(8)
        What the next instruction takes from each counter.
    take : In(1)
        Subtract ``wait``.
    lacking : Out(8)
        Bit s: counter s is below ``wait[s]``.
    overflow : Out(8)
        Bit s: a post to counter s could not be counted in this cycle.
    values : Out(bits).array(8)
        The counters.

    Raises
    ------
    ValueError
        If ``wait_bits`` exceeds ``bits``.
    """

    def __init__(self, *, bits=COUNTER_BITS, wait_bits=WAIT_BITS):
        Limit(1, 64, power_of_two=False).check("bits", bits)
        Limit(1, bits, power_of_two=False).check("wait_bits", wait_bits)
        self.bits = bits
        super().__init__(
            {
                "post": In(COUNTERS),
                "wait": In(wait_bits).array(COUNTERS),
                "take": In(1),
                "lacking": Out(COUNTERS),
                "overflow": Out(COUNTERS),
                "values": Out(bits).array(COUNTERS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for s in range(COUNTERS):
            count = self.values[s]
            taken = Signal(self.bits, name=f"taken_{s}")
            # One bit more than the counter: the sum reaches 2**bits only by a post to a full counter.
            after = Signal(self.bits + 1, name=f"after_{s}")
            m.d.comb += [
                taken.eq(self.take.replicate(self.bits) & self.wait[s]),
                after.eq(count - taken + self.post[s]),
                self.lacking[s].eq(count < self.wait[s]),
                self.overflow[s].eq(after[-1]),
            ]
            with m.If(~after[-1]):
                m.d.sync += count.eq(after)
        return m


def lowest_bit(mask):
    """Number of the lowest set bit of ``mask`` (0 if there is none). ``mask`` is used often: give it a name."""
    width = len(mask)
    found = [mask[i] & ~mask[:i].any() if i else mask[0] for i in range(width)]
    bits = max(1, (width - 1).bit_length())
    return Cat(*(Cat(*(found[i] for i in range(width) if i >> b & 1)).any() for b in range(bits)))
