"""The matrix part of a node: FEED, MATMUL, the PE array and its accumulators."""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out, connect, flipped

from .accumulators import Accumulators
from .config import FEED_WORDS
from .feed import Feed
from .isa import Opcode
from .matmul import MatMul, model
from .parameters import Component, check_config
from .pe_array import PEArray, psum_latency
from .ports import ReadPort, UnitInterface

__all__ = ["MatrixUnit", "model", "pixel_latency"]


def pixel_latency(config):
    """Cycles from a pixel's read to the ``done`` of the instruction whose last pixel it is."""
    return MatMul.ISSUE_CYCLES + psum_latency(config.tn) + 1


class MatrixUnit(Component):
    """FEED and MATMUL with the array between them.

    With weights in time, a MATMUL instruction of n_tiles * kh * kw passes of rows * cols pixels takes as many
    cycles as it has pixels, and the next one follows without a gap. Weights are in time if a pass has at least half
    as many pixels as FEED's ``rows`` (FEED brings FEED_WORDS in a cycle) and the weight buffer grants every read.

    Reset drops instructions and pixels under way and clears errors; weights and sums keep what they have.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    feed : Out(UnitInterface(Opcode.FEED))
    matmul : Out(UnitInterface(Opcode.MATMUL))
    weight_read : Out(ReadPort(FEED_WORDS * config.word_bits))
        FEED's side of the weight buffer.
    act_read : Out(ReadPort(config.word_bits))
        MATMUL's side of the activation buffer.
    acc_read : In(ReadPort(32 * tm))
        VECTOR's side of the accumulators: refused while MATMUL adds to a word in the same half of the addresses.
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        self._array = PEArray(config.tm, config.tn, config.mac, columns=FEED_WORDS)
        self._matmul = MatMul(config)
        self._feed = Feed(config, swap_cycles=MatMul.ISSUE_CYCLES)
        self._accumulators = Accumulators(config, latency=self._array.latency)
        super().__init__(
            {
                "feed": Out(UnitInterface(Opcode.FEED)),
                "matmul": Out(UnitInterface(Opcode.MATMUL)),
                "weight_read": Out(ReadPort(FEED_WORDS * config.word_bits)),
                "act_read": Out(ReadPort(config.word_bits)),
                "acc_read": In(ReadPort(32 * config.tm)),
            }
        )

    @property
    def latency(self):
        """See ``pixel_latency``."""
        return pixel_latency(self.config)

    def elaborate(self, platform):
        m = Module()
        m.submodules.array = array = self._array
        m.submodules.matmul = matmul = self._matmul
        m.submodules.feed = feed = self._feed
        m.submodules.accumulators = accumulators = self._accumulators
        connect(m, flipped(self.feed), feed.unit)
        connect(m, flipped(self.matmul), matmul.unit)
        connect(m, flipped(self.weight_read), feed.read)
        connect(m, flipped(self.act_read), matmul.read)
        connect(m, flipped(self.acc_read), accumulators.read)
        m.d.comb += [
            matmul.shadow_ready.eq(feed.shadow_ready),
            feed.swap.eq(matmul.swap),
            array.x.eq(matmul.x),
            array.x_valid.eq(matmul.x_valid),
            array.x_swap.eq(matmul.x_swap),
            array.w_valid.eq(feed.w_valid),
            array.w_column.eq(feed.w_column),
            array.w_data.eq(feed.w_data),
            accumulators.update.eq(matmul.update),
            accumulators.psum.eq(array.psum),
            accumulators.psum_valid.eq(array.psum_valid),
            matmul.retired.eq(accumulators.retired),
        ]
        return m
