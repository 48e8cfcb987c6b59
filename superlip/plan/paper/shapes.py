"""What the published model speaks of: layers, FPGAs, partitions, design points. Each is checked where it is made."""

import itertools
import math
from dataclasses import dataclass, field
from operator import index
from typing import Any

from superlip.boards.types import XCZU9EG

__all__ = [
    "FIXED16", "FLOAT32", "ONE_BOARD", "ZCU102", "Design", "Fpga", "Layer", "PaperError", "Partition", "Precision",
    "Rates", "integer", "partitions",
]  # fmt: skip

MOST = 1 << 20
"""Of a size, and of a rate."""
MOST_MACS = 1 << 50
"""Of a layer: cycles are sums of float64, which are exact below 2**53."""


class PaperError(ValueError):
    """A layer, FPGA, partition or design that can't be; the message names it, the value and what would be right."""


def _positive(of: Any, what: str, *names: str, most: int = MOST) -> None:
    """Fields become Python's integers, or are refused."""
    for name in names:
        object.__setattr__(of, name, integer(getattr(of, name), f"{what}: {name}", most))


def integer(value: Any, what: str, most: int = MOST) -> int:
    """A positive integer, of Python or numpy, as Python's.

    Raises
    ------
    PaperError
        If it is none, or larger than ``most``; ``what`` it is stands in the message.
    """
    try:
        number = 0 if isinstance(value, bool) else index(value)
    except TypeError:
        number = 0
    if not 1 <= number <= most:
        raise PaperError(f"{what} must be an integer from 1 to {most:,}, not {value!r}")
    return number


def _rate(value: Any, what: str, unit: str) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 1 / MOST <= number <= MOST:  # neither is NaN
        raise PaperError(f"{what} is {unit} a cycle, a number above 0 (2**-20 to 2**20), not {value!r}")
    return number


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution's shape; a dense layer is one whose results are of a single pixel.

    Parameters
    ----------
    m, n : int
        Output and input channels, of all groups.
    r, c : int
        Rows and columns of the output.
    k : int or (int, int)
        Kernel: K, or its rows and columns. The paper's K * K is ``taps``.
    b : int
        Batch: images.
    groups : int
        Of the channels. The paper has none, and takes a group of AlexNet for a layer (its fifth: M = 128, N = 192);
        here ``groups`` such layers come one after another.
    name : str
    """

    m: int
    n: int
    r: int
    c: int
    k: int | tuple[int, int]
    b: int = 1
    groups: int = 1
    name: str = "layer"

    def __post_init__(self) -> None:
        _positive(self, f"layer {self.name!r}", "m", "n", "r", "c", "b", "groups")
        kernel = self.k if isinstance(self.k, tuple) else (self.k, self.k)
        if len(kernel) != 2:
            raise PaperError(f"layer {self.name!r}: k is one number, or rows and columns, not {self.k!r}")
        checked = tuple(integer(side, f"layer {self.name!r}: k") for side in kernel)
        object.__setattr__(self, "k", checked if isinstance(self.k, tuple) else checked[0])
        for what, channels in ("m", self.m), ("n", self.n):
            if channels % self.groups:
                raise PaperError(
                    f"layer {self.name!r}: {what} = {channels} must be a multiple of its {self.groups} groups"
                )
        if self.macs > MOST_MACS:
            raise PaperError(f"layer {self.name!r}: {self.macs:,} MACs; up to {MOST_MACS:,} are counted exactly")

    @property
    def taps(self) -> int:
        """Weights of a kernel, K * K."""
        return math.prod(self.k) if isinstance(self.k, tuple) else self.k**2

    @property
    def macs(self) -> int:
        """Multiply-accumulates, of all images."""
        return self.b * self.m * self.n // self.groups * self.r * self.c * self.taps


@dataclass(frozen=True)
class Precision:
    """A type of numbers.

    Parameters
    ----------
    name : str
    bits : int
        Of an activation or a weight.
    dsp : int
        DSPs of a MAC.
    pairs_weights : bool
        Which of the paper's two formulas counts the BRAMs of weights: see `model.weight_bram18`.
    """

    name: str
    bits: int
    dsp: int
    pairs_weights: bool

    def __post_init__(self) -> None:
        _positive(self, f"precision {self.name!r}", "bits", "dsp", most=64)


FLOAT32 = Precision("float32", bits=32, dsp=5, pairs_weights=False)
"""32-bit floating point: five DSPs a MAC."""
FIXED16 = Precision("fixed16", bits=16, dsp=1, pairs_weights=True)
"""16-bit fixed point: one DSP a MAC."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Words a cycle; they need not be whole.

    Parameters
    ----------
    ip, wp : float
        Of IFM and of weights, from the board's memory.
    op : float
        Of OFM, to the board's memory.
    ap : float
        Over the links of a board, from others.
    """

    ip: float
    wp: float
    op: float
    ap: float

    def __post_init__(self) -> None:
        for name in ("ip", "wp", "op", "ap"):
            object.__setattr__(self, name, _rate(getattr(self, name), f"rates: {name}", "words"))

    @classmethod
    def each(cls, words: float) -> "Rates":
        """The same for all four: what the paper's authors call so many lanes."""
        return cls(ip=words, wp=words, op=words, ap=words)


@dataclass(frozen=True, kw_only=True)
class Fpga:
    """What a board has.

    Parameters
    ----------
    name : str
    dsp, bram18 : int
        DSPs, and block RAMs of 18 kbit.
    memory_bits : float
        A cycle, of each of three streams: IFM, weights, OFM.
    link_bits : float
        A cycle, into a board over its links.
    """

    name: str = "FPGA"
    dsp: int
    bram18: int
    memory_bits: float
    link_bits: float

    def __post_init__(self) -> None:
        _positive(self, self.name, "dsp", "bram18")
        for name in ("memory_bits", "link_bits"):
            object.__setattr__(self, name, _rate(getattr(self, name), f"{self.name}: {name}", "bits"))

    def rates(self, precision: Precision) -> Rates:
        """Words a cycle of that precision."""
        words = self.memory_bits / precision.bits
        return Rates(ip=words, wp=words, op=words, ap=self.link_bits / precision.bits)


ZCU102 = Fpga(
    name="ZCU102", dsp=int(XCZU9EG.dsp), bram18=int(2 * XCZU9EG.bram36), memory_bits=128, link_bits=128,
)  # fmt: skip
"""The paper's board, with a 128-bit port for each stream and as much from the links: "4 lanes" of 32-bit words."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How a layer is divided: boards along batch, rows, columns and output channels."""

    pb: int = 1
    pr: int = 1
    pc: int = 1
    pm: int = 1

    def __post_init__(self) -> None:
        _positive(self, "partition", "pb", "pr", "pc", "pm")

    @property
    def boards(self) -> int:
        """Pb * Pr * Pc * Pm."""
        return self.weight_sharers * self.pm

    @property
    def weight_sharers(self) -> int:
        """Boards that need the same weights: S = Pb * Pr * Pc."""
        return self.pb * self.pr * self.pc

    def __str__(self) -> str:
        sizes = [(name.capitalize(), getattr(self, name)) for name in ("pb", "pr", "pc", "pm")]
        return ", ".join(f"{name}={size}" for name, size in sizes if size > 1) or "one board"


ONE_BOARD = Partition()
"""Nothing is divided."""


def partitions(boards: int) -> list[Partition]:
    """All ways to divide by so many boards.

    >>> [str(partition) for partition in partitions(2)]
    ['Pm=2', 'Pc=2', 'Pr=2', 'Pb=2']
    """
    boards = integer(boards, "boards", most=1024)
    divisors = [size for size in range(1, boards + 1) if boards % size == 0]
    return [
        Partition(pb=pb, pr=pr, pc=pc, pm=boards // (pb * pr * pc))
        for pb, pr, pc in itertools.product(divisors, repeat=3)
        if boards % (pb * pr * pc) == 0
    ]


@dataclass(frozen=True)
class Design:
    """What is built on each board.

    Parameters
    ----------
    tm, tn : int
        Output and input channels of a tile; the array does tm * tn MACs a cycle.
    tr, tc : int
        Rows and columns of a tile.
    rates : Rates
        Words a cycle.
    precision : Precision
    """

    tm: int
    tn: int
    tr: int
    tc: int
    rates: Rates = field(kw_only=True)
    precision: Precision = field(default=FLOAT32, kw_only=True)

    def __post_init__(self) -> None:
        _positive(self, "design", "tm", "tn", "tr", "tc")

    def __str__(self) -> str:
        return f"<{self.tm}, {self.tn}, {self.tr}, {self.tc}>"
