"""A banked buffer of which one reader takes several words at once."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from .config import ADDRESS_BITS, LIMITS, PATIENCE, Limit
from .memory import BankedMemory
from .parameters import Component
from .ports import READ_LATENCY, ReadPort, WritePort

__all__ = ["WideMemory"]


class WideMemory(Component):
    """BankedMemory of words that lie by turns in ``ways`` memories, from which ``wide`` reads a word each.

    A word's way is in the low bits of its address, its bank in the high ones. All that BankedMemory says of its
    requesters holds for these: who comes first, that nobody waits for ``patience`` cycles, and what a read sees. Those
    that want words of different ways do not see each other, either; ``wide`` sees all who want a word in its bank, and
    is granted all ways or none. It waits no longer than with one way, since its turns in all ways are in one cycle.

    Latency: ``latency`` cycles from an accepted read to its words. Reset (of domain ``sync``, synchronous) drops reads
    under way, and leaves the words as they are; at power-up they hold anything.

    Parameters
    ----------
    words, banks, lanes, patience
        As of BankedMemory (a ``patience`` of 128 by default); a bank has at least ``ways`` words.
    readers, writers : int
        Requesters of one word, the more urgent ones first; beside them is ``wide``.
    rank : int
        Which of all readers ``wide`` is, in the order of urgency: 1, the default, is the first.
    ways : int
        Words that ``wide`` reads at once; a power of two up to 8, 2 by default.

    Members
    -------
    wide : In(ReadPort(ways * 8 * lanes))
        Its ``addr`` counts ``ways`` words; the first of them is in the low bits of its data.
    read : In(ReadPort(8 * lanes)).array(readers)
    write : In(WritePort(8 * lanes)).array(writers)

    Raises
    ------
    ValueError
        As BankedMemory, or if ``ways`` or ``rank`` is none of these.
    """

    def __init__(self, words, banks, lanes, readers, writers, *, rank=1, ways=2, patience=PATIENCE):
        Limit(2, 8).check("ways", ways)
        LIMITS["weight_banks"].check("banks", banks)
        Limit(ways * banks, 1 << ADDRESS_BITS, power_of_two=False).check("words", words)
        if words % (ways * banks):
            raise ValueError(f"{words} words do not split into {banks} banks of {ways} ways")
        Limit(1, 63, power_of_two=False).check("readers", readers)
        Limit(1, readers + 1, power_of_two=False).check("rank", rank)
        self._parts = [
            BankedMemory(words // ways, banks, lanes, readers + 1, writers, patience=patience) for _ in range(ways)
        ]
        self.words, self.banks, self.lanes, self.ways, self.rank = words, banks, lanes, ways, rank
        self.patience = patience
        super().__init__(
            {
                "wide": In(ReadPort(ways * 8 * lanes)),
                "read": In(ReadPort(8 * lanes)).array(readers),
                "write": In(WritePort(8 * lanes)).array(writers),
            }
        )

    @property
    def latency(self):
        """Cycles from an accepted read to its data."""
        return READ_LATENCY

    def elaborate(self, platform):
        m = Module()
        for number, part in enumerate(self._parts):
            m.submodules[f"way{number}"] = part
        self._wide(m)
        for number, port in enumerate(self.read):
            index = number + (number >= self.rank - 1)
            self._read(m, port, [part.read[index] for part in self._parts], number)
        for number, port in enumerate(self.write):
            self._write(m, port, [part.write[number] for part in self._parts])
        return m

    def _wide(self, m):
        """A read of all ways or of none. What a way grants does not depend on what it is asked: there is no loop."""
        ports = [part.read[self.rank - 1] for part in self._parts]
        m.d.comb += [
            self.wide.ready.eq(Cat(port.ready for port in ports).all()),
            self.wide.data.eq(Cat(port.data for port in ports)),
            self.wide.data_valid.eq(ports[0].data_valid),
        ]
        for port in ports:
            others = Cat(other.ready for other in ports if other is not port).all()
            m.d.comb += [port.valid.eq(self.wide.valid & others), port.addr.eq(self.wide.addr)]

    def _read(self, m, port, ways, number):
        """A read of one way."""
        way = self._ask(m, port, ways)
        for stage in range(READ_LATENCY):
            before, way = way, Signal.like(way, name=f"way_{number}_{stage}", reset_less=True)
            m.d.sync += way.eq(before)
        m.d.comb += [
            port.data.eq(Array(part.data for part in ways)[way]),
            port.data_valid.eq(Cat(part.data_valid for part in ways).any()),
        ]

    def _write(self, m, port, ways):
        """A write of one way."""
        self._ask(m, port, ways)
        for part in ways:
            m.d.comb += [part.data.eq(port.data), part.mask.eq(port.mask)]

    def _ask(self, m, port, ways):
        """The request goes to the way of its address, which says whether it is granted; returns the way."""
        low = exact_log2(self.ways)
        way = port.addr[:low]
        m.d.comb += port.ready.eq(Array(part.ready for part in ways)[way])
        for number, part in enumerate(ways):
            m.d.comb += [part.valid.eq(port.valid & (way == number)), part.addr.eq(port.addr[low:])]
        return way
