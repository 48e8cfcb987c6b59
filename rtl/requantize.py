"""Requantization of int32 sums to elements, bit-exact with float32 arithmetic, on integers only."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from superlip.element import INT8

from .parameters import LANES, Component

__all__ = ["ACC_BITS", "ELEMENT", "REQUANTIZE_CONTROL", "Requantize"]

ACC_BITS = 36
"""Bits of a value at the input: an int32, or an ``exact`` sum of magnitude below 2**35."""

MAGNITUDE_BITS = ACC_BITS - 1

FLOAT_BIAS = 127
"""Of a float32's exponent: an exact value is multiplied by 2**-shift."""

ELEMENT = signed(INT8.bits)
"""A result, its zero point and its bounds."""

REQUANTIZE_CONTROL = data.StructLayout({"exact": 1, "shift": 6, "zp": ELEMENT, "low": ELEMENT, "high": ELEMENT})
"""What goes with a value: see ``Requantize``."""

# Exponent arithmetic. A normalized magnitude is m * 2**(11 - lz) with m in [2**23, 2**24), a scale is
# ms * 2**(es - 150), and their product is rounded to q * 2**(23 + hi) with q in [2**23, 2**24]. So the
# result is q * 2**(n - 24) with n = es - lz + carry + hi - 92: n bits of q are before the binary point.
POINT = 150 - 11 - 23 - 24


class Requantize(Component):
    """``lanes`` times clip(rint(float32(acc) * float32(scale)) + zp, low, high), rounding half to even.

    Every lane takes one value a cycle. The result is that of IEEE float32: ``acc`` is rounded to 24 bits,
    the product again, then to an integer, each half to even. A value with ``control.exact`` is instead
    divided by ``2**shift`` and rounded once, half to even, whatever its size and the lane's scale.

    Throughput one value a lane and cycle, latency ``latency`` cycles, no back-pressure. Registers change only
    where a valid value passes. Reset (of domain ``sync``, synchronous) drops the values inside.

    Parameters
    ----------
    lanes : int

    Members
    -------
    valid : In(1)
    control : In(REQUANTIZE_CONTROL)
        In the cycle of ``acc``: ``zp``, ``low``, ``high`` elements (``high`` wins where low > high), ``exact`` and
        ``shift``.
    acc : In(signed(ACC_BITS)), one a lane
        An int32; with ``exact`` any value of magnitude below 2**35.
    scale : In(32), one a lane
        float32 bits: positive and normal, or 0 (then the result is ``zp``, clipped). Not registered: it must not
        change while values of the lane are inside.
    o_valid : Out(1)
    o : Out(ELEMENT), one a lane

    Raises
    ------
    ValueError
        If ``lanes`` is not positive.
    """

    def __init__(self, lanes):
        LANES.check("lanes", lanes)
        self.lanes = lanes
        super().__init__(
            {
                "valid": In(1),
                "control": In(REQUANTIZE_CONTROL),
                "acc": In(signed(ACC_BITS)).array(lanes),
                "scale": In(32).array(lanes),
                "o_valid": Out(1),
                "o": Out(ELEMENT).array(lanes),
            }
        )

    latency = 9
    """Cycles from a value to its result."""

    @staticmethod
    def model(acc, scale, zp, low, high):
        """The numpy twin (of values without ``exact``).

        Parameters
        ----------
        acc : ndarray int32
        scale : ndarray float32, broadcast against ``acc``
        zp, low, high : int or ndarray

        Returns
        -------
        ndarray of elements
        """
        with np.errstate(over="ignore", under="ignore"):
            product = np.asarray(acc, np.int32).astype(np.float32) * np.asarray(scale, np.float32)
        value = np.rint(product) + np.asarray(zp, np.float32)
        return np.minimum(np.maximum(value, low), high).astype(INT8.dtype)

    @staticmethod
    def model_exact(acc, shift, zp, low, high):
        """The numpy twin of values with ``exact``: ``acc`` int64, result elements."""
        value = round_half_even(acc, shift) + np.asarray(zp, np.int64)
        return np.minimum(np.maximum(value, low), high).astype(INT8.dtype)

    def elaborate(self, platform):
        m = Module()
        valid = [self.valid] + [Signal(name=f"valid_{k}") for k in range(1, self.latency + 1)]
        control = [self.control]
        for k in range(1, self.latency):
            control.append(Signal(REQUANTIZE_CONTROL, name=f"control_{k}", reset_less=True))
            with m.If(valid[k - 1]):
                m.d.sync += control[k].eq(control[k - 1])
        m.d.sync += [valid[k].eq(valid[k - 1]) for k in range(1, self.latency + 1)]
        m.d.comb += self.o_valid.eq(valid[-1])
        for lane in range(self.lanes):
            _Lane(m, lane, valid, control).build(self.acc[lane], self.scale[lane], self.o[lane])
        return m


class _Lane:
    """Builds the stages of one lane. Registers of stage k (``name_k``) load when stage k - 1 is valid."""

    def __init__(self, m, lane, valid, control):
        self.m, self.lane, self.valid, self.control = m, lane, valid, control

    def register(self, stage, name, shape, value):
        """``value`` of stage - 1, registered."""
        register = Signal(shape, name=f"{name}_{stage}_{self.lane}", reset_less=True)
        with self.m.If(self.valid[stage - 1]):
            self.m.d.sync += register.eq(value)
        return register

    def build(self, acc, scale, out):
        negative = self.register(1, "negative", 1, acc < 0)
        magnitude = self.register(1, "magnitude", MAGNITUDE_BITS, abs(acc))
        mantissa, carry, point = self.to_float(magnitude, scale)
        product, point = self.multiply(mantissa, carry, point, scale)
        rounded, point = self.round_product(product, point)
        integer, round_up = self.to_integer(rounded, point)
        for stage in range(2, 9):
            negative = self.register(stage, "negative", 1, negative)
        self.saturate(integer, round_up, negative, out)

    def to_float(self, magnitude, scale):
        """Stages 2 to 4: normalize, then round to 24 bits half to even; exact: OR what is cut into the last bit."""
        coarse, zeros_high = normalize(magnitude, (32, 16, 8))
        coarse, zeros_high = (
            self.register(2, "coarse", MAGNITUDE_BITS, coarse),
            self.register(2, "zeros", 3, zeros_high),
        )
        fine, zeros_low = normalize(coarse, (4, 2, 1))
        normal = self.register(3, "normal", MAGNITUDE_BITS, fine)
        zeros = self.register(3, "zeros", 6, Cat(zeros_low, zeros_high))

        exact, shift = self.control[3].exact, self.control[3].shift
        cut = MAGNITUDE_BITS - 24
        top, rest = normal[cut:], normal[:cut]
        total = top + (rest[-1] & (rest[:-1].any() | top[0]))  # 25 bits; 2**24 becomes 2**23 and a carry
        jammed = Cat(top[0] | rest.any(), top[1:])  # enough for the one rounding that follows
        mantissa = self.register(4, "mantissa", 24, Mux(exact, jammed, Cat(total[:23], total[23] | total[24])))
        carry = self.register(4, "carry", 1, total[24] & ~exact)
        exponent = Mux(exact, FLOAT_BIAS - shift, scale[23:31])
        point = self.register(4, "point", signed(10), exponent - zeros - POINT)
        return mantissa, carry, point

    def multiply(self, mantissa, carry, point, scale):
        """Stages 5 and 6: 24 x 24 bits (two DSPs with both their registers); an exact value by 1.0."""
        factor = Mux(self.control[4].exact, Const(1 << 23, 24), Cat(scale[:23], scale[23:31].any()))
        product = self.register(5, "product", 48, mantissa * factor)
        point = self.register(5, "point", signed(10), point + carry)
        return self.register(6, "product", 48, product), self.register(6, "point", signed(10), point)

    def round_product(self, product, point):
        """Stage 7: to 24 bits, half to even; 25 bits come out, as 2**24 needs no renormalization here."""
        high = product[47]
        top = Mux(high, product[24:48], product[23:47])
        guard = Mux(high, product[23], product[22])
        sticky = product[:22].any() | (high & product[22])
        rounded = self.register(7, "rounded", 25, top + (guard & (sticky | top[0])))
        return rounded, self.register(7, "point", signed(10), point + high)

    def to_integer(self, rounded, point):
        """Stage 8: the integer and whether it must be rounded up.

        Whatever the zero point, 2**8 saturates an element of 8 bits: so beyond ``point`` = 8 the integer is just
        that, and below 0 the value is at most a half (2**24 at -1), which is 0.
        """
        huge = (point > INT8.bits) & (rounded[23] | rounded[24])  # both 0: the value is 0
        tiny = point < 0
        fixed = (rounded << point[:4].as_unsigned())[: 25 + INT8.bits]
        integer, guard, sticky = fixed[24:], fixed[23], fixed[:23].any()
        result = self.register(8, "integer", INT8.bits + 1, Mux(huge, INT8.patterns, Mux(tiny, 0, integer)))
        round_up = self.register(8, "round_up", 1, ~huge & ~tiny & guard & (sticky | integer[0]))
        return result, round_up

    def saturate(self, integer, round_up, negative, out):
        """Stage 9: sign, zero point and clip."""
        control = self.control[8]
        magnitude = integer + round_up
        value = Signal(signed(INT8.bits + 3), name=f"value_{self.lane}")
        self.m.d.comb += value.eq(Mux(negative, -magnitude, magnitude) + control.zp)
        raised = Mux(value < control.low, control.low, value)
        result = self.register(9, "result", ELEMENT, Mux(raised > control.high, control.high, raised))
        self.m.d.comb += out.eq(result)


def normalize(value, steps):
    """Shift ``value`` left by each step whose bits at the top are all zero.

    Returns the shifted value and, as a bit vector with the last step lowest, which shifts were done.
    """
    done = []
    for step in steps:
        zero = ~value[len(value) - step :].any()
        value = Mux(zero, Cat(Const(0, step), value[:-step]), value)
        done.insert(0, zero)
    return value, Cat(*done)


def round_half_even(value, shift):
    """numpy: ``value`` / 2**``shift`` to the nearest integer, half to even; int64, exact. ``shift`` is 0 to 63."""
    value, shift = np.broadcast_arrays(np.asarray(value, np.int64), np.asarray(shift, np.int64))
    floor = value >> shift
    rest = value - (floor << shift)
    half = np.left_shift(np.int64(1), np.maximum(shift - 1, 0))
    return floor + np.where(shift == 0, 0, (rest > half) | ((rest == half) & (floor & 1 == 1)))
