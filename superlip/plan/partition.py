"""How a layer is divided over the boards: which part each one computes, and what it needs for that."""

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from superlip.ops.layout import Part, Storage
from superlip.ops.operation import Op

from .network import Network

__all__ = [
    "Divided", "Exchange", "Mask", "Split", "divide", "divided", "exchange_of", "part_of", "possible_splits",
    "rows_written", "sends", "storage_masks",
]  # fmt: skip

Mask = NDArray[np.bool_]
"""Words of a storage, as (board, group, row): ndarray bool, shape (boards, groups, height)."""


class Split(enum.Enum):
    """Partition of one layer. The published names: Pm boards along output channels, Pr along rows."""

    CHANNELS = "Pm"
    """Each board computes some output channels; they need the same IFM (IFM-shared)."""
    ROWS = "Pr"
    """Each board computes some output rows; they need the same weights (weight-shared)."""
    ALL = "all"
    """Every board computes everything: for a layer too small to divide."""

    __hash__ = object.__hash__  # enum's own is slow, and the planner looks divisions of whole networks up


class Divided(NamedTuple):
    """An operation as it is divided: by board what it computes, and what it reads of each input for that."""

    op: Op
    split: Split
    parts: list[Part]
    needs: list[list[Part]]


@dataclass(frozen=True, eq=False)
class Exchange:
    """Which words (group, row) of each storage, by its name, which board makes, reads and sends.

    ``sends`` [a, b] are those that board a sends to board b: ndarray bool, shape (boards, boards, groups, height).
    """

    produced: dict[str, Mask]
    """What the host writes (image, results of host operations) is produced where a board's DRAM is given it; where
    several operations write lanes of one word, only a board that did them all has produced it."""
    needed: dict[str, Mask]
    sends: dict[str, NDArray[np.bool_]]


def divide(count: int, parts: int) -> list[tuple[int, int]]:
    """``count`` things in ``parts`` contiguous ranges, as even as can be: list of (first, end)."""
    edges = [count * number // parts for number in range(parts + 1)]
    return list(itertools.pairwise(edges))


def possible_splits(op: Op, boards: int) -> list[Split]:
    """Splits that give every board something to do."""
    if boards == 1:
        return [Split.ALL]
    place = op.output
    splits = [Split.ALL]
    if not op.is_plain:
        return splits
    tn, end = place.storage.tn, place.offset + place.channels
    whole_words = place.offset % tn == 0 and (end % tn == 0 or end == place.storage.channels)
    # Two operations that share a word must share a board: frames carry whole words.
    if place.end_group - place.first_group >= boards and whole_words:
        splits.append(Split.CHANNELS)
    if op.grid[0] >= boards:
        splits.append(Split.ROWS)
    return splits


def part_of(op: Op, split: Split, board: int, boards: int) -> Part:
    """What ``board`` computes of ``op``: groups of its output's storage, rows of its grid."""
    place = op.output
    groups, rows = (place.first_group, place.end_group), (0, op.grid[0])
    if split is Split.CHANNELS:
        low, high = divide(groups[1] - groups[0], boards)[board]
        groups = groups[0] + low, groups[0] + high
    elif split is Split.ROWS:
        rows = divide(rows[1], boards)[board]
    return Part(*groups, *rows)


def divided(op: Op, split: Split, boards: int) -> Divided:
    """``op`` divided over boards."""
    parts = [part_of(op, split, board, boards) for board in range(boards)]
    return Divided(op, split, parts, [op.needs(part) for part in parts])


def rows_written(op: Op, part: Part) -> slice:
    """Rows of its output's storage that ``op`` writes for a part: a slice."""
    return slice(part.row0, part.row1) if op.is_plain else slice(None)


def exchange_of(network: Network, splits: Sequence[Split], boards: int) -> Exchange:
    """What the boards make, read and send of each storage, where operation i is divided by ``splits[i]``."""
    writers, users, given = network.writers(), network.users(), network.given()
    ops = [divided(op, split, boards) for op, split in zip(network.ops, splits, strict=True)]
    produced, needed = {}, {}
    for name, storage in network.storages().items():
        mine, theirs = ([ops[index] for index in of.get(name, ())] for of in (writers, users))
        produced[name], needed[name] = storage_masks(storage, mine, theirs, boards, storage in given)
    return Exchange(produced, needed, {name: sends(produced[name], needed[name]) for name in produced})


def storage_masks(
    storage: Storage, writers: Sequence[Divided], users: Sequence[Divided], boards: int, is_given: bool
) -> tuple[Mask, Mask]:
    """(``produced``, ``needed``) of one storage, from the operations that write and read it.

    ``is_given``: the host writes it.
    """
    shape = boards, storage.groups, storage.height
    writes, needed, written = np.zeros(shape, np.int32), np.zeros(shape, bool), np.zeros(shape[1:], np.int32)
    for writer in writers:
        op = writer.op
        whole = part_of(op, Split.ALL, 0, 1)
        written[whole.group0 : whole.group1, rows_written(op, whole)] += 1
        for board, part in enumerate(writer.parts):
            writes[board, part.group0 : part.group1, rows_written(op, part)] += 1
    for user in users:
        for board, needs in enumerate(user.needs):
            for place, need in zip(user.op.inputs, needs, strict=True):
                if place.storage == storage:
                    needed[board, need.group0 : need.group1, need.row0 : need.row1] = True
    produced = (writes > 0) & (writes == written)
    if is_given:
        _divide_given([user.split for user in users], produced, needed)
    return produced, needed


def _divide_given(readers: Sequence[Split], produced: Mask, needed: Mask) -> None:
    """Rows that each board is given by the host: those it needs where readers divide rows, else every P-th."""
    boards = len(produced)
    if boards == 1 or all(split is Split.ROWS for split in readers):
        produced[:] = needed.any(axis=1, keepdims=True)
    else:
        for board in range(boards):
            produced[board, :, board::boards] = True


def sends(produced: Mask, needed: Mask) -> NDArray[np.bool_]:
    """Which words cross links.

    Parameters
    ----------
    produced, needed : ndarray bool, shape (boards, groups, height), of one storage

    Returns
    -------
    ndarray bool, shape (boards, boards, groups, height): [a, b] is what board a sends to board b
    """
    boards = len(produced)
    result = np.zeros((boards, boards, *produced.shape[1:]), bool)
    for b in range(boards):
        missing = needed[b] & ~produced[b]
        for a in range(boards):
            result[a, b] = missing & produced[a]
            missing = missing & ~produced[a]
    return result
