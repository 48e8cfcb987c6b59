"""Runs programs of a cluster instruction by instruction, without time.

Every unit takes its instructions in order and starts one when its counters allow it; which of the units that may
start is next is drawn at random. So a program that lacks a wait gives wrong bits here for some seed, and one that waits
for a post that never comes is reported with the units that wait. It is the quick check of the compiler; cycles
come from the RTL. What MATMUL and VECTOR compute is what the RTL's numpy twins say: the independent second computation
is the golden, which the tests hold the results against (docs/decisions/0012-instruction-simulator.md).
"""

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from superlip.rtl.config import DRAM_ADDRESS_BITS, NodeConfig
from superlip.rtl.feed import model as feed
from superlip.rtl.isa import (
    COUNTERS,
    INSTRUCTION_BYTES,
    LINK_SOURCES,
    Memory,
    Opcode,
    Region,
    Unit,
    decode,
)
from superlip.rtl.matmul import model as matmul
from superlip.rtl.ports import UnitError
from superlip.rtl.vector_model import Fields, Places, VectorState
from superlip.rtl.vector_model import model as vector

__all__ = ["Deadlock", "FunctionalCluster"]


class Deadlock(RuntimeError):
    """No unit can start and not all are done; the message names who waits for whom."""


@dataclass(eq=False)
class _Board:
    """State of one board; memories as words of elements (words, tn), accumulators as int32 (words, tm)."""

    config: object
    dram: np.ndarray
    act: np.ndarray
    weight: np.ndarray
    acc: np.ndarray
    counters: np.ndarray
    queues: list
    sets: deque = field(default_factory=deque)
    vector: VectorState = field(default_factory=VectorState)
    regions: Mapping[Region, tuple[int, int]] = field(default_factory=dict)
    written: list = field(default_factory=list)
    """(tag, addresses, words) of each VECTOR instruction, in order."""


class FunctionalCluster:
    """Some boards with linked memories.

    Parameters
    ----------
    config : NodeConfig
    images : list of list of (byte offset, bytes)
        DRAM contents of each board.
    stripe_bytes : int
        As in the STRIPE register.
    dram_words : int
        Words of DRAM that are modelled.
    regions : list of mapping of Region to (offset, bytes), optional
        Of each board, as for the cycle-accurate ``Simulator``. Without it, each region is all of the DRAM.
    """

    def __init__(
        self,
        config: NodeConfig,
        images: Sequence[Iterable[tuple[int, bytes]]],
        stripe_bytes: int,
        dram_words: int,
        regions: Sequence[Mapping[Region, tuple[int, int]]] | None = None,
    ):
        self.config, self.stripe_bytes = config, stripe_bytes
        self.boards = []
        regions = regions or [dict.fromkeys(Region, (0, dram_words * config.axi_bytes))] * len(images)
        for extents, places in zip(images, regions, strict=True):
            board = _Board(
                config,
                np.zeros((dram_words, config.tn), config.element.dtype),
                # What nothing has written is not zero on a board either.
                np.full((config.act_words, config.tn), 0x55, config.element.dtype),
                np.full((config.weight_words, config.tn), 0x55, config.element.dtype),
                np.full((config.acc_words, config.tm), 0x5555, np.int32),
                np.zeros((len(Unit), COUNTERS), np.int64),
                [deque() for _ in Unit],
                regions=places,
            )
            self.boards.append(board)
            for offset, data in extents:
                self.write(len(self.boards) - 1, offset, data)

    def write(self, board: int, offset: int, data: bytes) -> None:
        """Write bytes to DRAM at a byte offset, as the host does."""
        port, at = divmod(offset, self.stripe_bytes)
        size = self.config.axi_bytes
        if at % size or len(data) % size:
            raise ValueError(f"offset {offset} or length {len(data)} is no multiple of {size} bytes")
        words = np.frombuffer(data, self.config.element.dtype).reshape(-1, self._port_lanes)
        first = at // size
        self.boards[board].dram[first : first + len(words), self._lanes_of(port)] = words

    def read(self, board: int, offset: int, length: int) -> bytes:
        """Read bytes of DRAM."""
        port, at = divmod(offset, self.stripe_bytes)
        size = self.config.axi_bytes
        return self.boards[board].dram[at // size : (at + length) // size, self._lanes_of(port)].tobytes()

    @property
    def _port_lanes(self):
        """Lanes of a word that one port carries."""
        return self.config.tn // self.config.axi_ports

    def _lanes_of(self, port):
        return slice(port * self._port_lanes, (port + 1) * self._port_lanes)

    def run(self, programs: Sequence[int], seed: int = 0) -> None:
        """Run one program on each board to its end.

        Parameters
        ----------
        programs : list of int
            Byte address in the region of programs, for each board.

        Raises
        ------
        Deadlock
            If units wait for ever.
        """
        chooser = random.Random(seed)
        for number, (board, address) in enumerate(zip(self.boards, programs, strict=True)):
            for at in count(board.regions[Region.PROGRAMS][0] + address, INSTRUCTION_BYTES):
                opcode, header, body = decode(self.read(number, at, INSTRUCTION_BYTES))
                if opcode is Opcode.END:
                    break
                board.queues[opcode].append((header, body))
        while any(queue for board in self.boards for queue in board.queues):
            ready = [(b, u) for b, board in enumerate(self.boards) for u in Unit if self._ready(board, u)]
            if not ready:
                raise Deadlock("; ".join(self._waiting()))
            number, unit = chooser.choice(ready)
            self._step(number, unit)

    def _ready(self, board, unit):
        if not board.queues[unit]:
            return False
        header, body = board.queues[unit][0]
        if unit is Unit.MATMUL and len(board.sets) < body["n_tiles"] * body["kh"] * body["kw"]:
            return False
        return all(board.counters[unit, s] >= header[f"wait_{s}"] for s in range(COUNTERS))

    def _waiting(self):
        for number, board in enumerate(self.boards):
            for unit in Unit:
                if board.queues[unit]:
                    header = board.queues[unit][0][0]
                    lacks = [s for s in range(COUNTERS) if board.counters[unit, s] < header[f"wait_{s}"]]
                    names = [Unit(s).name if s < len(Unit) else f"link {s - len(Unit)}" for s in lacks]
                    yield f"board {number} {unit.name} (tag {header['tag']}) waits for {', '.join(names) or 'weights'}"

    def _step(self, number, unit):
        board = self.boards[number]
        header, body = board.queues[unit].popleft()
        for s in range(COUNTERS):
            board.counters[unit, s] -= header[f"wait_{s}"]
        getattr(self, f"_{unit.name.lower()}")(board, header, body)
        for target in Unit:
            board.counters[target, unit] += header["post"] >> target & 1

    @staticmethod
    def _strided(base, body, stride1, stride2):
        planes = np.arange(body["count2"])[:, None, None] * stride2
        rows = np.arange(body["count1"])[:, None] * stride1
        return (base + planes + rows + np.arange(body["count0"])).ravel()

    def _dram_words(self, board, body):
        """Places of a copy's words in ``board.dram``; IndexError if one is outside its region."""
        address, size = body["dram"], self.config.axi_bytes
        region = Region(address >> DRAM_ADDRESS_BITS)
        start, length = board.regions[region]
        first = address % (1 << DRAM_ADDRESS_BITS)
        words = self._strided(first, body, body["dram_stride1"], body["dram_stride2"])
        if words.max() >= length // size:
            raise IndexError(f"word {words.max()} is outside the {length // size} words of {region.name}")
        return words + start // size

    @staticmethod
    def _memory(board, memory):
        return board.act if memory == Memory.ACT else board.weight

    @staticmethod
    def _stop(unit, header, error, syndrome):
        if error is not UnitError.NONE:
            raise ValueError(f"{unit} (tag {header['tag']}) stops with {error.name}, {syndrome:#x}")

    def _load(self, board, header, body):
        del header
        local = self._strided(body["local"], body, body["local_stride1"], body["local_stride2"])
        if body["fill"]:
            self._memory(board, body["memory"])[local] = body["fill_value"]
        else:
            remote = self._dram_words(board, body)
            self._memory(board, body["memory"])[local] = board.dram[remote]

    def _store(self, board, header, body):
        del header
        local = self._strided(body["local"], body, body["local_stride1"], body["local_stride2"])
        remote = self._dram_words(board, body)
        board.dram[remote] = self._memory(board, body["memory"])[local]

    def _send(self, board, header, body):
        del header
        other = self.boards[body["node"]]
        if body["count0"]:
            local = self._strided(body["local"], body, body["local_stride1"], body["local_stride2"])
            remote = self._strided(body["remote"], body, body["remote_stride1"], body["remote_stride2"])
            self._memory(other, body["remote_memory"])[remote] = self._memory(board, body["memory"])[local]
        if body["remote_post"]:
            assert body["remote_counter"] in LINK_SOURCES
            other.counters[body["remote_unit"], body["remote_counter"]] += 1

    def _feed(self, board, header, body):
        error, syndrome, sets = feed(self.config, body, board.weight)
        self._stop("FEED", header, error, syndrome)
        for weights in sets:
            # Other columns give nonsense.
            whole = np.full((self.config.tm, self.config.tn), 0x55, sets.dtype)
            whole[: len(weights)] = weights
            board.sets.append(whole)

    def _matmul(self, board, header, body):
        del header
        count = body["n_tiles"] * body["kh"] * body["kw"]
        sets = np.stack([board.sets.popleft() for _ in range(count)])
        board.acc = matmul(body, board.act, sets, board.acc)

    def _vector(self, board, header, body):
        error, syndrome = vector(self.config, board.act, board.acc, board.vector, body)
        self._stop("VECTOR", header, error, syndrome)
        addresses = Places(self.config, Fields(body)).dest
        board.written.append((header["tag"], addresses, board.act[addresses]))
