"""A target: one node's sizes together with the memory and the links around it.

Presets and files share one format (TOML)::

    preset = "tiny"            # start from a preset; optional
    clock_mhz = 200
    [node]                     # fields of superlip.rtl.config.NodeConfig
    act_words = 8192
    [dram]
    bytes_per_cycle = 8
    [link]
    bytes_per_cycle = 4.0
    [resources]                # of the FPGA, for `superlip resources`
    dsp = 1728
"""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from superlip.rtl.config import NodeConfig

__all__ = ["Dram", "Link", "Resources", "Target", "TARGETS", "TargetError", "load_target"]


class TargetError(ValueError):
    """A preset or node file that can't be used; the message names the file, the field and the way out."""


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

    bytes_per_cycle: float = 8.0
    latency: int = 40
    burst_overhead: float = 1.0
    megabytes: int = 64


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

    bytes_per_cycle: float = 3.125
    latency: int = 32


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

    dsp: float = 0
    bram36: float = 0
    uram: float = 0
    lut: float = 0
    ff: float = 0

    def __add__(self, other):
        return Resources(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)})

    def __mul__(self, factor):
        return Resources(**{f.name: getattr(self, f.name) * factor for f in dataclasses.fields(self)})


ZCU102 = Resources(dsp=2520, bram36=912, uram=0, lut=274_080, ff=548_160)
"""Of the ZCU102's XCZU9EG (Zynq UltraScale+ data sheet, DS891)."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A node with its surroundings.

    ``resources`` are those of the FPGA it has to fit in, ``max_boards`` is how many can be joined today.
    """

    name: str
    node: NodeConfig = field(default_factory=NodeConfig)
    dram: Dram = field(default_factory=Dram)
    link: Link = field(default_factory=Link)
    clock_mhz: float = 200.0
    resources: Resources = ZCU102
    max_boards: int = 2


TARGETS = {
    "tiny": Target(name="tiny"),
    # Four 128-bit HP ports at 200 MHz: 64 B/cycle. Four 10.3125 Gb/s lanes behind 64b/66b: 25 B/cycle.
    "zcu102": Target(
        name="zcu102",
        node=NodeConfig(
            tm=64, tn=64, act_words=32768, act_banks=8, weight_words=12288, weight_banks=3, acc_words=2048,
            axi_ports=4, axi_outstanding=8, axi_burst_beats=256, link_bytes=32, frame_words=32, frame_slots=8,
            watchdog_cycles=1_000_000,
        ),
        dram=Dram(bytes_per_cycle=64.0, latency=60, burst_overhead=2.0, megabytes=512),
        link=Link(bytes_per_cycle=25.0, latency=60),
    ),
}  # fmt: skip


_SETTINGS = "preset, clock_mhz, [node], [dram], [link], [resources]"


def load_target(name):
    """The preset of that name, or the target that a TOML file describes.

    Raises
    ------
    TargetError
        If there is no such preset or file, or the file has an unknown field or an impossible value.
    """
    if str(name) in TARGETS:
        return TARGETS[str(name)]
    path = Path(name)
    if not path.is_file():
        raise TargetError(f"node {str(name)!r} is neither a preset ({', '.join(TARGETS)}) nor a file")
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: not a TOML file: {error}") from None
    preset = table.pop("preset", "tiny")
    if preset not in TARGETS:
        raise TargetError(f"{path}: preset {preset!r} is none of {', '.join(TARGETS)}")
    base = dataclasses.replace(TARGETS[preset], name=path.stem)
    changes = {}
    for key, value in table.items():
        if key in ("node", "dram", "link", "resources"):
            changes[key] = _replace(getattr(base, key), value, f"{path}: [{key}]")
        elif key == "clock_mhz" and isinstance(value, int | float) and value > 0:
            changes[key] = float(value)
        else:
            raise TargetError(f"{path}: {key} = {value!r} is not a setting ({_SETTINGS})")
    return dataclasses.replace(base, **changes)


def _replace(base, table, where):
    known = {f.name for f in dataclasses.fields(base)}
    if not isinstance(table, dict):
        raise TargetError(f"{where} must be a table")
    for key, value in table.items():
        if key not in known:
            raise TargetError(f"{where} {key}: unknown; known are {', '.join(sorted(known))}")
        if isinstance(base, Dram | Link | Resources) and not (isinstance(value, int | float) and value >= 0):
            raise TargetError(f"{where} {key} = {value!r} must be a number of at least 0")
    try:
        return dataclasses.replace(base, **table)
    except (ValueError, TypeError) as error:
        raise TargetError(f"{where} {error}") from None
