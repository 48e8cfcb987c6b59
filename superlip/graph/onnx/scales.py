"""Quantization of a model's activations: scale and zero point of each tensor, from its range."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from superlip.element import INT8

from .units import Unit

__all__ = ["LARGEST", "Params", "choose_params"]

LARGEST = INT8.patterns - 1
"""The largest number of an activation; the smallest is 0."""
_SCALE_OF_NOTHING = np.float32(2.0**-18)
"""Of a tensor that is 0 on all images: small, since a bias behind it is rounded to steps of it."""


@dataclass(frozen=True)
class Params:
    """Quantization of a tensor as unsigned integers: real = scale * (q - zero)."""

    scale: np.float32
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> "Params":
        """Of a range of real numbers. 0 is always a number of its own: what is padded, and what Relu gives."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / LARGEST)
        if scale < np.finfo(np.float32).tiny:
            return cls(_SCALE_OF_NOTHING, 0)
        return cls(scale, int(np.clip(np.rint(-low / float(scale)), 0, LARGEST)))

    def steps(self, clip: tuple[float, float]) -> tuple[int, int]:
        """(low, high) in integers of two real numbers, which may be infinite."""
        low, high = (np.clip(np.rint(np.float32(real) / self.scale) + self.zero, 0, LARGEST) for real in clip)
        return int(low), int(high)


def choose_params(
    units: Sequence[Unit],
    ranges: Mapping[str, tuple[float, float]],
    sources: Collection[str],
    outputs: Collection[str],
    reach: Callable[[Unit, tuple[float, float], Params], tuple[float, float]] | None = None,
) -> tuple[dict[str, Params], set[str]]:
    """Quantization by tensor: one for all that movers join.

    Where everybody who takes such a group clips it, its range is the one behind the clips, and theirs is the group's:
    to saturate there is to clip. So Relu behind a reshape costs what Relu in front of it does. Functions that do not
    change beyond some number (hard swish below -3, hard sigmoid outside -3 to 3) clip it, too, in what they take.

    Parameters
    ----------
    units : list of Unit
    ranges : dict of str to (low, high)
    sources, outputs : names
        The model's inputs and outputs.
    reach : function of (unit, range of what it takes, Params of its result), optional
        The part of the range in which the result of a unit that is a function changes.

    Returns
    -------
    (dict of str to Params, set of str: tensors that saturate where others clip them)
    """
    first = {name: name for name in sources}  # tensor -> the one at the root of its group
    limits: dict[str, list[Unit]] = {}
    others = set(outputs)
    padded = _padded(units, outputs)
    for unit in units:
        for name in unit.results:
            first[name] = first.get(unit.sources[0], unit.sources[0]) if unit.is_mover else name
        for name in unit.sources:
            if unit.kind == "clip" or (reach is not None and unit.is_function):
                limits.setdefault(name, []).append(unit)
            elif not unit.is_mover or unit.interpolates:
                others.add(name)
    groups: dict[str, list[str]] = {}
    for name, root in first.items():
        groups.setdefault(root, []).append(name)
    spans = dict(ranges)  # of what lies behind, as it was chosen
    chosen: dict[str, Params] = {}
    saturated: set[str] = set()
    for root in reversed(groups):  # what limits a tensor stands behind it
        names = groups[root]
        seen = _hull([ranges[root], *(ranges[name] for name in names if name in padded)]) if root in ranges else None
        behind = [u for name in names for u in limits.get(name, ())] if others.isdisjoint(names) else []
        clips = [u for u in behind if u.kind == "clip"]
        needed = [spans[u.output] for u in clips]
        if seen is not None and reach is not None:
            functions = [u for u in behind if u.kind != "clip"]
            needed += [reach(u, seen, chosen[u.output]) if u.output in chosen else seen for u in functions]
        if not needed or (not clips and seen is not None and _is_as_wide(_hull(needed), seen)):
            if seen is None:
                continue
            span = seen
        else:
            span = _hull(needed)
            for unit in clips:
                chosen.update(dict.fromkeys(groups[unit.output], Params.of(*span)))
            saturated.update(names)
        spans.update(dict.fromkeys(names, span))
        chosen.update(dict.fromkeys(names, Params.of(*span)))
    return chosen, saturated


def _hull(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in spans), max(high for _, high in spans)


def _is_as_wide(span, seen):
    """Whether a range is hardly smaller than the one that was seen: both hold 0."""
    (low, high), (lowest, highest) = span, seen
    return max(high, 0.0) - min(low, 0.0) > 0.99 * (max(highest, 0.0) - min(lowest, 0.0))


def _padded(units, outputs):
    """Tensors that Pad gives to others than maximum pooling, which takes none of what was added."""
    readers = {}
    for unit in units:
        for name in unit.sources:
            readers.setdefault(name, set()).add(unit.op)
    made = [name for unit in units if unit.op == "Pad" for name in unit.results]
    return {name for name in made if name in outputs or readers.get(name, set()) - {"MaxPool"}}
