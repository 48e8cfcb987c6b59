"""What VECTOR does with pixels before requantization, and the parameters of its lanes."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from superlip.element import INT8

from .isa import DEPTHWISE_WORDS, PARAM_WORDS, VectorOp
from .parameters import Component, check_config
from .requantize import ACC_BITS, REQUANTIZE_CONTROL
from .vector_address import STEP
from .vector_window import WindowSums

__all__ = ["PARAM_WRITE", "VectorLanes"]

PARAM_WRITE = data.StructLayout({"valid": 1, "index": range(PARAM_WORDS + DEPTHWISE_WORDS)})
"""``act`` is word ``index`` of a parameter block, and of the weights behind it."""

_MULT_BITS = 27
_MAX_NEUTRAL = INT8.low
_ACC_LEAST = -(1 << 31)


class VectorLanes(Component):
    """Sums, maxima and products of one pixel a cycle in ``tn`` lanes; values go to ``Requantize``.

    Every operation is a multiply-accumulate of one pixel's x = value - zero point (9 bits): by 1 in SUM, by the
    lane's factors in ADD, by the x before it in MUL. MAX keeps the larger product instead of the sum, and
    REQUANTIZE adds the largest accumulator word of the window (padding is smaller than any) to the bias that sums
    begin with. In DEPTHWISE ``WindowSums`` take the x, the pixel itself, and their sum is added to the bias.

    Latency ``latency`` cycles from a result's last step; one step a cycle.

    Reset drops the values under way.

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
        Only while no value is inside, or in what comes behind.
    o_valid : Out(1)
    control : Out(REQUANTIZE_CONTROL)
    use_table, lane_max : Out(1), Out(2)
        As in the step.
    o : Out(signed(ACC_BITS)), one a lane
    scale : Out(32), one a lane
    """

    def __init__(self, config):
        check_config(config)
        self.config, self.tn = config, config.tn
        super().__init__(
            {
                "valid": In(1),
                "step": In(STEP),
                "act": In(config.word_bits),
                "acc": In(32 * config.tm),
                "params": In(PARAM_WRITE),
                "o_valid": Out(1),
                "control": Out(REQUANTIZE_CONTROL),
                "use_table": Out(1),
                "lane_max": Out(2),
                "o": Out(signed(ACC_BITS)).array(config.tn),
                "scale": Out(32).array(config.tn),
            }
        )

    latency = 3
    """Cycles from a result's last step to its value."""

    def elaborate(self, platform):
        m = Module()
        valid = [self.valid, Signal(name="valid_1"), Signal(name="valid_2")]
        steps = [self.step, Signal(STEP, name="step_1", reset_less=True), Signal(STEP, name="step_2", reset_less=True)]
        for k in range(2):
            m.d.sync += valid[k + 1].eq(valid[k])
            with m.If(valid[k]):
                m.d.sync += steps[k + 1].eq(steps[k])
        self._build_control(m, valid[2], steps[2])
        windows = self._build_windows(m, valid[1], steps[1])
        for lane in range(self.tn):
            factors = self._build_params(m, lane)
            self._build_lane(m, lane, valid, steps, factors, windows)
        return m

    def _build_windows(self, m, valid, step):
        """The sums of windows, where the node has DEPTHWISE."""
        if not self.config.depthwise_rows:
            return None
        m.submodules.windows = windows = WindowSums(self.config)
        m.d.comb += [
            windows.valid.eq(valid & (step.op == VectorOp.DEPTHWISE)),
            windows.row.eq(step.row),
            windows.load.eq(self.params.valid & (self.params.index >= PARAM_WORDS)),
            windows.index.eq(self.params.index - PARAM_WORDS),
            windows.word.eq(self.act),
        ]
        return windows

    def _build_control(self, m, valid, step):
        """MAX and ADD are exact; MAX is not scaled at all."""
        m.d.sync += self.o_valid.eq(valid & step.last)
        is_max, is_add = step.op == VectorOp.MAX, step.op == VectorOp.ADD
        with m.If(valid):
            m.d.sync += [
                self.use_table.eq(step.use_table),
                self.lane_max.eq(step.lane_max),
                self.control.exact.eq(is_max | is_add),
                self.control.shift.eq(Mux(is_add, step.shift, 0)),
                self.control.zp.eq(Mux(is_max, 0, step.zp_out)),
                self.control.low.eq(step.low),
                self.control.high.eq(step.high),
            ]

    def _build_params(self, m, lane):
        """The two 32-bit parameters of a lane: (bias or mult_a, scale or mult_b)."""
        per_word = self.tn // PARAM_WORDS
        index, place = divmod(lane, per_word)
        first = Signal(signed(32), name=f"first_{lane}", reset_less=True)
        second = Signal(32, name=f"second_{lane}", reset_less=True)
        with m.If(self.params.valid & (self.params.index == index)):
            m.d.sync += [
                first.eq(self.act[64 * place :][:32].as_signed()),
                second.eq(self.act[64 * place + 32 :][:32]),
            ]
        m.d.comb += self.scale[lane].eq(second)
        return first, second

    def _build_lane(self, m, lane, valid, steps, factors, windows):
        first, second = factors
        step = self.step
        x = Signal(signed(INT8.bits + 1), name=f"x_{lane}", reset_less=True)
        mult = Signal(signed(_MULT_BITS), name=f"mult_{lane}", reset_less=True)
        word = Signal(signed(32), name=f"word_{lane}", reset_less=True)
        is_acc = step.op == VectorOp.REQUANTIZE
        sums = Mux(is_acc, Mux(step.present, self.acc[32 * lane :][:32].as_signed(), _ACC_LEAST), 0)
        with m.If(valid[0]):
            # What leaves a maximum, or else a sum, as it is; in DEPTHWISE padding is the zero point.
            neutral, zero = Mux(step.op == VectorOp.MAX, _MAX_NEUTRAL, 0), step.zp
            if windows is not None:
                is_pixel = step.op == VectorOp.DEPTHWISE
                neutral, zero = Mux(is_pixel, step.zp, neutral), Mux(is_pixel, 0, step.zp)
            pixel = self.act[INT8.bits * lane :][: INT8.bits].as_signed()
            m.d.sync += x.eq(Mux(step.present & ~is_acc, pixel - zero, neutral))
            with m.If(step.first | (sums > word)):
                m.d.sync += word.eq(sums)
            with m.If(step.op == VectorOp.ADD):
                m.d.sync += mult.eq(Mux(step.second, second[:_MULT_BITS].as_signed(), first))
            with m.Elif(step.op == VectorOp.MUL):
                m.d.sync += mult.eq(x)  # of the step before: the first operand
            with m.Else():
                m.d.sync += mult.eq(1)

        product = Signal(signed(ACC_BITS), name=f"product_{lane}", reset_less=True)
        base = Signal(signed(32), name=f"base_{lane}", reset_less=True)
        with m.If(valid[1]):
            m.d.sync += [product.eq(x * mult), base.eq(word + Mux(steps[1].op == VectorOp.ADD, 0, first))]

        total = Signal(signed(ACC_BITS), name=f"total_{lane}", reset_less=True)
        is_max, alone = steps[2].op == VectorOp.MAX, steps[2].first | (steps[2].op == VectorOp.REQUANTIZE)
        addend = product
        if windows is not None:
            m.d.comb += windows.x[lane].eq(x)
            addend = Mux(steps[2].op == VectorOp.DEPTHWISE, windows.o[lane], product)
        with m.If(valid[2] & ~is_max):
            m.d.sync += total.eq(Mux(alone, base, total) + addend)
        with m.Elif(valid[2] & (steps[2].first | (product[: len(x)].as_signed() > total[: len(x)].as_signed()))):
            m.d.sync += total.eq(product)
        # All but ADD (within 36 bits by its factors' size) are int32, modulo 2**32.
        m.d.comb += self.o[lane].eq(Mux(self.control.exact, total, total[:32].as_signed()))
