"""Where channels, rows and columns of an activation lie in words of tn channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superlip.element import INT8, ElementType
from superlip.graph.ir import Elements

__all__ = ["Part", "Placement", "Storage", "View", "pack_words", "unpack_words"]


@dataclass(frozen=True)
class Storage:
    """One activation tensor as the boards hold it: ``groups`` planes of ``height`` x ``width`` words.

    Several values may lie in one storage, at different channels (concatenation, slices). Channels fill the words, or
    lie in sections of ``section`` channels, each of which begins a word.
    """

    name: str
    channels: int
    height: int
    width: int
    tn: int
    element: ElementType = INT8
    section: int | None = None

    @property
    def groups(self) -> int:
        return self.lane(self.channels - 1) // self.tn + 1

    def lane(self, channel: int) -> int:
        """Where a channel lies in the words of a pixel: group * tn + lane."""
        if self.section is None:
            return channel
        number, rest = divmod(channel, self.section)
        return number * -(-self.section // self.tn) * self.tn + rest

    def held(self, group: int) -> tuple[int, int]:
        """Channels [first, end) that a group's words hold, from lane 0 on."""
        if self.section is None:
            return group * self.tn, min((group + 1) * self.tn, self.channels)
        number, rest = divmod(group, -(-self.section // self.tn))
        first = number * self.section + rest * self.tn
        return first, min(first + self.tn, (number + 1) * self.section, self.channels)

    @property
    def words(self) -> int:
        return self.groups * self.height * self.width


@dataclass(frozen=True)
class Placement:
    """A value inside a storage, from channel ``offset`` on."""

    storage: Storage
    offset: int
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.storage.height, self.storage.width

    @property
    def first_group(self) -> int:
        return self.storage.lane(self.offset) // self.storage.tn

    @property
    def end_group(self) -> int:
        return self.storage.lane(self.offset + self.channels - 1) // self.storage.tn + 1

    def part(self, first: int, channels: int) -> "Placement":
        """Where channels [first, first + channels) of the value lie."""
        return Placement(self.storage, self.offset + first, channels)

    def held(self, group0: int, group1: int) -> tuple[int, int]:
        """Channels [first, end) of the value that lie in groups [group0, group1), which it covers."""
        first, end = self.storage.held(group0)[0] - self.offset, self.storage.held(group1 - 1)[1] - self.offset
        return max(0, first), min(end, self.channels)

    def tiles(self) -> Iterator[tuple[int, int, int, int, int]]:
        """(group, first lane, end lane, first channel, end channel) of each word that the value covers."""
        for group in range(self.first_group, self.end_group):
            first, end = self.held(group, group + 1)
            skipped = self.offset - self.storage.held(group)[0]
            yield group, first + skipped, end + skipped, first, end


@dataclass(frozen=True)
class Part:
    """Groups [group0, group1) and rows [row0, row1) of a storage."""

    group0: int
    group1: int
    row0: int
    row1: int

    @property
    def empty(self) -> bool:
        return self.group0 >= self.group1 or self.row0 >= self.row1


@dataclass(frozen=True)
class View:
    """Rows [row0, row0 + rows) of groups [group0, group0 + groups) of a storage in a buffer from word ``base`` on."""

    base: int
    row0: int
    rows: int
    width: int
    group0: int
    groups: int

    @property
    def plane(self) -> int:
        return self.rows * self.width

    @property
    def words(self) -> int:
        return self.groups * self.plane

    def address(self, group: int, row: Any, col: Any = 0) -> Any:
        """Word address, of one row and column or of arrays of them.

        It may lie outside the view (row -1 of a padded tile), and no unit accesses it then.
        """
        return self.base + (group - self.group0) * self.plane + (row - self.row0) * self.width + col

    def region(
        self, group0: int, group1: int, row0: int, row1: int, col0: int = 0, col1: int | None = None
    ) -> NDArray[np.int64]:
        """All word addresses of a block, flat, in order of group, row, column."""
        col1 = self.width if col1 is None else col1
        groups = (np.arange(group0, group1) - self.group0) * self.plane
        rows = (np.arange(row0, row1) - self.row0) * self.width
        cols = np.arange(col0, col1)
        return (self.base + groups[:, None, None] + rows[:, None] + cols).ravel()


def pack_words(values: Elements, place: Placement, fill: int = 0) -> Elements:
    """Channels to words.

    Parameters
    ----------
    values : ndarray of elements, shape (..., C, H, W)
    place : Placement
        Of the values.

    Returns
    -------
    ndarray of elements, shape (..., groups, H, W, tn), of the whole storage; ``fill`` in lanes that hold no channel.
    """
    *batch, _, h, w = values.shape
    groups, tn = place.storage.groups, place.storage.tn
    words = np.full((*batch, groups, h, w, tn), fill, values.dtype)
    for group, lane0, lane1, first, end in place.tiles():
        words[..., group, :, :, lane0:lane1] = np.moveaxis(values[..., first:end, :, :], -3, -1)
    return words


def unpack_words(words: Elements, place: Placement) -> Elements:
    """The inverse of pack_words: words (..., groups, H, W, tn) to (..., C, H, W)."""
    *batch, _, h, w, _ = words.shape
    values = np.empty((*batch, place.channels, h, w), words.dtype)
    for group, lane0, lane1, first, end in place.tiles():
        values[..., first:end, :, :] = np.moveaxis(words[..., group, :, :, lane0:lane1], -1, -3)
    return values
