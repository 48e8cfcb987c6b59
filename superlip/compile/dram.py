"""DRAM of one board: what lies where, in its regions and striped over the AXI ports."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target
from superlip.rtl.config import DRAM_ADDRESS_BITS, PAGE
from superlip.rtl.isa import Region

__all__ = ["DramImage"]

_WORDS = 1 << DRAM_ADDRESS_BITS


class DramImage:
    """Words and programs of one board's DRAM.

    A word address, as instructions have it, is a region and a word in it. Port p carries bytes [p * axi_bytes,
    (p + 1) * axi_bytes) of each word; word w of a region lies at byte ``p * stripe_bytes + start + w * axi_bytes`` of
    port p. Regions follow each other, each from a page on; software may place each anywhere. Programs come first, and
    lie in port 0's stripe only: so a program's byte address in its region is its offset in DRAM as well.

    Raises
    ------
    ValueError
        When the DRAM is full.
    """

    def __init__(self, target: Target) -> None:
        self._config = target.node
        self.stripe_bytes = target.dram.megabytes * (1 << 20) // target.node.axi_ports
        self._ends = dict.fromkeys(Region, 0)
        self._contents: list[tuple[int, list[bytes]]] = []

    @property
    def regions(self) -> dict[Region, tuple[int, int]]:
        """Region -> (start, bytes) on each port, in whole pages; complete when all has been placed."""
        sizes = [-(-end * self._config.axi_bytes // PAGE) * PAGE for end in self._ends.values()]
        starts = [0, *accumulate(sizes)]
        return {region: (starts[region], sizes[region]) for region in Region}

    @property
    def extents(self) -> list[tuple[int, bytes]]:
        """What DRAM holds before the boards start: list of (byte offset, bytes). The host's images are not among it.

        To be asked for when all has been placed.
        """
        return [
            piece for address, parts in self._contents for piece in zip(self._offsets(address), parts, strict=False)
        ]

    def reserve(self, words: int, region: Region) -> int:
        """Address of ``words`` words, 64-byte aligned on every port; what fills pages begins one, for fewer bursts."""
        size = self._config.axi_bytes
        align = max(1, (PAGE if words * size >= PAGE else 64) // size)
        first = -(-self._ends[region] // align) * align
        self._ends[region] = first + words
        if sum(size for _, size in self.regions.values()) > self.stripe_bytes or first + words > _WORDS:
            megabytes = self.stripe_bytes * self._config.axi_ports >> 20
            raise ValueError(f"the network needs more than the {megabytes} MB of DRAM of a board")
        return region << DRAM_ADDRESS_BITS | first

    def place(self, words: NDArray[np.int8]) -> int:
        """Store constants (int8, shape (n, tn)), weights for instance; returns their address."""
        address = self.reserve(len(words), Region.WEIGHTS)
        self._contents.append((address, self.split(words)))
        return address

    def place_program(self, program: bytes) -> int:
        """Store a program; returns its byte address in its region."""
        address = self.reserve(-(-len(program) // self._config.axi_bytes), Region.PROGRAMS)
        self._contents.append((address, [program]))
        return address * self._config.axi_bytes

    def program_at(self, address: int) -> bytes:
        """The bytes of the program at a byte address that ``place_program`` returned."""
        placed = Region.PROGRAMS << DRAM_ADDRESS_BITS | address // self._config.axi_bytes
        return next(parts[0] for at, parts in self._contents if at == placed)

    def split(self, words: NDArray[np.int8]) -> list[bytes]:
        """Bytes of words (int8, shape (..., tn)), one piece a port."""
        size = self._config.axi_bytes
        words = np.ascontiguousarray(words, np.int8).reshape(-1, self._config.tn)
        return [words[:, port * size : (port + 1) * size].tobytes() for port in range(self._config.axi_ports)]

    def ranges(self, address: int, count: int) -> list[tuple[int, int]]:
        """(byte offset, length) of ``count`` words from ``address`` on, one a port."""
        return [(offset, count * self._config.axi_bytes) for offset in self._offsets(address)]

    def address_at(self, offset: int) -> tuple[int, int, int]:
        """(port, word address, byte in the port's part) of a byte offset in one of the regions."""
        port, rest = divmod(offset, self.stripe_bytes)
        region = next(r for r, (start, size) in self.regions.items() if start <= rest < start + size)
        word, byte = divmod(rest - self.regions[region][0], self._config.axi_bytes)
        return port, region << DRAM_ADDRESS_BITS | word, byte

    def _offsets(self, address: int) -> list[int]:
        """Byte offset of a word on each port."""
        start, _ = self.regions[Region(address >> DRAM_ADDRESS_BITS)]
        at = start + address % _WORDS * self._config.axi_bytes
        return [port * self.stripe_bytes + at for port in range(self._config.axi_ports)]

    def join(self, parts: Sequence[bytes], count: int) -> NDArray[np.int8]:
        """The inverse of ``split``: bytes read from each port's range to words (count, tn)."""
        size = self._config.axi_bytes
        return np.concatenate([np.frombuffer(p, np.int8).reshape(count, size) for p in parts], axis=1)
