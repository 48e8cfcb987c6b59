"""What is known of a board: its memory and links around a node, and its FPGA. Limits stand beside the fields."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from superlip.rtl.config import NodeConfig

__all__ = ["Dram", "Link", "Megahertz", "Resources", "Target", "XCZU9EG"]

# Limits of the surroundings; those of the node itself are ``superlip.rtl.config.LIMITS``.
Rate = Annotated[float, Field(ge=0.25, le=1024)]  # bytes a cycle
Cycles = Annotated[int, Field(ge=0, le=10_000)]
Amount = Annotated[float, Field(ge=0, le=1e9)]
Megahertz = Annotated[float, Field(ge=1, le=2000)]


@dataclass(frozen=True, kw_only=True)
class Dram:
    """DRAM behind one node's AXI ports, as the planner counts it and the simulator models it, to the cycle, in
    ``superlip.sim`` (native/models.h, models.py).

    Parameters
    ----------
    bytes_per_cycle : float
        Sustained bandwidth, reads and writes and all ports together.
    latency : int
        Cycles from an accepted read address to its first beat, idle memory; from the last beat of a write to its
        response.
    burst_overhead : float
        Cycles of bandwidth lost with each burst (row activation, turn-around). A burst on one of P ports loses a P-th
        of it, so that bursts which all ports begin together, for the same words, lose it once.
    megabytes : int
        Size.
    """

    bytes_per_cycle: Rate = 8.0
    latency: Cycles = 40
    burst_overhead: Annotated[float, Field(ge=0, le=1000)] = 1.0
    megabytes: Annotated[int, Field(ge=1, le=1 << 16)] = 64


@dataclass(frozen=True, kw_only=True)
class Link:
    """The link between two nodes, one direction.

    Parameters
    ----------
    bytes_per_cycle : float
        Bandwidth, frame headers included. The default is the ZCU102's ratio to its DRAM.
    latency : int
        Cycles from a flit that leaves one node to the same flit at the other.
    """

    bytes_per_cycle: Rate = 3.125
    latency: Annotated[Cycles, Field(ge=1)] = 32


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an FPGA has, or what a design takes of it. Can be added, and multiplied by a number.

    Parameters
    ----------
    dsp : int
        DSP48E2.
    bram36 : float
        Block RAMs of 36 kbit; half a one is a block RAM of 18 kbit.
    uram : int
        UltraRAMs.
    lut, ff : int
        6-input look-up tables, flip-flops.
    """

    dsp: Amount = 0
    bram36: Amount = 0
    uram: Amount = 0
    lut: Amount = 0
    ff: Amount = 0

    def __add__(self, other):
        return Resources(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)})

    def __mul__(self, factor):
        return Resources(**{f.name: getattr(self, f.name) * factor for f in dataclasses.fields(self)})


XCZU9EG = Resources(dsp=2520, bram36=912, uram=0, lut=274_080, ff=548_160)
"""The FPGA of a ZCU102 (Zynq UltraScale+ data sheet, DS891)."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A node with its surroundings.

    ``resources`` are those of the FPGA it has to fit in, a ZCU102's by default; ``max_boards`` can be joined.
    """

    name: str
    node: NodeConfig = field(default_factory=NodeConfig)
    dram: Dram = field(default_factory=Dram)
    link: Link = field(default_factory=Link)
    clock_mhz: Megahertz = 200.0
    resources: Resources = XCZU9EG
    max_boards: int = 2
