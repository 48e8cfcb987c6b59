"""Credits: a DATA frame leaves only when the other side has a free slot for it.

Credits are *cumulative counts*, modulo 256: the receiver says how many frames it has allowed since its
reset, the sender counts how many it has sent, and may send while the two differ. The receiver starts at
its number of slots and adds one for each slot it frees. Increments would be shorter, but a count can be
said again at any time: that makes a lost CREDIT frame harmless, and it is what lets either node leave
reset first. Nobody starts with credits; each side repeats its count until the other is known to have
heard it (and, slowly, for ever after), so it doesn't matter how many announcements fell on a node in
reset.

Start-up is a three-way handshake. Every header has a bit ``heard``: its sender has had an intact frame
since reset. A side is *linked* once it receives ``heard = 1``, and sends DATA only then: whoever is
linked knows that the other side was awake, and nothing that matters was on the wire before. A side that
is linked and receives ``heard = 0`` knows that the other one was reset in the middle: frames may be lost,
and the receiver says so (error LINK). Nodes that are to run together must therefore all be in reset at
the same time once; they may leave it in any order.
"""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out, Signature

from ..config import Limit
from ..parameters import Component

__all__ = ["COUNT_BITS", "CreditGiver", "CreditState", "CreditTaker"]

COUNT_BITS = 8
"""Width of the cumulative counts. At most half of their range may be slots."""


class CreditState(Signature):
    """What a receiver tells the transmitter beside it.

    ``grant``, ``heard``
        To be announced to the other side: its frames allowed since reset; we have had an intact frame.
    ``limit``, ``linked``
        Announced by the other side: our frames allowed since reset; it has had an intact frame.
    """

    def __init__(self):
        super().__init__({"grant": Out(COUNT_BITS), "heard": Out(1), "limit": Out(COUNT_BITS), "linked": Out(1)})


class CreditGiver(Component):
    """The receiver's end: counts slots.

    Reset frees all slots.

    Parameters
    ----------
    slots : int

    Members
    -------
    taken, freed : In(1)
        A slot was filled, a slot was emptied in this cycle.
    full : Out(1)
        No slot is free: a frame that arrives now is one too many.
    used : Out
        Slots in use.
    grant : Out(COUNT_BITS)
        Frames allowed since reset.

    Raises
    ------
    ValueError
        If the counts can't tell that many slots apart.
    """

    def __init__(self, slots):
        Limit(1, 1 << (COUNT_BITS - 1), power_of_two=False).check("slots", slots)
        self.slots = slots
        super().__init__(
            {
                "taken": In(1),
                "freed": In(1),
                "full": Out(1),
                "used": Out(range(slots + 1)),
                "grant": Out(COUNT_BITS, init=slots),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.full.eq(self.used == self.slots)
        m.d.sync += [
            self.used.eq(self.used + self.taken - self.freed),
            self.grant.eq(self.grant + self.freed),
        ]
        return m


class CreditTaker(Component):
    """The sender's end: counts frames.

    Reset makes ``count`` 0.

    Members
    -------
    limit : In(COUNT_BITS)
        Frames allowed by the other side since reset.
    linked : In(1)
    sent : In(1)
        A frame starts in this cycle; only while ``available``.
    available : Out(1)
        A frame may start.
    count : Out(COUNT_BITS)
        Frames sent since reset.
    """

    limit: In(COUNT_BITS)
    linked: In(1)
    sent: In(1)
    available: Out(1)
    count: Out(COUNT_BITS)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + self.sent)
        m.d.comb += self.available.eq(self.linked & (self.limit != self.count))
        return m
