"""FEED: weight sets from the weight buffer to the array's shadow registers."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import ADDRESS_BITS, Limit
from .isa import FORMATS, Opcode
from .parameters import Component, check_config
from .ports import READ_LATENCY, ReadPort, UnitError, UnitInterface

__all__ = ["Feed"]


class Feed(Component):
    """Reads weight sets ahead and loads each as soon as the one before has been swapped in.

    Reads one word a cycle into a short queue, across sets and instructions, until the queue is full. From the
    queue, one word a cycle goes to the array while the shadow registers are free. They become free with ``swap``,
    and the first word of the next set leaves the queue in the cycle after it: with ``rows`` pixels a pass or more
    the array never waits, provided that the buffer grants a read in every cycle.

    Timing of the handshake. A pixel takes ``swap_cycles`` cycles from ``swap`` to the array; a word that leaves
    the queue takes one cycle less. So the word behind a swap reaches the array together with the swap, which is
    early enough for the array; and ``shadow_ready`` may already be high in the cycle in which the last word of a
    set leaves the queue: it is in the array one cycle before the swap.

    ``done``: READ_LATENCY cycles after the buffer accepted the instruction's last read; its words may then be
    overwritten. Takes an instruction in the cycle of the last read of the one before.

    Errors: OPERAND (``sets`` or ``rows`` zero: 0; ``rows`` beyond tm: ``rows``) before any read; ADDRESS (the
    address) after the reads before it.

    Reset drops instructions and the words read ahead.

    Parameters
    ----------
    config : NodeConfig
    swap_cycles : int
        Cycles from ``swap`` to ``x_swap`` at the array, at least 2.

    Members
    -------
    unit : Out(UnitInterface(Opcode.FEED))
    read : Out(ReadPort(config.word_bits))
        Weight buffer.
    w_valid, w_column, w_data : Out
        The array's load port.
    shadow_ready : Out(1)
        A whole set is in the shadow registers, or will be when a swap of this cycle reaches the array.
    swap : In(1)
        The set is taken: a pixel that swaps it in is on its way. Only with ``shadow_ready``.
    """

    QUEUE_WORDS = 8
    """One word a cycle needs as many as there are cycles from a word that leaves to the one read in its
    place: one to issue, READ_LATENCY to read, one to write. The rest hides a few refused reads."""

    def __init__(self, config, *, swap_cycles):
        check_config(config)
        Limit(2, 256, power_of_two=False).check("swap_cycles", swap_cycles)
        self.swap_cycles = swap_cycles
        self.words, self.tm, self.word_bits = config.weight_words, config.tm, config.word_bits
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.FEED)),
                "read": Out(ReadPort(config.word_bits)),
                "w_valid": Out(1),
                "w_column": Out(range(config.tm)),
                "w_data": Out(data.ArrayLayout(signed(config.element.bits), config.tn)),
                "shadow_ready": Out(1),
                "swap": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self.word_bits + 1, depth=self.QUEUE_WORDS)
        ends_set = self._reads(m, taken=queue.r_en & queue.r_rdy)
        m.d.comb += [queue.w_en.eq(self.read.data_valid), queue.w_data.eq(Cat(self.read.data, ends_set))]
        self._loads(m, queue)
        return m

    def _reads(self, m, *, taken):
        """Instructions to reads. Returns the mark of a set's last word, at the time of its data."""
        unit, read, layout = self.unit, self.read, FORMATS[Opcode.FEED].layout
        body = unit.instr.payload.body
        active, stopped = Signal(), Signal()
        # One bit more than an address: running over the end of the address space must not come back at 0.
        address = Signal(ADDRESS_BITS + 1, reset_less=True)
        sets, rows, row = (Signal(layout[name].shape, reset_less=True) for name in ("sets", "rows", "rows"))
        free = Signal(range(self.QUEUE_WORDS + 1), init=self.QUEUE_WORDS)
        accepted, ends_set, ends, fails = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            fails.eq(active & (address >= self.words)),
            read.valid.eq(active & ~fails & (free != 0) & ~unit.halt),
            read.addr.eq(address),
            accepted.eq(read.valid & read.ready),
            ends_set.eq(row == 1),
            ends.eq(ends_set & (sets == 1)),
            unit.instr.ready.eq(~stopped & ~unit.halt & (~active | (accepted & ends))),
            unit.stalled.eq(active & ~accepted),
        ]
        m.d.sync += free.eq(free - accepted + taken)
        with m.If(accepted):
            m.d.sync += [address.eq(address + 1), row.eq(row - 1)]
            with m.If(ends_set):
                m.d.sync += [row.eq(rows), sets.eq(sets - 1)]
            with m.If(ends):
                m.d.sync += active.eq(0)

        code = Signal(UnitError, init=UnitError.NONE)
        syndrome = Signal.like(unit.error.syndrome)
        wrong = (body.sets == 0) | (body.rows == 0) | (body.rows > self.tm)
        with m.If(unit.instr.valid & unit.instr.ready):
            m.d.sync += [address.eq(body.weights), sets.eq(body.sets), rows.eq(body.rows), row.eq(body.rows)]
            m.d.sync += active.eq(~wrong)
            with m.If(wrong):
                m.d.sync += [code.eq(UnitError.OPERAND), stopped.eq(1)]
                m.d.sync += syndrome.eq(Mux(body.rows > self.tm, body.rows, 0))
        with m.If(fails):
            m.d.sync += [active.eq(0), stopped.eq(1), code.eq(UnitError.ADDRESS), syndrome.eq(address)]

        # What became of a read, in step with its data. The error goes the same way, behind what came before it.
        tags = data.StructLayout({"ends_set": 1, "ends": 1, "stopped": 1})
        tag = Signal(tags)
        m.d.comb += [tag.ends_set.eq(ends_set), tag.ends.eq(accepted & ends), tag.stopped.eq(stopped)]
        for d in range(READ_LATENCY):
            before, tag = tag, Signal(tags, name=f"tag_d{d + 1}")
            m.d.sync += tag.eq(before)
        m.d.comb += [
            unit.done.eq(tag.ends),
            unit.error.valid.eq(tag.stopped),
            unit.error.code.eq(code),
            unit.error.syndrome.eq(syndrome),
        ]
        self._busy(m)
        return tag.ends_set

    def _busy(self, m):
        """Instructions taken and not done: one is read, and those before are READ_LATENCY cycles long on their way."""
        count = Signal(range(READ_LATENCY + 3))
        m.d.sync += count.eq(count + (self.unit.instr.valid & self.unit.instr.ready) - self.unit.done)
        m.d.comb += self.unit.busy.eq(count != 0)

    def _loads(self, m, queue):
        """Queue to shadow registers."""
        full, column = Signal(), Signal(range(self.tm))
        last = queue.r_data[-1]
        finishing = Signal()
        m.d.comb += [
            queue.r_en.eq(~full),
            finishing.eq(queue.r_rdy & ~full & last),
            self.shadow_ready.eq(full | finishing),
        ]
        m.d.sync += full.eq(self.shadow_ready & ~self.swap)
        with m.If(queue.r_rdy & ~full):
            m.d.sync += column.eq(Mux(last, 0, column + 1))
        valid, where, word = queue.r_rdy & ~full, column, queue.r_data[:-1]
        for d in range(1, self.swap_cycles):
            stage = (
                Signal(name=f"valid_d{d}"),
                Signal(ceil_log2(self.tm), name=f"column_d{d}", reset_less=True),
                Signal(self.word_bits, name=f"word_d{d}", reset_less=True),
            )
            m.d.sync += stage[0].eq(valid)
            with m.If(valid):
                m.d.sync += [stage[1].eq(where), stage[2].eq(word)]
            valid, where, word = stage
        m.d.comb += [self.w_valid.eq(valid), self.w_column.eq(where), self.w_data.eq(word)]
