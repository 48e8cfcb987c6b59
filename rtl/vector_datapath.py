"""VECTOR's pipeline from words that were read to those that are written: lanes, requantization, table, lane groups."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from .isa import MAX_LANE_MAX
from .parameters import Component, check_config
from .requantize import ELEMENT, Requantize
from .vector_address import STEP
from .vector_lanes import PARAM_WRITE, VectorLanes
from .vector_table import ROW_BYTES, ROWS, ResultTable

__all__ = ["VectorDatapath"]


class VectorDatapath(Component):
    """``VectorLanes``, ``Requantize``, ``ResultTable`` and the maximum over lane groups, one behind the other.

    One step a cycle; a result comes out ``latency`` cycles after its last step, with the maximum in the same cycle as
    what the table gives. There is no handshake.

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
        lane_max = Signal(data.ArrayLayout(2, requantize.latency + table.latency), reset_less=True)
        m.d.sync += [
            use_table.eq(Cat(lanes.use_table, use_table)),
            lane_max.eq(Cat(lanes.lane_max, lane_max)),
        ]
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
            self.o.eq(_largest(m, table.o, self.config.tn, lane_max[-1])),
        ]
        for lane in range(self.config.tn):
            m.d.comb += [
                requantize.acc[lane].eq(lanes.o[lane]),
                requantize.scale[lane].eq(lanes.scale[lane]),
                table.i[lane].eq(requantize.o[lane]),
            ]
        return m


def _largest(m, word, lanes, groups):
    """Each lane's maximum over the lanes at its place in ``1 << groups`` lane groups: of halves, then of quarters.

    One comparison serves both lanes of a pair.
    """
    values = list(data.View(data.ArrayLayout(ELEMENT, lanes), word))
    for level in range(1, MAX_LANE_MAX + 1):
        apart, before = lanes >> level, values
        values = [Signal(ELEMENT, name=f"largest_{level}_{lane}") for lane in range(lanes)]
        for low in (lane for lane in range(lanes) if not lane & apart):
            a, b, rises = before[low], before[low + apart], Signal(name=f"rises_{level}_{low}")
            m.d.comb += [
                rises.eq(b > a),
                values[low].eq(Mux((groups >= level) & rises, b, a)),
                values[low + apart].eq(Mux((groups >= level) & ~rises, a, b)),
            ]
    return Cat(values)
