"""On-chip memories: the banked buffer that units share, and a FIFO in block RAM."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import ADDRESS_BITS, LIMITS, PATIENCE, Limit
from .parameters import LANES, Component, check_shape
from .ports import READ_LATENCY, ReadPort, WritePort

__all__ = ["BankedMemory", "BlockFifo"]


class BankedMemory(Component):
    """Buffer of ``lanes``-byte words that several requesters share, in banks by the high address bits.

    Each bank serves one read and takes one write a cycle, so requesters that work in different banks do not
    see each other. Where two want the same bank, the one with the lower index gets it and the other sees
    ``ready`` low; but once in ``patience`` cycles it is each requester's turn, in which it comes before all
    others. So none waits for ``patience`` cycles, whatever the others do. A read sees every write
    accepted in an earlier cycle; a read and a write of one word in the same cycle give the word from before the
    write.

    Latency: ``latency`` cycles from an accepted read to its word. Reset (of domain ``sync``, synchronous) drops reads
    under way, and leaves the words as they are; at power-up they hold anything.

    A platform with a method ``get_memory_banks`` builds the banks its own way: the method gets the component and its
    module, in which ``ready`` and ``data_valid`` are already driven.

    An address past the last word never reaches another word: a write there is taken and dropped, a read there
    is taken and answered with zero.

    Parameters
    ----------
    words : int
        Words in all.
    banks : int
        Banks; ``words // banks`` is a power of two, ``banks`` need not be one.
    lanes : int
        Bytes of a word, each with its own write mask bit.
    readers, writers : int
        Requesters, the more urgent ones first.
    patience : int
        Cycles from one turn of a requester to its next: it waits for less. A power of two, with a turn for each; by
        default 128.

    Members
    -------
    read : In(ReadPort(8 * lanes)).array(readers)
    write : In(WritePort(8 * lanes)).array(writers)

    Raises
    ------
    ValueError
        If a bank would not have a power of two of words, the buffer is larger than an address can reach, or
        ``patience`` has too few turns.
    """

    def __init__(self, words, banks, lanes, readers, writers, *, patience=PATIENCE):
        Limit(1, 1 << ADDRESS_BITS, power_of_two=False).check("words", words)
        LIMITS["act_banks"].check("banks", banks)
        LANES.check("lanes", lanes)
        for name, value in (("readers", readers), ("writers", writers)):
            Limit(1, 64, power_of_two=False).check(name, value)
        Limit(2, 1 << 16).check("patience", patience)
        depth = words // banks
        if depth < 1 or words % banks or depth & (depth - 1):
            raise ValueError(f"{words} words do not split into {banks} banks of a power of two of words")
        if patience <= max(readers, writers):
            most = max(readers, writers)
            raise ValueError(f"patience must be a power of two above {most}, the requesters, not {patience!r}")
        self.words, self.banks, self.lanes, self.depth, self.patience = words, banks, lanes, depth, patience
        super().__init__(
            {
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
        reads, writes = list(self.read), list(self.write)
        clock = Signal(range(self.patience))
        m.d.sync += clock.eq(clock + 1)
        turns = [self._arbitrate(m, clock, kind, ports) for kind, ports in (("read", reads), ("write", writes))]
        arrivals = [self._arrival(m, index, port) for index, port in enumerate(reads)]
        if hasattr(platform, "get_memory_banks"):
            platform.get_memory_banks(self, m, fetched=[arrival[1] for arrival in arrivals])
            return m
        words = [self._build_bank(m, bank, *zip((reads, writes), turns, strict=True)) for bank in range(self.banks)]
        for index, port in enumerate(reads):
            self._build_reply(m, index, port, words)
        return m

    def _arrival(self, m, index, port):
        """Drives ``data_valid``; returns ``valid & ready`` of 0, 1, ... READ_LATENCY cycles ago."""
        stages = [port.valid & port.ready]
        for stage in range(READ_LATENCY):
            stages.append(Signal(name=f"valid_{index}_{stage}"))
            m.d.sync += stages[-1].eq(stages[-2])
        m.d.comb += port.data_valid.eq(stages[-1])
        return stages

    def _bank(self, port):
        """High bits of the address: out of range, it equals no bank's number."""
        return port.addr[ceil_log2(self.depth) :]

    def _arbitrate(self, m, clock, kind, ports):
        """Drives ``ready``; returns whose turn it is: one bit a requester, never two."""
        turns = [Signal(name=f"{kind}_turn_{index}") for index in range(len(ports))]
        for index, (port, turn) in enumerate(zip(ports, turns, strict=True)):
            m.d.sync += turn.eq(clock == index * (self.patience // len(ports)))
            others = [(p, ~turn if n < index else turns[n]) for n, p in enumerate(ports) if n != index]
            taken = [other.valid & (self._bank(other) == self._bank(port)) & first for other, first in others]
            m.d.comb += port.ready.eq(~Cat(taken).any() if taken else 1)
        return turns

    def _build_bank(self, m, bank, reads, writes):
        m.submodules[f"bank{bank}"] = ram = memory.Memory(shape=8 * self.lanes, depth=self.depth, init=[])
        rp = ram.read_port()
        wp = ram.write_port(granularity=8)
        (read, read_turns), (write, write_turns) = reads, writes
        served = _served([p.valid & (self._bank(p) == bank) for p in read], read_turns)
        m.d.comb += [rp.en.eq(served.any()), rp.addr.eq(_one(served, [p.addr for p in read]))]
        served = _served([p.valid & (self._bank(p) == bank) for p in write], write_turns)
        m.d.comb += [
            wp.en.eq(_one(served, [p.mask for p in write])),
            wp.addr.eq(_one(served, [p.addr for p in write])),
            wp.data.eq(_one(served, [p.data for p in write])),
        ]
        # The second register is the block RAM's own output register.
        word = Signal(8 * self.lanes, name=f"word{bank}", reset_less=True)
        arrived = Signal(name=f"arrived{bank}")
        m.d.sync += arrived.eq(rp.en)
        with m.If(arrived):
            m.d.sync += word.eq(rp.data)
        return word

    def _build_reply(self, m, index, port, words):
        bank = self._bank(port)
        for stage in range(READ_LATENCY):
            next_bank = Signal.like(bank, name=f"bank_{index}_{stage}", reset_less=True)
            m.d.sync += next_bank.eq(bank)
            bank = next_bank
        with m.Switch(bank):
            for number, word in enumerate(words):
                with m.Case(number):
                    m.d.comb += port.data.eq(word)


def _served(wants, turns):
    """Of those who want a bank, the one that gets it: whose turn it is, or else the first."""
    served = []
    for index, (want, turn) in enumerate(zip(wants, turns, strict=True)):
        later = [other & its_turn for other, its_turn in zip(wants[index + 1 :], turns[index + 1 :], strict=True)]
        served.append(want & (turn | ~Cat(*wants[:index], *later).any()))
    return Cat(served)


def _one(chosen, values):
    """The value of the one that is chosen; zero if none is."""
    return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(chosen, values, strict=True)))


class BlockFifo(Component):
    """FIFO whose storage is one block RAM with a registered, non-transparent read.

    One item in and one out each cycle; an item can leave two cycles after it came.

    Reset empties it.

    Parameters
    ----------
    shape : shape-like
        Of an item.
    depth : int
        Items; a power of two, at least 2. (One more fits in the output register.)

    Members
    -------
    i : In(stream)
    o : Out(stream)

    Raises
    ------
    ValueError
        If ``depth`` is not a power of two of at least 2.
    """

    def __init__(self, shape, depth):
        Limit(2, 1 << 16).check("depth", depth)
        check_shape("shape", shape)
        self.shape, self.depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @property
    def latency(self):
        """Cycles from an item's entry to the first in which it can leave."""
        return 2

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=self.shape, depth=self.depth, init=[])
        wp, rp = ram.write_port(), ram.read_port()
        # One bit more than an address: equal means empty, a difference of depth means full.
        written = Signal(range(2 * self.depth))
        fetched = Signal(range(2 * self.depth))
        full = (written ^ fetched) == self.depth
        m.d.comb += [
            self.i.ready.eq(~full),
            wp.addr.eq(written),
            wp.data.eq(self.i.payload),
            wp.en.eq(self.i.valid & ~full),
            # A word is fetched at the earliest one cycle after its write: the ports never meet in a word.
            rp.addr.eq(fetched),
            rp.en.eq((written != fetched) & (~self.o.valid | self.o.ready)),
            self.o.payload.eq(rp.data),
        ]
        m.d.sync += [written.eq(written + wp.en), fetched.eq(fetched + rp.en)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += self.o.valid.eq(rp.en)
        return m
