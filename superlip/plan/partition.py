"""How a layer is divided over the boards: which part each one computes, and what it needs for that."""

import enum
import itertools

import numpy as np

from superlip.ops.layout import Part

__all__ = [
    "Split",
    "divide",
    "masks",
    "part_of",
    "possible_splits",
    "rows_written",
    "sends",
    "storage_masks",
]


class Split(enum.Enum):
    """Partition of one layer. The published names: Pm boards along output channels, Pr along rows."""

    CHANNELS = "Pm"
    """Each board computes some output channels; they need the same IFM (IFM-shared)."""
    ROWS = "Pr"
    """Each board computes some output rows; they need the same weights (weight-shared)."""
    ALL = "all"
    """Every board computes everything: for a layer too small to divide."""


def divide(count, boards):
    """``count`` things in ``boards`` contiguous ranges, as even as can be: list of (first, end)."""
    edges = [count * b // boards for b in range(boards + 1)]
    return list(itertools.pairwise(edges))


def possible_splits(op, boards):
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


def part_of(op, split, board, boards):
    """What ``board`` computes of ``op``: groups of its output's storage, rows of its grid."""
    place = op.output
    groups, rows = (place.first_group, place.end_group), (0, op.grid[0])
    if split is Split.CHANNELS:
        low, high = divide(groups[1] - groups[0], boards)[board]
        groups = groups[0] + low, groups[0] + high
    elif split is Split.ROWS:
        rows = divide(rows[1], boards)[board]
    return Part(*groups, *rows)


def rows_written(op, part):
    """Rows of its output's storage that ``op`` writes for a part: a slice."""
    return slice(part.row0, part.row1) if op.is_plain else slice(None)


def masks(network, splits, boards):
    """Which words (group, row) each board computes and which it needs.

    Parameters
    ----------
    splits : list of Split, one an op

    Returns
    -------
    produced, needed : dict of storage name to ndarray bool, shape (boards, groups, height)
        What the host writes (image, results of host operations) counts as produced where a board's DRAM is given it.
        Where several operations write lanes of one word, only a board that did them all has produced it.
    """
    writers, users, given = network.writers(), network.users(), network.given()
    storages = {storage.name: storage for storage in given}
    for op in network.ops:
        storages |= {place.storage.name: place.storage for place in (*op.inputs, op.output)}
    produced, needed = {}, {}
    for name, storage in storages.items():
        mine, theirs = writers.get(name, []), users.get(name, [])
        produced[name], needed[name] = storage_masks(network, storage, mine, theirs, splits, boards, storage in given)
    return produced, needed


def storage_masks(network, storage, writers, users, splits, boards, is_given):
    """`masks` of one storage, from the operations (indices) that write and read it."""
    shape = boards, storage.groups, storage.height
    writes, needed, written = np.zeros(shape, np.int32), np.zeros(shape, bool), np.zeros(shape[1:], np.int32)
    for index in writers:
        op = network.ops[index]
        written[op.output.first_group : op.output.end_group] += 1
        for board in range(boards):
            part = part_of(op, splits[index], board, boards)
            writes[board, part.group0 : part.group1, rows_written(op, part)] += 1
    for index in users:
        op = network.ops[index]
        for board in range(boards):
            part = part_of(op, splits[index], board, boards)
            for place, need in zip(op.inputs, op.needs(part), strict=True):
                if place.storage == storage:
                    needed[board, need.group0 : need.group1, need.row0 : need.row1] = True
    produced = (writes > 0) & (writes == written)
    if is_given:
        _divide_given([splits[index] for index in users], produced, needed)
    return produced, needed


def _divide_given(readers, produced, needed):
    """Rows that each board is given by the host: those it needs where readers divide rows, else every P-th."""
    boards = len(produced)
    if boards == 1 or all(split is Split.ROWS for split in readers):
        produced[:] = needed.any(axis=1, keepdims=True)
    else:
        for board in range(boards):
            produced[board, :, board::boards] = True


def sends(produced, needed):
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
