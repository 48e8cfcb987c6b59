"""DRAM of one board: what lies where, striped over the AXI ports."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from superlip.boards import Target

__all__ = ["DramImage"]


class DramImage:
    """Words and programs of one board's DRAM.

    Port p carries bytes [p * axi_bytes, (p + 1) * axi_bytes) of each word; word w of port p lies at byte
    ``p * stripe_bytes + w * axi_bytes``. Programs lie in port 0's stripe only.

    Members
    -------
    extents : list of (byte offset, bytes)
        What the boards' DRAM holds before they start; what the host writes for an image is not among it.

    Raises
    ------
    ValueError
        When the DRAM is full.
    """

    def __init__(self, target: Target) -> None:
        self._config = target.node
        self.stripe_bytes = target.dram.megabytes * (1 << 20) // target.node.axi_ports
        self._end = 0
        self.extents: list[tuple[int, bytes]] = []

    def reserve(self, words: int) -> int:
        """Word address of ``words`` words, 64-byte aligned on every port."""
        align = max(1, 64 // self._config.axi_bytes)
        base = -(-self._end // align) * align
        self._end = base + words
        if self._end * self._config.axi_bytes > self.stripe_bytes:
            megabytes = self.stripe_bytes * self._config.axi_ports >> 20
            raise ValueError(f"the network needs more than the {megabytes} MB of DRAM of a board")
        return base

    def place(self, words: NDArray[np.int8]) -> int:
        """Store ``words`` (int8, shape (n, tn)); returns their address."""
        base = self.reserve(len(words))
        self.extents += self.striped(base, words)
        return base

    def place_program(self, program: bytes) -> int:
        """Store a program; returns its byte address on port 0."""
        base = self.reserve(-(-len(program) // self._config.axi_bytes))
        self.extents.append((base * self._config.axi_bytes, program))
        return base * self._config.axi_bytes

    def program_at(self, address: int) -> bytes:
        """The bytes of the program at a byte address that ``place_program`` returned."""
        return next(data for offset, data in reversed(self.extents) if offset == address)

    def striped(self, base: int, words: NDArray[np.int8]) -> list[tuple[int, bytes]]:
        """(byte offset, bytes) of words from address ``base`` on, one piece a port."""
        words = np.ascontiguousarray(words, np.int8).reshape(-1, self._config.tn)
        places = self.ranges(base, len(words))
        return [(offset, data) for (offset, _), data in zip(places, self.split(words), strict=True)]

    def split(self, words: NDArray[np.int8]) -> list[bytes]:
        """Bytes of words (int8, shape (..., tn)), one piece a port."""
        size = self._config.axi_bytes
        words = np.ascontiguousarray(words, np.int8).reshape(-1, self._config.tn)
        return [words[:, port * size : (port + 1) * size].tobytes() for port in range(self._config.axi_ports)]

    def ranges(self, base: int, count: int) -> list[tuple[int, int]]:
        """(byte offset, length) of ``count`` words from ``base`` on, one a port."""
        size = self._config.axi_bytes
        return [(port * self.stripe_bytes + base * size, count * size) for port in range(self._config.axi_ports)]

    def join(self, parts: Sequence[bytes], count: int) -> NDArray[np.int8]:
        """The inverse of ``split``: bytes read from each port's range to words (count, tn)."""
        size = self._config.axi_bytes
        return np.concatenate([np.frombuffer(p, np.int8).reshape(count, size) for p in parts], axis=1)
