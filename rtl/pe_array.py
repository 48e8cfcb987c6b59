"""The PE array: ``tm`` x ``tn`` MACs of elements a cycle, weight-stationary, with two ways to use a multiplier."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from superlip.element import INT8

from .config import LIMITS, Limit
from .parameters import Component

__all__ = ["CHAIN", "FIELD", "OPERAND", "PEArray", "PackedMAC", "SingleMAC", "pack", "psum_latency", "split"]

CHAIN = 8
"""Products that a chain adds up: as many as the low field of a packed sum can tell apart (see ``split``)."""

OPERAND = signed(INT8.bits)
"""A weight or an input: CHAIN, FIELD and the MACs are made for 8 bits."""

FIELD = 18
"""Bits of the low field of a packed sum."""

CHAIN_SUM = signed(19)
"""Sum of CHAIN int8 products: within [-130048, +131072], and +2**17 is what needs the nineteenth bit."""


def pack(w0, w1):
    """The multiplicand that holds two weights: a 27-bit signed number. Works on integers and ndarrays alike."""
    return (w1 << FIELD) + w0


def split(total):
    """The two sums (low, high) in a packed sum of up to CHAIN products; the twin of ``PackedMAC.split``.

    An int8 product lies in [-128 * 127, 128 * 128], so eight of them in [-130048, +131072]. Eighteen bits
    hold 2**18 numbers and this range has 261121 of them: no two share a pattern, but the topmost one,
    +131072, has the pattern 0x20000 that two's complement reads as -131072. As -131072 can't occur, the low
    field is read as two's complement except for that pattern.
    """
    field = total & ((1 << FIELD) - 1)
    low = field - ((field > 1 << (FIELD - 1)) << FIELD)
    return low, (total - low) >> FIELD


def psum_latency(tn):
    """Cycles from ``x`` to its ``psum`` with ``tn`` input channels: input register, stages, split, adder tree."""
    stages = min(CHAIN, tn)
    return 1 + stages + 1 + ceil_log2(tn // stages)


class PackedMAC:
    """Two output channels in one 27x18 multiplier, for instance a DSP48E2."""

    channels = 2
    multiplicand = signed(27)
    # Both sums at their top: 2**17 * 2**18 + 2**17 < 2**36.
    total = signed(37)

    @staticmethod
    def multiplicand_of(weights):
        w0, w1 = weights
        # A product, because a shift is a concatenation with many copies of the sign, slow to simulate.
        return w1 * (1 << FIELD) + w0

    @staticmethod
    def split(total):
        """``split`` in hardware: (total - low) >> FIELD is the upper part, plus the borrow of a negative low field."""
        negative = total[FIELD - 1] & total[: FIELD - 1].any()
        low = Cat(total[:FIELD], negative).as_signed()
        return low, total[FIELD:].as_signed() + negative


class SingleMAC:
    """One output channel in one multiplier, for instance an 18x18 one."""

    channels = 1
    multiplicand = OPERAND
    total = CHAIN_SUM

    @staticmethod
    def multiplicand_of(weights):
        return weights[0]

    @staticmethod
    def split(total):
        return (total,)


MACS: dict[str, type[PackedMAC] | type[SingleMAC]] = {"packed": PackedMAC, "single": SingleMAC}


class PEArray(Component):
    """``psum[m] = sum over n of weight[m][n] * x[n]``, one ``x`` a cycle, with double-buffered weights.

    The ``tn`` products of an output channel are added up in systolic chains of ``min(8, tn)`` stages
    (``p = w * x + p_prev``: the cascade of a DSP column), stage k one cycle behind stage k - 1; the sums of the chains
    meet in a registered adder tree. There is no handshake: what goes in comes out ``latency`` cycles later.

    Every stage has an active weight, which it multiplies with, and a shadow weight, which ``w_data`` writes. All
    inputs of a stage are delayed by the stage's number: x, the swap that travels with it, and the shadow's write
    too. So to every stage the inputs of one cycle look simultaneous, and the array behaves as if it had no
    skew at all, as if in each cycle these happened in this order:

    1. ``x_swap``: the active weights of all channels become the shadow weights;
    2. ``x_valid``: ``psum`` of this ``x`` with the active weights is computed, to appear ``latency`` cycles later;
    3. ``w_valid``: the shadow weights of ``columns`` channels, from ``columns * w_column`` on, become ``w_data``.

    In particular a new set may begin to load in the very cycle of the swap: a shadow weight of stage k is
    overwritten at the end of the cycle in which stage k copies the one before. (Were the write not delayed, it would
    overtake the swap on its way down the chain.)

    Throughput: one ``x`` a cycle. Reset (of domain ``sync``, synchronous): what is under way gives no ``psum_valid``,
    and its swaps and weight writes are dropped; weights keep what they have, which after power-up is nothing: load a
    set and swap before the first ``x``.

    A platform with a method ``get_pe_array`` builds the array its own way: the method gets the component and its
    module, in which ``psum_valid`` is already driven.

    Parameters
    ----------
    tm, tn : int
        Output and input channels; ``tn`` a power of two, ``tm`` even where the MAC is packed.
    mac : str
        ``"packed"``, the default: two output channels share a 27x18 multiplier; ``"single"``: one multiplier each.
        Interface, latency and results are the same.
    columns : int
        Output channels whose weights one ``w_data`` has, a divisor of ``tm``; 1 by default.

    Members
    -------
    x : In(ArrayLayout(OPERAND, tn))
    x_valid : In(1)
    x_swap : In(1)
        Use the shadow weights from this ``x`` on (it counts without ``x_valid``, too).
    w_valid : In(1)
    w_column : In(range(tm // columns))
        Which output channels' shadow weights ``w_data`` writes.
    w_data : In(ArrayLayout(OPERAND, columns * tn))
        One channel's weights after the other's.
    psum : Out(ArrayLayout(signed(32), tm))
        Sign-extended to 32 bits, as the accumulators are. Meaningless without ``psum_valid``.
    psum_valid : Out(1)
        ``x_valid``, ``latency`` cycles later.

    Raises
    ------
    ValueError
        If a size or ``mac`` is none of these.
    """

    def __init__(self, tm, tn, mac="packed", columns=1):
        if mac not in tuple(MACS):
            raise ValueError(f"mac must be one of {', '.join(MACS)}, not {mac!r}")
        Limit(2, LIMITS["tn"].high).check("tn", tn)
        Limit(1, LIMITS["tm"].high, power_of_two=False).check("tm", tm)
        self.mac = MACS[mac]
        if tm % self.mac.channels:
            raise ValueError(f"tm must be a multiple of {self.mac.channels} ({mac} MACs), not {tm!r}")
        Limit(1, LIMITS["tm"].high, power_of_two=False).check("columns", columns)
        if tm % columns:
            raise ValueError(f"tm must be a multiple of columns={columns}, not {tm!r}")
        self.tm, self.tn, self.columns = tm, tn, columns
        self.stages = min(CHAIN, tn)
        self.chains = tn // self.stages
        super().__init__(
            {
                "x": In(data.ArrayLayout(OPERAND, tn)),
                "x_valid": In(1),
                "x_swap": In(1),
                "w_valid": In(1),
                "w_column": In(range(tm // columns)),
                "w_data": In(data.ArrayLayout(OPERAND, columns * tn)),
                "psum": Out(data.ArrayLayout(signed(32), tm)),
                "psum_valid": Out(1),
            }
        )

    @property
    def latency(self):
        """Cycles from ``x`` to its ``psum``."""
        return psum_latency(self.tn)

    @staticmethod
    def model(x, weights):
        """Partial sums of pixels with one weight set.

        Parameters
        ----------
        x : ndarray of elements, shape (pixels, tn)
        weights : ndarray of elements, shape (tm, tn)

        Returns
        -------
        ndarray int32, shape (pixels, tm)
        """
        return np.asarray(x, np.int32) @ np.asarray(weights, np.int32).T

    def elaborate(self, platform):
        m = Module()
        # The last register is the port itself: as an alias, it would lend the port its name in Verilog.
        valid = _Delays(m, self.x_valid, self.latency - 1, "valid", reset_less=False)
        m.d.sync += self.psum_valid.eq(valid[self.latency - 1])
        if hasattr(platform, "get_pe_array"):
            platform.get_pe_array(self, m, ready=valid[self.latency - 1])
            return m
        multiplicands = self._weights(m)
        pixels = [self._pixel(m, stage) for stage in range(self.stages)]
        sums = []
        for group in range(self.tm // self.mac.channels):
            totals = [Const(0, self.mac.total)] * self.chains
            for stage in range(self.stages):
                totals = self._multiply_add(m, group, stage, multiplicands[stage][group], pixels[stage], totals)
            sums += self._split(m, group, totals)
        m.d.comb += [self.psum[channel].eq(self._tree(m, channel, terms)) for channel, terms in enumerate(sums)]
        return m

    def _lanes(self, word, stage):
        """The lanes of ``word`` that stage ``stage`` of each chain takes, side by side."""
        return Cat(word[chain * self.stages + stage] for chain in range(self.chains))

    def _pixel(self, m, stage):
        """Stage ``stage``'s x of each chain, one cycle after its weights had the chance to swap."""
        lanes = _Delays(m, self._lanes(self.x, stage), stage, f"x_{stage}")[stage]
        pixel = [Signal(OPERAND, name=f"x_{stage}_{c}", reset_less=True) for c in range(self.chains)]
        m.d.sync += [register.eq(lanes.word_select(c, OPERAND.width)) for c, register in enumerate(pixel)]
        return pixel

    def _weights(self, m):
        """Shadow and active weights; returns the multiplicands as [stage][group][chain]."""
        swap = _Delays(m, self.x_swap, self.stages - 1, "swap", reset_less=False)
        write = _Delays(m, self.w_valid, self.stages - 1, "write", reset_less=False)
        column = _Delays(m, self.w_column, self.stages - 1, "column")
        multiplicands = []
        for stage in range(self.stages):
            words = [self.w_data.as_value().word_select(i, OPERAND.width * self.tn) for i in range(self.columns)]
            lanes = [
                _Delays(m, self._lanes(data.View(self.x.shape(), word), stage), stage, f"w_{stage}_{i}")[stage]
                for i, word in enumerate(words)
            ]
            shadow = [
                Signal(OPERAND.width * self.chains, name=f"shadow_{i}_{stage}", reset_less=True) for i in range(self.tm)
            ]
            for channel, register in enumerate(shadow):
                group, number = divmod(channel, self.columns)
                m.d.sync += _load(register, lanes[number], when=write[stage] & (column[stage] == group))
            multiplicands.append(self._active(m, stage, swap[stage], shadow))
        return multiplicands

    def _active(self, m, stage, swap, shadow):
        """The multiplicands of a stage as [group][chain]. They are put together here, once a weight set."""
        size = self.mac.channels
        active = [
            [
                Signal(self.mac.multiplicand, name=f"weight_{group}_{stage}_{c}", reset_less=True)
                for c in range(self.chains)
            ]
            for group in range(self.tm // size)
        ]
        for group, registers in enumerate(active):
            words = shadow[group * size : (group + 1) * size]
            for c, register in enumerate(registers):
                weights = [word.word_select(c, OPERAND.width).as_signed() for word in words]
                m.d.sync += _load(register, self.mac.multiplicand_of(weights), when=swap)
        return active

    def _multiply_add(self, m, group, stage, weights, pixels, before):
        """One stage of all chains of a group."""
        totals = [Signal(self.mac.total, name=f"p_{group}_{stage}_{c}", reset_less=True) for c in range(self.chains)]
        m.d.sync += [t.eq(w * x + b) for t, w, x, b in zip(totals, weights, pixels, before, strict=True)]
        return totals

    def _split(self, m, group, totals):
        """Registered sums of the chains of each channel of a group, as [channel][chain]."""
        fields = [self.mac.split(total) for total in totals]
        sums = [
            [Signal(CHAIN_SUM, name=f"sum_{group}_{i}_{c}", reset_less=True) for c in range(self.chains)]
            for i in range(self.mac.channels)
        ]
        m.d.sync += [sums[i][c].eq(field) for c, channels in enumerate(fields) for i, field in enumerate(channels)]
        return sums

    def _tree(self, m, channel, terms):
        """Pairwise sums of ``terms``, a register and a bit more at each level."""
        for level in range(ceil_log2(self.chains)):
            sums = [
                Signal(signed(CHAIN_SUM.width + level + 1), name=f"tree_{channel}_{level}_{i}", reset_less=True)
                for i in range(len(terms) // 2)
            ]
            m.d.sync += [s.eq(a + b) for s, a, b in zip(sums, terms[::2], terms[1::2], strict=True)]
            terms = sums
        return terms[0]


def _load(register, value, *, when):
    """``register`` takes ``value``. As an If, thousands of these simulate at half the speed."""
    bits = len(register)
    return register.eq(Mux(when, value[:bits], register[:bits]))


class _Delays:
    """``[d]`` is the value ``d`` cycles ago, for d up to ``cycles``."""

    def __init__(self, m, value, cycles, name, *, reset_less=True):
        self._values = [value]
        for d in range(1, cycles + 1):
            register = Signal(len(value), name=f"{name}_d{d}", reset_less=reset_less)
            m.d.sync += register.eq(self._values[-1])
            self._values.append(register)

    def __getitem__(self, cycles):
        return self._values[cycles]
