"""The accumulators: ``tm`` int32 partial sums of every output pixel in work."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import Limit
from .parameters import Component, check_config
from .ports import READ_LATENCY, ReadPort

__all__ = ["Accumulators", "update_layout"]


def update_layout(config):
    """What happens to the accumulators with one ``x`` of the array.

    ``valid``
        There is an ``x``: its partial sums go to word ``address``.
    ``overwrite``
        They replace what is there, rather than being added to it.
    ``last``
        Of its instruction.
    ``fail``
        Instead of an ``x``: the instruction ends here, with an error.
    """
    return data.StructLayout({"valid": 1, "overwrite": 1, "last": 1, "fail": 1, "address": ceil_log2(config.acc_words)})


class Accumulators(Component):
    """``acc_words`` words of ``tm`` int32, which either take partial sums or are added to.

    Two banks, one for each half of the addresses; each does one read and one write a cycle, and is written so
    that block RAM is inferred (registered read, output register, not transparent). One update a cycle,
    modulo 2**32. An update reads its word two cycles before its partial sums arrive and writes it one cycle after
    they did: another update that adds to the same word must come at least ``UPDATE_CYCLES`` cycles later.
    Whoever issues them sees to that.

    VECTOR reads a bank in any cycle in which no update does.

    A platform with a method ``get_accumulator_banks`` builds banks and adders its own way: the method gets the
    component, its module, in which all but ``read.data`` is already driven, and the stages of the updates.

    Reset drops updates under way; words keep what they have, which after power-up is nothing.

    Parameters
    ----------
    config : NodeConfig
    latency : int
        Cycles from ``update`` to its ``psum``; at least READ_LATENCY.

    Members
    -------
    update : In(update_layout)
        Together with the ``x`` that it belongs to.
    psum : In(ArrayLayout(signed(32), tm))
    psum_valid : In(1)
        ``latency`` cycles after an ``update`` with ``valid``.
    retired : Out(update_layout)
        ``update``, in the cycle in which the memory is written: whoever reads from the next one on sees the new
        word. ``latency`` + 1 cycles after the update.
    read : In(ReadPort(32 * tm))
        VECTOR's. Not ready while an update reads the bank.
    """

    UPDATE_CYCLES = READ_LATENCY + 2

    def __init__(self, config, *, latency):
        check_config(config)
        Limit(READ_LATENCY, 256, power_of_two=False).check("latency", latency)
        self.latency = latency
        self.words = config.acc_words
        self.lanes = config.tm
        self.update_layout = update_layout(config)
        super().__init__(
            {
                "update": In(self.update_layout),
                "psum": In(data.ArrayLayout(signed(32), config.tm)),
                "psum_valid": In(1),
                "retired": Out(self.update_layout),
                "read": In(ReadPort(32 * config.tm)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        updates = self._delayed(m)
        fetch, arrive, write = (updates[self.latency + d] for d in (-READ_LATENCY, 0, 1))
        fetches = Signal()
        selects = (self.read.addr.bit_select(ceil_log2(self.words) - 1, 1), fetch.address[-1])
        m.d.comb += [
            fetches.eq(fetch.valid & ~fetch.overwrite),
            self.read.ready.eq(~(fetches & (selects[0] == selects[1]))),
            self.retired.eq(write),
        ]
        accepted = Signal(READ_LATENCY)
        m.d.sync += accepted.eq(Cat(self.read.valid & self.read.ready, accepted))
        m.d.comb += self.read.data_valid.eq(accepted[-1])

        if hasattr(platform, "get_accumulator_banks"):
            platform.get_accumulator_banks(
                self, m, fetches=fetches, fetch=fetch, arrive=arrive, write=write, accepted=accepted
            )
            return m
        self._build(m, fetches, fetch, arrive, write, selects[0])
        return m

    def _build(self, m, fetches, fetch, arrive, write, select):
        """The banks and the adders in front of them."""
        total = Signal(32 * self.lanes, reset_less=True)
        words = []
        for bank in range(2):
            words.append(self._bank(m, bank, fetches & (fetch.address[-1] == bank), fetch.address, write, total))
        old = Mux(arrive.address[-1], words[1], words[0])
        with m.If(self.psum_valid):
            m.d.sync += total.eq(self._sums(old, arrive.overwrite))

        bank_read = Signal(READ_LATENCY, reset_less=True)
        m.d.sync += bank_read.eq(Cat(select, bank_read))
        m.d.comb += self.read.data.eq(Mux(bank_read[-1], words[1], words[0]))

    def _delayed(self, m):
        """``update`` as it was 0, 1, ... latency + 1 cycles ago."""
        updates = [self.update]
        for d in range(1, self.latency + 2):
            stage = Signal(self.update_layout, name=f"update_d{d}")
            m.d.sync += stage.eq(updates[-1])
            updates.append(stage)
        return updates

    def _sums(self, old, overwrite):
        keep = ~overwrite.replicate(32)
        return Cat(((old.word_select(n, 32) & keep) + self.psum[n])[:32] for n in range(self.lanes))

    def _bank(self, m, bank, fetches, address, write, total):
        """One bank; returns the word read READ_LATENCY cycles after its address."""
        width = 32 * self.lanes
        m.submodules[f"bank_{bank}"] = words = memory.Memory(shape=width, depth=self.words // 2, init=[])
        reader, writer = words.read_port(), words.write_port()
        selected = self.read.valid & (self.read.addr.bit_select(ceil_log2(self.words) - 1, 1) == bank)
        m.d.comb += [
            reader.addr.eq(Mux(fetches, address, self.read.addr)),
            reader.en.eq(fetches | selected),
            writer.addr.eq(write.address),
            writer.data.eq(total),
            writer.en.eq(write.valid & (write.address[-1] == bank)),
        ]
        read = Signal(name=f"read_{bank}")
        word = Signal(width, name=f"word_{bank}", reset_less=True)
        m.d.sync += read.eq(reader.en)
        with m.If(read):
            m.d.sync += word.eq(reader.data)
        return word
