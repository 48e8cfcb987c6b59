"""DEPTHWISE's sums: each lane's pixels times its nine weights, added up over windows of 3x3."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from superlip.element import INT8

from .isa import DEPTHWISE_KERNEL, DEPTHWISE_WORDS
from .parameters import Component, check_config

__all__ = ["WindowSums"]

_PIXEL = signed(INT8.bits)
_PRODUCT = signed(2 * INT8.bits)
# Sums of two, three, six and nine products of magnitude at most 2**14.
_TWO, _THREE, _SIX, _NINE = signed(17), signed(17), signed(18), signed(19)

_PAIRS = 2
"""Multipliers, in each lane, that make two products; the other five products are made of adders."""
_LOW = 18
"""Bits of a pair's product below that of its second weight."""


class WindowSums(Component):
    """In ``tn`` lanes, the sum over the 3x3 window that ends at a pixel: ``sum(weight[ky, kx] * x[y + ky, x + kx])``.

    Pixels come column by column, each from the top down; one takes part in nine windows at once. Down a column, two
    registers for each kernel column hold the sums of one and of two products, and the third product makes a sum of
    three. From column to column, ``lines`` keep the sums of one and of two such columns for each row. What comes out
    means nothing before the third row of a column and the third column, so nothing has to be cleared.

    Throughput one pixel a lane and cycle, latency ``latency`` cycles to ``o``, which is not registered. Registers
    change only where a valid pixel passes. Reset drops the pixel inside; weights and sums keep what they have.

    Parameters
    ----------
    config : NodeConfig
        With ``depthwise_rows``, the rows of a column at most.

    Members
    -------
    valid, row : In
        A pixel, of this row counted from the column's first; one row has at least three pixels between two of its own.
    x : In(signed(INT8.bits)), one a lane
    load, index, word : In
        ``word`` holds each lane's weight of number ``index``, 3 * ky + kx. They come in order, while no pixel is in.
    o : Out(signed(19)), one a lane

    Raises
    ------
    ValueError
        If ``depthwise_rows`` is 0.
    """

    latency = 1
    """Cycles from a pixel to the sum of the window that it completes."""

    def __init__(self, config):
        check_config(config)
        if not config.depthwise_rows:
            raise ValueError("depthwise_rows must be a power of two, not 0, which is a node without DEPTHWISE")
        self.tn, self.rows = config.tn, config.depthwise_rows
        super().__init__(
            {
                "valid": In(1),
                "row": In(range(self.rows)),
                "x": In(_PIXEL).array(config.tn),
                "load": In(1),
                "index": In(range(DEPTHWISE_WORDS)),
                "word": In(config.word_bits),
                "o": Out(_NINE).array(config.tn),
            }
        )

    def elaborate(self, platform):
        m = Module()
        line = data.ArrayLayout(data.StructLayout({"one": _THREE, "two": _SIX}), self.tn)
        m.submodules.lines = lines = memory.Memory(
            shape=line, depth=self.rows, init=[], attrs={"ram_style": "distributed"}
        )
        read, write = lines.read_port(), lines.write_port()
        multiplied, row = Signal(), Signal.like(self.row, reset_less=True)
        m.d.sync += multiplied.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += row.eq(self.row)
        m.d.comb += [
            read.en.eq(self.valid), read.addr.eq(self.row), write.en.eq(multiplied), write.addr.eq(row),
        ]  # fmt: skip
        for lane in range(self.tn):
            products = self._products(m, lane)
            columns = [self._down(m, lane, kx, products[kx::DEPTHWISE_KERNEL], multiplied) for kx in range(3)]
            m.d.comb += [
                write.data[lane].one.eq(columns[0]),
                write.data[lane].two.eq(read.data[lane].one + columns[1]),
                self.o[lane].eq(read.data[lane].two + columns[2]),
            ]
        return m

    def _down(self, m, lane, kx, products, multiplied):
        """The sum of a kernel column's three products, of which the last pixel's is the third."""
        one = Signal(_PRODUCT, name=f"one_{kx}_{lane}", reset_less=True)
        two = Signal(_TWO, name=f"two_{kx}_{lane}", reset_less=True)
        with m.If(multiplied):
            m.d.sync += [one.eq(products[0]), two.eq(one + products[1])]
        return two + products[2]

    def _products(self, m, lane):
        """The pixel times each weight, registered."""
        x, products = self.x[lane], []
        thrice = Signal(signed(len(x) + 2), name=f"thrice_{lane}")
        m.d.comb += thrice.eq(x + (x << 1))
        for pair in range(_PAIRS):
            products += self._pair(m, lane, 2 * pair, x)
        for number in range(2 * _PAIRS, DEPTHWISE_WORDS):
            weight = self._weight(m, lane, number)
            product = Signal(_PRODUCT, name=f"product_{number}_{lane}", reset_less=True)
            with m.If(self.valid):
                m.d.sync += product.eq(_multiply(x, thrice, weight))
            products.append(product)
        return products

    def _weight(self, m, lane, number):
        weight = Signal(_PIXEL, name=f"weight_{number}_{lane}", reset_less=True)
        with m.If(self.load & (self.index == number)):
            m.d.sync += weight.eq(self.word[INT8.bits * lane :][: INT8.bits])
        return weight

    def _pair(self, m, lane, number, x):
        """Two products of one multiplier: x * (first + second * 2**18).

        With 2**17 added, the lower one is never negative and so takes nothing from the upper one.
        """
        first = self._weight(m, lane, number)
        second = Signal(signed(INT8.bits + 1), name=f"weight_{number + 1}_{lane}", reset_less=True)
        with m.If(self.load & (self.index == number + 1)):
            # The first one's sign bits lie where the second begins.
            m.d.sync += second.eq(self.word[INT8.bits * lane :][: INT8.bits].as_signed() - first[-1])
        factor = Cat(first, first[-1].replicate(_LOW - len(first)), second).as_signed()
        both = Signal(signed(_LOW + 2 * INT8.bits), name=f"products_{number}_{lane}", reset_less=True)
        with m.If(self.valid):
            m.d.sync += both.eq(x * factor + (1 << _LOW - 1))
        return both[: 2 * INT8.bits].as_signed(), both[_LOW:].as_signed()


def _multiply(x, thrice, weight):
    """``x * weight`` without a multiplier; ``thrice`` is 3x.

    Two bits of the weight at a time say whether 0, x, 2x or 3x is added, so a bit of each sum takes six inputs. The
    last two, which have the sign, add 0, x, -2x or -x: what is negative is complemented, and a one comes in as carry.
    """
    *digits, last = (weight[n : n + 2] for n in range(0, len(weight), 2))
    total, done = 0, []
    for digit in digits:
        total = total + Mux(digit[1], Mux(digit[0], thrice, x << 1), Mux(digit[0], x, 0))
        done.append(total[:2])
        total = total >> 2
    negative = last[1]
    part = Mux(negative, ~Mux(last[0], x, x << 1), Mux(last[0], x, 0))
    with_carry = Cat(negative, total).as_signed() + Cat(negative, part).as_signed()
    return Cat(*done, with_carry[1:])[: 2 * INT8.bits].as_signed()
