"""FEED: weight sets from the weight buffer to the array's shadow registers."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from .config import ADDRESS_BITS, FEED_WORDS, Limit
from .isa import FORMATS, Opcode
from .parameters import Component, check_config
from .ports import READ_LATENCY, ReadPort, UnitError, UnitInterface

__all__ = ["Feed", "model"]


class Feed(Component):
    """Reads weight sets ahead and loads each as soon as the one before has been swapped in.

    Reads FEED_WORDS words a cycle into a short queue, across sets and instructions, until the queue is full. From the
    queue, as many a cycle go to the array while the shadow registers are free. They become free with ``swap``, and the
    first words of the next set leave the queue in the cycle after it: with ``rows / FEED_WORDS`` pixels a pass or more
    the array never waits, provided that the buffer grants a read in every cycle.

    Timing of the handshake. A pixel takes ``swap_cycles`` cycles from ``swap`` to the array; words that leave
    the queue take one cycle less. So the words behind a swap reach the array together with the swap, which is
    early enough for the array; and ``shadow_ready`` may already be high in the cycle in which the last words of a
    set leave the queue: they are in the array one cycle before the swap.

    ``done``: READ_LATENCY cycles after the buffer accepted the instruction's last read; its words may then be
    overwritten. Takes an instruction in the cycle of the last read of the one before.

    Errors: OPERAND (``rows`` beyond tm or no multiple of FEED_WORDS: ``rows``; ``weights`` no multiple of it:
    ``weights``; ``sets`` or ``rows`` zero: 0) before any read; ADDRESS (the address) after the reads before it.

    Reset drops instructions and the words read ahead.

    Parameters
    ----------
    config : NodeConfig
    swap_cycles : int
        Cycles from ``swap`` to ``x_swap`` at the array, at least 2.

    Members
    -------
    unit : Out(UnitInterface(Opcode.FEED))
    read : Out(ReadPort(FEED_WORDS * config.word_bits))
        Weight buffer, FEED_WORDS words at once: ``addr`` counts those.
    w_valid, w_column, w_data : Out
        The load port of an array with ``columns=FEED_WORDS``.
    shadow_ready : Out(1)
        A whole set is in the shadow registers, or will be when a swap of this cycle reaches the array.
    swap : In(1)
        The set is taken: a pixel that swaps it in is on its way. Only with ``shadow_ready``.
    """

    QUEUE_DEPTH = 8
    """Reads whose words the queue holds. A read a cycle needs as many as there are cycles from one that leaves to the
    one in its place: one to issue, READ_LATENCY to read, one to write. The rest hides a few refused reads."""

    def __init__(self, config, *, swap_cycles):
        check_config(config)
        Limit(2, 256, power_of_two=False).check("swap_cycles", swap_cycles)
        self.swap_cycles = swap_cycles
        self.words, self.tm, self.read_bits = config.weight_words, config.tm, FEED_WORDS * config.word_bits
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.FEED)),
                "read": Out(ReadPort(FEED_WORDS * config.word_bits)),
                "w_valid": Out(1),
                "w_column": Out(range(config.tm // FEED_WORDS)),
                "w_data": Out(data.ArrayLayout(signed(config.element.bits), FEED_WORDS * config.tn)),
                "shadow_ready": Out(1),
                "swap": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self.read_bits + 1, depth=self.QUEUE_DEPTH)
        ends_set = self._reads(m, taken=queue.r_en & queue.r_rdy)
        m.d.comb += [queue.w_en.eq(self.read.data_valid), queue.w_data.eq(Cat(self.read.data, ends_set))]
        self._loads(m, queue)
        return m

    def _reads(self, m, *, taken):
        """Instructions to reads. Returns the mark of a set's last words, at the time of their data."""
        unit, read, layout = self.unit, self.read, FORMATS[Opcode.FEED].layout
        body = unit.instr.payload.body
        active, stopped = Signal(), Signal()
        # Addresses and rows are in reads. One bit more than an address: running over the end of the address space must
        # not come back at 0.
        low = exact_log2(FEED_WORDS)
        address = Signal(ADDRESS_BITS - low + 1, reset_less=True)
        sets = Signal(layout["sets"].shape, reset_less=True)
        rows, row = (Signal(layout["rows"].shape.width - low, name=name, reset_less=True) for name in ("rows", "row"))
        free = Signal(range(self.QUEUE_DEPTH + 1), init=self.QUEUE_DEPTH)
        accepted, ends_set, ends, fails = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            fails.eq(active & (address >= self.words // FEED_WORDS)),
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
        wrong_rows = (body.rows > self.tm) | body.rows[:low].any()
        wrong_address = body.weights[:low].any()
        wrong = (body.sets == 0) | (body.rows == 0) | wrong_rows | wrong_address
        with m.If(unit.instr.valid & unit.instr.ready):
            m.d.sync += [
                address.eq(body.weights[low:]), sets.eq(body.sets), rows.eq(body.rows[low:]), row.eq(body.rows[low:]),
            ]  # fmt: skip
            m.d.sync += active.eq(~wrong)
            with m.If(wrong):
                m.d.sync += [code.eq(UnitError.OPERAND), stopped.eq(1)]
                m.d.sync += syndrome.eq(Mux(wrong_rows, body.rows, Mux(wrong_address, body.weights, 0)))
        with m.If(fails):
            m.d.sync += [active.eq(0), stopped.eq(1), code.eq(UnitError.ADDRESS), syndrome.eq(address << low)]

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
        full, column = Signal(), Signal(range(self.tm // FEED_WORDS))
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
        valid, where, words = queue.r_rdy & ~full, column, queue.r_data[:-1]
        for d in range(1, self.swap_cycles):
            stage = (
                Signal(name=f"valid_d{d}"),
                Signal(ceil_log2(self.tm // FEED_WORDS), name=f"column_d{d}", reset_less=True),
                Signal(self.read_bits, name=f"words_d{d}", reset_less=True),
            )
            m.d.sync += stage[0].eq(valid)
            with m.If(valid):
                m.d.sync += [stage[1].eq(where), stage[2].eq(words)]
            valid, where, words = stage
        m.d.comb += [self.w_valid.eq(valid), self.w_column.eq(where), self.w_data.eq(words)]


def model(config, instruction, weights):
    """What a FEED instruction brings to the array, or why it stops.

    Parameters
    ----------
    config : NodeConfig
    instruction : dict of str to int
        Fields of the instruction's body, as ``encode`` takes them.
    weights : ndarray of elements, shape (weight_words, tn)
        Weight buffer.

    Returns
    -------
    UnitError, int
        Error and syndrome; NONE and 0 if there is none.
    ndarray of elements, shape (sets, rows, tn)
        The weights of the output channels in use; no sets with an error, though FEED may have brought some of them.
    """
    first, sets, rows = (instruction[name] for name in ("weights", "sets", "rows"))
    end, nothing = first + sets * rows, weights[:0].reshape(0, 0, config.tn)
    if rows > config.tm or rows % FEED_WORDS:
        return UnitError.OPERAND, rows, nothing
    if first % FEED_WORDS:
        return UnitError.OPERAND, first, nothing
    if not sets or not rows:
        return UnitError.OPERAND, 0, nothing
    if end > config.weight_words:
        return UnitError.ADDRESS, max(first, config.weight_words), nothing
    return UnitError.NONE, 0, weights[first:end].reshape(sets, rows, config.tn)
