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

    Several values may lie in one storage, at different channels (concatenation, slices).
    """

    name: str
    channels: int
    height: int
    width: int
    tn: int
    element: ElementType = INT8

    @property
    def groups(self) -> int:
        return -(-self.channels // self.tn)

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
        return self.offset // self.storage.tn

    @property
    def end_group(self) -> int:
        return -(-(self.offset + self.channels) // self.storage.tn)

    def part(self, first: int, channels: int) -> "Placement":
        """Where channels [first, first + channels) of the value lie."""
        return Placement(self.storage, self.offset + first, channels)

    def tiles(self) -> Iterator[tuple[int, int, int, int, int]]:
        """(group, first lane, end lane, first channel, end channel) of each word that the value covers."""
        tn = self.storage.tn
        for group in range(self.first_group, self.end_group):
            low = max(self.offset, group * tn)
            high = min(self.offset + self.channels, (group + 1) * tn)
            yield group, low - group * tn, high - group * tn, low - self.offset, high - self.offset


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


def pack_words(values: Elements, offset: int, groups: int, tn: int, fill: int = 0) -> Elements:
    """Channels to words.

    Parameters
    ----------
    values : ndarray of elements, shape (..., C, H, W)
    offset : int
        Channel of the storage at which they begin.

    Returns
    -------
    ndarray of elements, shape (..., groups, H, W, tn); ``fill`` in lanes that hold no channel.
    """
    *batch, c, h, w = values.shape
    padded = np.full((*batch, groups * tn, h, w), fill, values.dtype)
    padded[..., offset : offset + c, :, :] = values
    return np.ascontiguousarray(np.moveaxis(padded.reshape(*batch, groups, tn, h, w), -3, -1))


def unpack_words(words: Elements, offset: int, channels: int) -> Elements:
    """The inverse of pack_words: words (..., groups, H, W, tn) to (..., channels, H, W)."""
    *batch, groups, h, w, tn = words.shape
    flat = np.moveaxis(words, -1, -3).reshape(*batch, groups * tn, h, w)
    return np.ascontiguousarray(flat[..., offset : offset + channels, :, :])
