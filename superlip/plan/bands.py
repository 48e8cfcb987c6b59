"""In which order boards load what the host wrote: the image, and results of host operations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superlip.ops.layout import Storage

from .network import Network
from .partition import Exchange, divide
from .tasks import Task

__all__ = ["Band", "bands_due", "bands_of"]

BAND_WORDS = 1024
"""Words of a band, about: less, and LOAD has many instructions; more, and others wait."""
BANDS = 4
"""Bands of a storage, at least."""
BANDS_AHEAD = 2
"""Bands that are loaded before the first task that needs them."""


@dataclass(frozen=True, eq=False)
class Band:
    """Rows of a storage up to ``end``, from where the band before ends, that are loaded together.

    ``rows`` are those that each board loads: by board, ndarray int.
    """

    storage: Storage
    end: int
    rows: list[NDArray[np.int_]]


def bands_of(network: Network, exchange: Exchange, in_dram: frozenset[str]) -> dict[int, list[Band]]:
    """Bands of what the host writes when so many operations are done, in order.

    Each board loads the rows that it is given, of those that any board needs.

    Parameters
    ----------
    in_dram : set of str
        Storages that are loaded strip by strip instead.
    """
    bands: dict[int, list[Band]] = {position: [] for position in (0, *network.cuts)}
    for storage, position in network.given().items():
        if storage.name in in_dram:
            continue
        needed, produced = exchange.needed[storage.name].any(axis=(0, 1)), exchange.produced[storage.name][:, 0]
        for low, high in divide(storage.height, max(BANDS, min(storage.height, storage.words // BAND_WORDS))):
            rows = [low + np.flatnonzero((mine & needed)[low:high]) for mine in produced]
            bands[position].append(Band(storage, high, rows))
    return bands


def bands_due(bands: Sequence[Band], task: Task) -> int:
    """How many of the bands are to be loaded before a task: those that it reads of, and a few more."""
    ends: dict[str, int] = {}
    for need in task.needs:
        ends[need.storage] = max(ends.get(need.storage, 0), need.row1)
    touched = [at for at, band in enumerate(bands) if ends.get(band.storage.name, 0)]
    if not touched:
        return 0
    reached = [at + 1 for at, band in enumerate(bands) if band.end < ends.get(band.storage.name, 0)]
    return min(len(bands), max(touched[0], *reached, 0) + BANDS_AHEAD + 1)
