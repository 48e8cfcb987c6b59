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

Limits of the sizes are ``superlip.rtl.config.LIMITS``; those of the surroundings stand at the fields below.
"""

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model
from superlip.rtl.config import NodeConfig

__all__ = ["Dram", "Link", "Resources", "Target", "TARGETS", "TargetError", "load_target"]


class TargetError(ValueError):
    """A preset or node file that can't be used; the message names the file, the field and the way out."""


_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Of a node file: no 8.0 or true for an integer, no setting that nobody knows, no inf."""

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
    clock_mhz: Megahertz = 200.0
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


def load_target(name):
    """The preset of that name, or the target that a TOML file describes.

    Raises
    ------
    TargetError
        If there is no such preset or file, or the file has an unknown setting or an impossible value.
    """
    if str(name) in TARGETS:
        return TARGETS[str(name)]
    path = Path(name)
    given = _checked(path, _read(path))
    base = TARGETS[given.pop("preset", "tiny")]
    changes = {}
    for key, value in given.items():
        try:
            changes[key] = dataclasses.replace(getattr(base, key), **value) if key in _TABLES else value
        except ValueError as error:
            raise TargetError(f"{path}: [{key}] {error}") from None
    target = dataclasses.replace(base, name=path.stem, **changes)
    try:
        target.node.require_node()
    except ValueError as error:
        raise TargetError(f"{path}: [node] {error}") from None
    return target


def _read(path):
    """The tables of a TOML file."""
    if path.is_dir():
        raise TargetError(f"node {str(path)!r} is a folder: a preset ({', '.join(TARGETS)}) or a TOML file is wanted")
    if not path.exists():
        raise TargetError(f"node {str(path)!r} is neither a preset ({', '.join(TARGETS)}) nor a file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: not a TOML file: {error}") from None
    except OSError as error:
        raise TargetError(f"{path} can't be read: {error.strerror or error}") from None
    if not table:
        raise TargetError(f'{path} sets nothing: it should name a preset (preset = "tiny") or a setting ({_SETTINGS})')
    return table


def _partial(name, hints):
    """A schema of settings, none of which has to be there."""
    return create_model(name, __config__=_STRICT, **{key: (hint, None) for key, hint in hints.items()})


_TABLES = {"node": NodeConfig, "dram": Dram, "link": Link, "resources": Resources}
_SCHEMA = _partial(
    "NodeFile",
    {"preset": Literal[tuple(TARGETS)], "clock_mhz": Megahertz}
    | {key: _partial(key, get_type_hints(kind, include_extras=True)) for key, kind in _TABLES.items()},
)
_SETTINGS = "preset, clock_mhz, [node], [dram], [link], [resources]"


def _checked(path, table):
    """Settings of a file, by table, all of the right type and within their limits; sizes of the node by type only."""
    try:
        return _SCHEMA.model_validate(table).model_dump(exclude_unset=True)
    except ValidationError as errors:
        error = errors.errors()[0]
    *tables, key = map(str, error["loc"])
    where = "".join(f"[{name}] " for name in tables)
    if error["type"] == "extra_forbidden":
        raise TargetError(f"{path}: {where}{key}: unknown; {_suggestion(key, tables)}")
    if error["type"] == "model_type":
        raise TargetError(f"{path}: [{key}] must be a table, not {error['input']!r}")
    text = error["msg"].removeprefix("Input should be ")
    raise TargetError(f"{path}: {where}{key} = {error['input']!r}: must be {text}")


def _suggestion(key, tables):
    """What an unknown setting may have been meant to be."""
    known = {name: [f.name for f in dataclasses.fields(kind)] for name, kind in _TABLES.items()}
    elsewhere = [name for name, keys in known.items() if key in keys]
    if elsewhere:
        return f"it belongs in {' or '.join(f'[{name}]' for name in elsewhere)}"
    here = known[tables[0]] if tables else ["preset", "clock_mhz", *_TABLES]
    near = difflib.get_close_matches(key, here, 1)
    return f"{f'is {near[0]} meant? ' if near else ''}known are {', '.join(sorted(here))}"
