"""Runs programs of a cluster instruction by instruction, without time.

Every unit takes its instructions in order and starts one when its counters allow it; which of the units that may
start is next is drawn at random. So a program that lacks a wait gives wrong bits here for some seed, and one that waits
for a post that never comes is reported with the units that wait. It is the quick check of the compiler; cycles
come from the RTL.
"""

import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from superlip.rtl.isa import (
    COUNTERS,
    INSTRUCTION_BYTES,
    LINK_SOURCES,
    PARAM_WORDS,
    Memory,
    Opcode,
    Unit,
    VectorOp,
    decode,
    table_words,
)
from superlip.rtl.requantize import Requantize, round_half_even

__all__ = ["Deadlock", "FunctionalCluster"]


class Deadlock(RuntimeError):
    """No unit can start and not all are done; the message names who waits for whom."""


@dataclass(eq=False)
class _Board:
    """State of one board; memories as int8 words (words, tn), accumulators as int32 (words, tm)."""

    config: object
    dram: np.ndarray
    act: np.ndarray
    weight: np.ndarray
    acc: np.ndarray
    counters: np.ndarray
    queues: list
    sets: deque = field(default_factory=deque)
    params: np.ndarray | None = None
    table: np.ndarray | None = None
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
    """

    def __init__(self, config, images, stripe_bytes, dram_words):
        self.config, self.stripe_bytes = config, stripe_bytes
        self.boards = []
        for extents in images:
            board = _Board(
                config,
                np.zeros((dram_words, config.tn), np.int8),
                # What nothing has written is not zero on a board either.
                np.full((config.act_words, config.tn), 0x55, np.int8),
                np.full((config.weight_words, config.tn), 0x55, np.int8),
                np.full((config.acc_words, config.tm), 0x5555, np.int32),
                np.zeros((len(Unit), COUNTERS), np.int64),
                [deque() for _ in Unit],
            )
            self.boards.append(board)
            for offset, data in extents:
                self.write(len(self.boards) - 1, offset, data)

    def write(self, board, offset, data):
        """Write bytes to DRAM at a byte offset, as the host does."""
        port, at = divmod(offset, self.stripe_bytes)
        size = self.config.axi_bytes
        if at % size or len(data) % size:
            raise ValueError(f"offset {offset} or length {len(data)} is no multiple of {size} bytes")
        words = np.frombuffer(data, np.int8).reshape(-1, size)
        first = at // size
        self.boards[board].dram[first : first + len(words), port * size : (port + 1) * size] = words

    def read(self, board, offset, length):
        """Read bytes of DRAM."""
        port, at = divmod(offset, self.stripe_bytes)
        size = self.config.axi_bytes
        words = self.boards[board].dram[at // size : (at + length) // size, port * size : (port + 1) * size]
        return words.tobytes()

    def run(self, programs, seed=0):
        """Run one program on each board to its end.

        Parameters
        ----------
        programs : list of int
            Byte address on port 0, for each board.

        Raises
        ------
        Deadlock
            If units wait for ever.
        """
        chooser = random.Random(seed)
        for number, (board, address) in enumerate(zip(self.boards, programs, strict=True)):
            for at in count(address, INSTRUCTION_BYTES):
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

    @staticmethod
    def _memory(board, memory):
        return board.act if memory == Memory.ACT else board.weight

    def _load(self, board, header, body):
        del header
        local = self._strided(body["local"], body, body["local_stride1"], body["local_stride2"])
        if body["fill"]:
            self._memory(board, body["memory"])[local] = body["fill_value"]
        else:
            remote = self._strided(body["dram"], body, body["dram_stride1"], body["dram_stride2"])
            self._memory(board, body["memory"])[local] = board.dram[remote]

    def _store(self, board, header, body):
        del header
        local = self._strided(body["local"], body, body["local_stride1"], body["local_stride2"])
        remote = self._strided(body["dram"], body, body["dram_stride1"], body["dram_stride2"])
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
        del header
        words = board.weight[body["weights"] : body["weights"] + body["sets"] * body["rows"]]
        for weights in words.reshape(body["sets"], body["rows"], -1):
            board.sets.append(weights.astype(np.int32))

    @staticmethod
    def _folded(x, groups, cols):
        """Lane group g of column c is that of column c + g; ``x`` has shape (rows, cols + groups - 1, lanes)."""
        return np.concatenate([part[:, g : g + cols] for g, part in enumerate(np.split(x, groups, axis=2))], axis=2)

    @staticmethod
    def _window(body, rows, cols, ky, kx, dilation=(1, 1)):
        """Source rows and columns of all output pixels for one kernel position, and which of them exist."""
        iy = body["y0"] + np.arange(rows)[:, None] * body["stride_y"] + ky * dilation[0]
        ix = body["x0"] + np.arange(cols) * body["stride_x"] + kx * dilation[1]
        inside = (iy >= 0) & (iy < body["height"]) & (ix >= 0) & (ix < body["width"])
        return np.where(inside, iy * body["pitch"] + ix, 0), inside

    def _matmul(self, board, header, body):
        del header
        rows, cols = body["rows"], body["cols"]
        sums = np.zeros((rows * cols, self.config.tm), np.int32)
        dilation, groups = (body["dilation_y"], body["dilation_x"]), 1 << body["fold"]
        for n in range(body["n_tiles"]):
            for ky in range(body["kh"]):
                for kx in range(body["kw"]):
                    weights = board.sets.popleft()
                    offset, inside = self._window(body, rows, cols + groups - 1, ky, kx, dilation)
                    x = board.act[(body["act"] + n * body["plane"] + offset) % len(board.act)]
                    x = np.where(inside[:, :, None], x, body["zero_point"])
                    x = self._folded(x, groups, cols).reshape(rows * cols, -1)
                    sums[:, : len(weights)] += x.astype(np.int32) @ weights.T
        at = slice(body["acc"], body["acc"] + rows * cols)
        board.acc[at] = sums + (board.acc[at] if body["accumulate"] else 0)

    def _vector(self, board, header, body):
        self._vector_params(board, body)
        addresses, results = [], []
        for group in range(body["groups"]):
            base = body["source"] + group * body["plane"]
            values = self._vector_values(board, body, base, group).reshape(-1, self.config.tm)
            result = np.clip(values, body["low"], body["high"]).astype(np.int8)
            if body["use_table"]:
                result = board.table[result.view(np.uint8)]
            rows = np.arange(body["rows"])[:, None] * body["dest_pitch"]
            cols = np.arange(body["cols"]) * body["dest_step"]
            addresses.append((body["dest"] + group * body["dest_plane"] + rows + cols).ravel())
            results.append(result)
        addresses, results = np.concatenate(addresses), np.concatenate(results)
        lanes = slice(body["lane_first"], body["lane_last"] + 1)
        board.act[addresses, lanes] = results[:, lanes]
        if body["zero_above"]:
            board.act[addresses, lanes.stop :] = 0
        board.written.append((header["tag"], addresses, board.act[addresses].copy()))

    def _vector_params(self, board, body):
        at = body["params"]
        if body["load_params"]:
            board.params = board.act[at : at + PARAM_WORDS].reshape(-1).copy().view("<i4").reshape(-1, 2)
            at += PARAM_WORDS
        if body["load_table"]:
            board.table = board.act[at : at + table_words(self.config.tn)].reshape(-1)[:256].copy()

    def _vector_values(self, board, body, base, group):
        """Results before the clip, int64, shape (rows, cols, tm)."""
        rows, cols, op = body["rows"], body["cols"], VectorOp(body["op"])
        memory = board.acc if op is VectorOp.REQUANTIZE else board.act
        start = {VectorOp.MAX: -128, VectorOp.REQUANTIZE: -(1 << 31)}.get(op, 0)
        values = np.full((rows, cols, self.config.tm), start, np.int64)
        for ky in range(body["kh"]):
            for kx in range(body["kw"]):
                offset, inside = self._window(body, rows, cols, ky, kx)
                x = memory[(base + offset) % len(memory)].astype(np.int64)
                if op is VectorOp.REQUANTIZE or op is VectorOp.MAX:
                    values = np.where(inside[:, :, None], np.maximum(values, x), values)
                else:
                    values = values + np.where(inside[:, :, None], x - body["zp_a"], 0)
        if op is VectorOp.MAX:
            return values
        if op in (VectorOp.ADD, VectorOp.MUL):
            base_b = body["source_b"] + group * body["plane_b"]
            b = board.act[base_b + np.arange(rows)[:, None] * body["pitch_b"] + np.arange(cols)].astype(np.int64)
            b = b - body["zp_b"]
            if op is VectorOp.ADD:
                total = values * board.params[:, 0].astype(np.int64) + b * board.params[:, 1].astype(np.int64)
                return round_half_even(total, body["shift"]) + body["zp_out"]
            values = values * b
        bias, scale = board.params[:, 0], np.ascontiguousarray(board.params[:, 1]).view(np.float32)
        sums = (values + bias).astype(np.int32)
        return Requantize.model(sums, scale, body["zp_out"], body["low"], body["high"]).astype(np.int64)
