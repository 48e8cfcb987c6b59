"""The element types: what one number of an activation or a weight is, and what follows from that.

An element is a signed number. A model's own numbers may be unsigned of the same width: they are then the element's plus
``offset``, which turns the top bit of the bit pattern over.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["INT8", "INT16", "ElementType"]


class ElementType(StrEnum):
    """A signed integer of 8 or 16 bits; its value is the name that node files and numpy know.

    >>> INT8.low, INT8.high, INT8.offset, INT8.patterns
    (-128, 127, 128, 256)
    >>> INT8.saturate([-1000, 5, 127.0, 1000])
    array([-128,    5,  127,  127], dtype=int8)
    """

    INT8 = "int8"
    INT16 = "int16"

    __repr__ = str.__repr__

    @property
    def dtype(self) -> np.dtype:
        """numpy's type of an element."""
        return np.dtype(self.value)

    @property
    def unsigned(self) -> np.dtype:
        """numpy's type of an element's bit pattern, and of a model's own number where that is unsigned."""
        return np.dtype(f"u{self.value}")

    @property
    def types(self) -> tuple[np.dtype, np.dtype]:
        """Those that a model's own numbers may have: ``dtype`` and ``unsigned``."""
        return self.dtype, self.unsigned

    @property
    def bytes(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return 8 * self.bytes

    @property
    def patterns(self) -> int:
        """How many elements there are: the entries of a table."""
        return 1 << self.bits

    @property
    def offset(self) -> int:
        """What an unsigned number is above the element that stands for it."""
        return self.patterns // 2

    @property
    def low(self) -> int:
        """The smallest element."""
        return -self.offset

    @property
    def high(self) -> int:
        """The largest element."""
        return self.offset - 1

    @property
    def bounds(self) -> tuple[int, int]:
        """``low`` and ``high``."""
        return self.low, self.high

    def clip(self, value: float) -> int:
        """The element next to a whole number, which may be infinite."""
        return int(min(max(value, self.low), self.high))

    def saturate(self, values: ArrayLike) -> NDArray:
        """Whole numbers of any type as elements (``dtype``): the next one to each. Floats must have been rounded."""
        return np.clip(values, self.low, self.high).astype(self.dtype)

    def own_type(self, is_unsigned: bool) -> np.dtype:
        """numpy's type of a model's own numbers."""
        return self.unsigned if is_unsigned else self.dtype

    def own_offset(self, is_unsigned: bool) -> int:
        """What a model's own number is above the element that stands for it."""
        return self.offset if is_unsigned else 0

    def from_own(self, numbers: NDArray) -> NDArray:
        """Elements (``dtype``) that stand for a model's own numbers, of one of ``types``."""
        if numbers.dtype != self.unsigned:
            return numbers
        return (numbers ^ self.unsigned.type(self.offset)).view(self.dtype)

    def to_own(self, elements: NDArray, is_unsigned: bool) -> NDArray:
        """A model's own numbers (``own_type``) for which elements (``dtype``) stand."""
        return elements.view(self.unsigned) ^ self.unsigned.type(self.offset) if is_unsigned else elements

    def look_up(self, table: NDArray, elements: NDArray) -> NDArray:
        """Entries of a table, shape (patterns,), by the bit pattern of each element (``dtype``)."""
        return table[elements.view(self.unsigned)]

    def by_pattern(self) -> NDArray:
        """All elements (``dtype``), shape (patterns,), by bit pattern: the table of a function that changes nothing."""
        return np.arange(self.patterns, dtype=self.unsigned).view(self.dtype)


INT8 = ElementType.INT8
INT16 = ElementType.INT16
