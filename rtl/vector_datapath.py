"""VECTOR's pipeline from the words that were read to the words that are written: lanes, requantization, table."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from .parameters import Component, check_config
from .requantize import Requantize
from .vector_address import STEP
from .vector_lanes import PARAM_WRITE, VectorLanes
from .vector_table import ROW_BYTES, ROWS, ResultTable

__all__ = ["VectorDatapath"]


class VectorDatapath(Component):
    """``VectorLanes``, ``Requantize`` and ``ResultTable``, one behind the other.

    One step a cycle; a result comes out ``latency`` cycles after its last step. There is no handshake.

    A platform with a method ``get_vector_datapath`` builds it its own way: the method gets the component and its
    module, in which ``o_valid`` is already driven.

    Reset drops the results under way.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    valid, step : In(1), In(STEP)
        A step whose data is on ``act`` or ``acc`` (where it is present).
    act : In(config.word_bits)
        Word of the activation buffer.
    acc : In(32 * tm)
        Word of the accumulators.
    params : In(PARAM_WRITE)
        ``act`` is a word of parameters. Only while no step is inside.
    row_valid, row_index, row : In
        Writes entries ROW_BYTES * row_index and following of the table. Only while no step is inside.
    o_valid : Out(1)
    o : Out(config.word_bits)
        Meaningless without ``o_valid``.
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        super().__init__(
            {
                "valid": In(1),
                "step": In(STEP),
                "act": In(config.word_bits),
                "acc": In(32 * config.tm),
                "params": In(PARAM_WRITE),
                "row_valid": In(1),
                "row_index": In(range(ROWS)),
                "row": In(8 * ROW_BYTES),
                "o_valid": Out(1),
                "o": Out(config.word_bits),
            }
        )

    @property
    def latency(self):
        """Cycles from a result's last step to its word."""
        return VectorLanes.latency + Requantize.latency + ResultTable.latency

    def elaborate(self, platform):
        m = Module()
        if hasattr(platform, "get_vector_datapath"):
            ends = Signal(self.latency)
            m.d.sync += ends.eq(Cat(self.valid & self.step.last, ends))
            m.d.comb += self.o_valid.eq(ends[-1])
            platform.get_vector_datapath(self, m, ready=ends[-2])
            return m
        m.submodules.lanes = lanes = VectorLanes(self.config)
        m.submodules.requantize = requantize = Requantize(self.config.tn)
        m.submodules.table = table = ResultTable(self.config.tn)
        use_table = Signal(requantize.latency, reset_less=True)
        m.d.sync += use_table.eq(Cat(lanes.use_table, use_table))
        m.d.comb += [
            lanes.valid.eq(self.valid),
            lanes.step.eq(self.step),
            lanes.act.eq(self.act),
            lanes.acc.eq(self.acc),
            lanes.params.eq(self.params),
            requantize.valid.eq(lanes.o_valid),
            requantize.control.eq(lanes.control),
            table.valid.eq(requantize.o_valid),
            table.use_table.eq(use_table[-1]),
            table.row_valid.eq(self.row_valid),
            table.row_index.eq(self.row_index),
            table.row.eq(self.row),
            self.o_valid.eq(table.o_valid),
            self.o.eq(table.o),
        ]
        for lane in range(self.config.tn):
            m.d.comb += [
                requantize.acc[lane].eq(lanes.o[lane]),
                requantize.scale[lane].eq(lanes.scale[lane]),
                table.i[lane].eq(requantize.o[lane]),
            ]
        return m
