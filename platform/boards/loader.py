"""Targets by name: presets, and files of a user.

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

Limits of the sizes are ``superlip.rtl.config.LIMITS``; those of the surroundings stand in
``types.py``.
"""

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from superlip.element import ElementType
from superlip.rtl.config import NodeConfig

from .tiny import TINY
from .types import Dram, Link, Megahertz, Resources, Target
from .zcu102 import ZCU102

__all__ = ["TARGETS", "TargetError", "load_target"]

TARGETS = {target.name: target for target in (TINY, ZCU102)}


class TargetError(ValueError):
    """A preset or node file that can't be used; the message names the file, the field and the way out."""


_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Of a node file: no 8.0 or true for an integer, no setting that nobody knows, no inf."""


def load_target(name: str | Path) -> Target:
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
    """A schema of settings, none of which has to be there; an element type is known by its name."""
    fields: dict[str, Any] = {key: (str if hint is ElementType else hint, None) for key, hint in hints.items()}
    return create_model(name, __config__=_STRICT, **fields)


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
