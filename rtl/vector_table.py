"""Parameters and tables of VECTOR: reading them, and looking results up."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import memory
from amaranth.lib.wiring import In, Out

from superlip.element import INT8

from .config import ADDRESS_BITS
from .isa import DEPTHWISE_WORDS, PARAM_WORDS, table_words
from .parameters import LANES, Component, check_config
from .ports import READ_LATENCY, ReadPort
from .vector_lanes import PARAM_WRITE

__all__ = ["ROWS", "ROW_BYTES", "ResultTable", "VectorLoader"]

ROW_BYTES = 4
"""Entries of the table that are written at once. LUT RAM is 64 deep, so a 256-entry table is four of them anyway."""

ROWS = INT8.patterns // ROW_BYTES
"""Rows of the table."""


class VectorLoader(Component):
    """Reads the parameters, weights and the table that an instruction brings.

    One parameter word or word of weights a cycle, then one table word every tn / 4 cycles: PARAM_WORDS + 64 cycles for
    parameters and table, and a few.

    Reset drops what is being read.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    start : In(1)
        With ``address``, ``load_params``, ``load_weights``, ``load_table``. Only if not ``busy``.
    read : Out(ReadPort(config.word_bits))
        Of the activation buffer. Silent unless ``busy``.
    busy : Out(1)
        From the cycle after ``start`` until everything is in place.
    refused : Out(1)
        A read waits.
    bad : Out(1)
        ``addr`` is outside the activation buffer. This state is final.
    addr : Out(ADDRESS_BITS + 1)
    params : Out(PARAM_WRITE)
        ``read.data`` is a word of parameters, or behind these of weights.
    row_valid, row_index, row : Out
        One row of the table to write.
    """

    def __init__(self, config):
        check_config(config)
        self.tn, self.word_bits, self.act_words = config.tn, config.word_bits, config.act_words
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "load_params": In(1),
                "load_weights": In(1),
                "load_table": In(1),
                "read": Out(ReadPort(config.word_bits)),
                "busy": Out(1),
                "refused": Out(1),
                "bad": Out(1),
                "addr": Out(ADDRESS_BITS + 1),
                "params": Out(PARAM_WRITE),
                "row_valid": Out(1),
                "row_index": Out(range(ROWS)),
                "row": Out(8 * ROW_BYTES),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words, rows_per_word = table_words(self.tn), max(self.tn // ROW_BYTES, 1)
        params_left, words_left = Signal(range(PARAM_WORDS + DEPTHWISE_WORDS + 1)), Signal(range(words + 1))
        gap = Signal(range(rows_per_word + 1))
        reading = params_left.any() | words_left.any()
        accepted = self.read.valid & self.read.ready
        is_params = params_left.any()
        m.d.comb += [
            self.bad.eq(reading & (self.addr >= self.act_words)),
            self.read.valid.eq(reading & ~self.bad & (gap == 0)),
            self.read.addr.eq(self.addr),
            self.refused.eq(self.read.valid & ~self.read.ready),
        ]
        with m.If(self.start):
            m.d.sync += [
                self.addr.eq(self.address),
                params_left.eq(Mux(self.load_params, PARAM_WORDS + Mux(self.load_weights, DEPTHWISE_WORDS, 0), 0)),
                self.params.index.eq(0),
                words_left.eq(Mux(self.load_table, words, 0)),
            ]
        with m.Elif(accepted):
            m.d.sync += self.addr.eq(self.addr + 1)
            with m.If(is_params):
                m.d.sync += params_left.eq(params_left - 1)
            with m.Else():
                m.d.sync += words_left.eq(words_left - 1)
        # The rows of a word take as many cycles to write as the next word waits here.
        with m.If(accepted & ~is_params):
            m.d.sync += gap.eq(rows_per_word - 1)
        with m.Elif(gap.any()):
            m.d.sync += gap.eq(gap - 1)

        params_back = _delay(m, accepted & is_params, READ_LATENCY, "params_back")
        words_back = _delay(m, accepted & ~is_params, READ_LATENCY, "words_back")
        m.d.comb += self.params.valid.eq(params_back[-1])
        with m.If(self.params.valid):
            m.d.sync += self.params.index.eq(self.params.index + 1)
        self._write_rows(m, words_back[-1], rows_per_word)
        m.d.comb += self.busy.eq(reading | params_back.any() | words_back.any() | self.row_valid)
        return m

    def _write_rows(self, m, arrived, rows_per_word):
        """Keeps a word while its rows go out."""
        word = Signal(self.word_bits, reset_less=True)
        left = Signal(range(rows_per_word + 1))
        position = Signal(range(rows_per_word), reset_less=True)
        m.d.comb += [self.row_valid.eq(left.any()), self.row.eq(word.word_select(position, 8 * ROW_BYTES))]
        with m.If(arrived):
            m.d.sync += [word.eq(self.read.data), left.eq(rows_per_word), position.eq(0)]
        with m.Elif(self.row_valid):
            m.d.sync += [left.eq(left - 1), position.eq(position + 1)]
        with m.If(self.row_valid):
            m.d.sync += self.row_index.eq(self.row_index + 1)


class ResultTable(Component):
    """Looks ``lanes`` elements up in one table of 256 entries, or passes them on.

    One memory with a read port for each lane: synthesis makes a copy for each, written together. Latency
    ``latency`` cycles, one lookup a lane and cycle. Not to be read in a cycle in which it is written.

    Reset drops the lookups under way; the table keeps what it has.

    Parameters
    ----------
    lanes : int

    Members
    -------
    valid, use_table : In(1)
    i : In(signed(INT8.bits)), one a lane
    o_valid : Out(1)
    o : Out(INT8.bits * lanes)
    row_valid, row_index, row : In
        Writes entries ROW_BYTES * row_index and following.
    """

    def __init__(self, lanes):
        LANES.check("lanes", lanes)
        self.lanes = lanes
        super().__init__(
            {
                "valid": In(1),
                "use_table": In(1),
                "i": In(signed(INT8.bits)).array(lanes),
                "o_valid": Out(1),
                "o": Out(INT8.bits * lanes),
                "row_valid": In(1),
                "row_index": In(range(ROWS)),
                "row": In(8 * ROW_BYTES),
            }
        )

    latency = 1
    """Cycles from a value to what the table makes of it."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.entries = entries = memory.Memory(
            shape=8 * ROW_BYTES, depth=ROWS, init=[], attrs={"ram_style": "distributed"}
        )
        write = entries.write_port()
        m.d.comb += [write.en.eq(self.row_valid), write.addr.eq(self.row_index), write.data.eq(self.row)]
        looked_up = Signal(reset_less=True)
        m.d.sync += self.o_valid.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += looked_up.eq(self.use_table)
        for lane, value in enumerate(self.i):
            read = entries.read_port()
            m.d.comb += [read.en.eq(self.valid & self.use_table), read.addr.eq(value[2:])]
            passed = Signal(INT8.bits, name=f"passed_{lane}", reset_less=True)
            with m.If(self.valid):
                m.d.sync += passed.eq(value)
            entry = read.data.word_select(passed[:2], INT8.bits)
            m.d.comb += self.o[INT8.bits * lane :][: INT8.bits].eq(Mux(looked_up, entry, passed))
        return m


def _delay(m, bit, cycles, name):
    """``bit`` in the last ``cycles`` cycles, the newest first."""
    line = Signal(cycles, name=name)
    m.d.sync += line.eq((line << 1) | bit)
    return line
