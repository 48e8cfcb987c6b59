"""From a planned network to programs and memory images.

One frame program a board: LOAD brings the image (and the weights that don't stay on chip), MATMUL and VECTOR
compute layer by layer, each layer's words are sent to the boards that need them as soon as they are
written, STORE writes the outputs. The order is sequential; `Emitter` makes it concurrent.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from superlip.graph import ir
from superlip.plan.layout import View
from superlip.plan.partition import Split, masks, part_of, sends
from superlip.plan.residency import Residents
from superlip.rtl.isa import PARAM_WORDS, Memory, Opcode, VectorOp

from .allocate import Allocator, DoesNotFit
from .compiled import BoardImage, Compiled, Written
from .memory import DramImage
from .program import ACC, Access, Emitter
from .ring import Ring
from .vector import vector_body, vector_params, vector_reads, vector_steps
from .weights import conv_tiles, table_block

__all__ = ["CompileError", "compile_network"]


class CompileError(ValueError):
    """A network that this node can't hold; the message names the layer, what it needs and what there is."""


@dataclass(frozen=True)
class Chunk:
    """Output rows and columns whose sums fit one accumulator bank."""

    row0: int
    row1: int
    col0: int
    col1: int

    @property
    def pixels(self):
        return (self.row1 - self.row0) * (self.col1 - self.col0)


@dataclass(eq=False)
class Step:
    """One weight block at work on one board: the chunks that use it; does it begin, does it end their sums?"""

    board: int
    op: int
    tile: object
    block: object
    chunks: list[Chunk]
    first: bool
    last: bool
    key: tuple
    address: int = 0
    streamed: bool = False


def compile_network(network, plan, target):
    """Compile a network.

    Parameters
    ----------
    network : superlip.plan.lower.Network
    plan : superlip.plan.planner.Plan
        Number of boards, split of every operation, share of weight-shared blocks.
    target : superlip.boards.Target

    Returns
    -------
    Compiled

    Raises
    ------
    CompileError
        If activations, weights or parameters do not fit the node or its DRAM.
    """
    try:
        return _Compiler(network, plan, target).run()
    except DoesNotFit as error:
        raise CompileError(f"{network.graph.name} on node {target.name}: activation buffer: {error}") from None


class _Compiler:
    def __init__(self, network, plan, target):
        self.network, self.plan, self.target = network, plan, target
        self.config = target.node
        self.boards = plan.boards
        self.produced, self.needed = masks(network, plan.splits, plan.boards)
        self.sends = {name: sends(self.produced[name], self.needed[name]) for name in self.produced}
        self.parts = [
            [part_of(op, split, b, plan.boards) for b in range(plan.boards)]
            for op, split in zip(network.ops, plan.splits, strict=True)
        ]
        self.images = [BoardImage(DramImage(target)) for _ in range(plan.boards)]
        self.acc_half = self.config.acc_words // 2
        self.next_bank = [0] * plan.boards
        self.loaded_params = [None] * plan.boards

    def run(self):
        """All of it, in the order of the file."""
        self.tiles = [
            conv_tiles(op.node, op.inputs[0], op.output, self.config.weight_words // 4) if op.is_conv else None
            for op in self.network.ops
        ]
        self._place_activations()
        self.steps = self._steps()
        self._place_weights()
        self._emit_init()
        self._emit_frame()
        owners = {
            self.network.places[name].storage.name: self.produced[self.network.places[name].storage.name].argmax(axis=0)
            for name in self.network.outputs
        }
        return Compiled(self.network, self.target, self.plan.splits, self.images, owners)

    # -- memories ------------------------------------------------------------------------------------------

    def _place_activations(self):
        """Addresses of parameters (for ever) and activations (from producer to last reader); same on all boards."""
        ops = self.network.ops
        end = len(ops) + 1
        allocator = Allocator(self.config.act_words)
        self.param_words = [self._op_params(index) for index in range(len(ops))]
        total = sum(len(words) for blocks in self.param_words for words in blocks.values())
        base = allocator.place(total, 0, end, "parameters")
        self.param_address = []
        for blocks in self.param_words:
            self.param_address.append({})
            for key, words in blocks.items():
                self.param_address[-1][key] = base
                base += len(words)
        users = self.network.users()
        requests = [(self.network.input.storage, 0)] + [(op.output.storage, i + 1) for i, op in enumerate(ops)]
        stored = {self.network.places[name].storage.name for name in self.network.outputs}
        self.views = {}
        for storage, first in sorted(requests, key=lambda request: -request[0].words):
            last = end if storage.name in stored else max((u + 1 for u in users.get(storage.name, [])), default=first)
            at = allocator.place(storage.words, first, last, storage.name)
            self.views[storage.name] = View(at, 0, storage.height, storage.width, 0, storage.groups)

    def _op_params(self, index):
        """Parameter blocks of one operation, by key: a convolution's by output group."""
        op = self.network.ops[index]
        if not op.is_conv:
            return dict(enumerate(vector_params(op, self.config.tn)))
        table = op.node.table
        tail = [] if table is None else [table_block(table, self.config.tn)]
        return {tile.group: np.concatenate([tile.params, *tail]) for tile in self.tiles[index]}

    def _steps(self):
        """Steps of the convolutions in order; those that boards do at the same time stand side by side.

        List of (op index, list of Step) - an op without weights has an empty list.
        """
        groups = []
        for index, op in enumerate(self.network.ops):
            if not op.is_conv:
                groups.append((index, []))
                continue
            queues = [self._board_steps(index, board) for board in range(self.boards)]
            for number in range(max(map(len, queues))):
                groups.append((index, [queue[number] for queue in queues if number < len(queue)]))
        return groups

    def _board_steps(self, index, board):
        part = self.parts[index][board]
        if part.empty:
            return []
        chunks = self._chunks(self.network.ops[index], part)
        steps = []
        for tile in self.tiles[index]:
            if not part.group0 <= tile.group < part.group1:
                continue
            count = len(tile.blocks)
            runs = [chunks] if count == 1 else [[chunk] for chunk in chunks]
            for run in runs:
                for number, block in enumerate(tile.blocks):
                    key = (index, tile.group, number)
                    steps.append(Step(board, index, tile, block, run, number == 0, number == count - 1, key))
        return steps

    def _chunks(self, op, part):
        """Cut a part in pieces that fit an accumulator bank, as even as can be, at least two where worth it."""
        width, rows = op.output.storage.width, part.row1 - part.row0
        if width > self.acc_half:
            pieces = -(-width // self.acc_half)
            edges = [width * i // pieces for i in range(pieces + 1)]
            return [
                Chunk(row, row + 1, a, b) for row in range(part.row0, part.row1) for a, b in itertools.pairwise(edges)
            ]
        count = -(-rows // (self.acc_half // width))
        edges = [part.row0 + rows * i // count for i in range(count + 1)]
        return [Chunk(a, b, 0, width) for a, b in itertools.pairwise(edges)]

    def _place_weights(self):
        """Which blocks stay in each board's weight buffer, and where every block lies in its DRAM."""
        capacity = self.config.weight_words
        self.rings, self.residents, self.block_dram = [], [], [{} for _ in range(self.boards)]
        for board in range(self.boards):
            uses, blocks = {}, {}
            for _, steps in self.steps:
                for step in steps:
                    if step.board == board:
                        blocks[step.key] = step.block
                        pixels = sum(chunk.pixels for chunk in step.chunks)
                        uses[step.key] = uses.get(step.key, 0) + pixels
            largest = max((len(block.words) for block in blocks.values()), default=0)
            ring_words = min(capacity, max(2 * largest, capacity // 2))
            offers = [(key, len(block.words), uses[key]) for key, block in blocks.items()]
            residents = Residents(offers, capacity, ring_words)
            self.residents.append(residents)
            self.rings.append(Ring(residents.words, capacity - residents.words))
            for key, block in blocks.items():
                self.block_dram[board][key] = self.images[board].dram.place(block.words)

    # -- programs ------------------------------------------------------------------------------------------

    def _emit_init(self):
        """What stays on chip: parameters, tables and resident weights; one program a board."""
        emitter = Emitter(self.config, self.boards)
        for board, image in enumerate(self.images):
            words = [
                block
                for op, blocks in zip(self.network.ops, self.param_words, strict=True)
                for block in blocks.values()
            ]
            if words:
                joined = np.concatenate(words)
                base = min(a for table in self.param_address for a in table.values())
                self._load(emitter, board, 0, Memory.ACT, base, image.dram.place(joined), len(joined))
            placed = self.residents[board].address
            lengths = {s.key: len(s.block.words) for _, steps in self.steps for s in steps if s.board == board}
            for key, address in placed.items():
                self._load(
                    emitter,
                    board,
                    key[0] + 1,
                    Memory.WEIGHT,
                    address,
                    self.block_dram[board][key],
                    lengths[key],
                )
        for image, program in zip(self.images, emitter.finish(), strict=True):
            image.init_program = image.dram.place_program(program)

    def _emit_frame(self):
        self.emitter = Emitter(self.config, self.boards)
        self._emit_input()
        ahead = 0
        for number, (index, steps) in enumerate(self.steps):
            while ahead < len(self.steps) and self._stream_weights(self.steps[ahead][1], must=ahead == number):
                ahead += 1
            if steps:
                for step in steps:
                    self._emit_conv(step)
            else:
                self._emit_vector(index)
        self._emit_output()
        for image, program, stream in zip(self.images, self.emitter.finish(), self.emitter.streams, strict=True):
            image.frame_program = image.dram.place_program(program)
            image.instructions = len(stream) + 1
            image.written = [i.note for i in stream if i.opcode is Opcode.VECTOR]

    def _load(self, emitter, board, tag, memory, address, dram, words):
        """LOAD of consecutive words, in instructions of at most 16 bits of count."""
        for at in range(0, words, 0x8000):
            count = min(0x8000, words - at)
            region = Access(memory, np.arange(address + at, address + at + count))
            emitter.emit(
                board, Opcode.LOAD, tag=tag, writes=[region],
                memory=memory, local=address + at, dram=dram + at, count0=count, count1=1, count2=1,
            )  # fmt: skip

    def _send(self, board, to, tag, memory, source, dest, words):
        """SEND of consecutive words."""
        for at in range(0, words, 0x8000):
            count = min(0x8000, words - at)
            self.emitter.emit(
                board, Opcode.SEND, tag=tag,
                reads=[Access(memory, np.arange(source + at, source + at + count))],
                writes=[Access(memory, np.arange(dest + at, dest + at + count), to)],
                memory=memory, local=source + at, count0=count, count1=1, count2=1,
                node=to, remote_memory=memory, remote=dest + at,
            )  # fmt: skip

    def _send_rows(self, storage, board, group, row0, row1, tag):
        """Send rows of one group to every board that needs them from this one."""
        view = self.views[storage]
        for to in range(self.boards):
            mask = self.sends[storage][board, to, group, row0:row1]
            edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
            for first, end in edges.reshape(-1, 2) + row0:
                address = view.address(group, int(first))
                self._send(board, to, tag, Memory.ACT, address, address, int(end - first) * view.width)

    def _emit_input(self):
        """Load each board's rows of the image, and send on what the others need of them."""
        place = self.network.input
        storage = place.storage
        view = self.views[storage.name]
        pieces = 4
        for board, image in enumerate(self.images):
            rows = np.flatnonzero(self.produced[storage.name][board, 0])
            wanted = self.needed[storage.name].any(axis=(0, 1))
            rows = rows[wanted[rows]] if len(rows) else rows
            image.input_base = image.dram.reserve(storage.words)
            image.input_rows = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        for piece in range(pieces):
            for board, image in enumerate(self.images):
                low, high = image.input_rows
                row0, row1 = (low + (high - low) * p // pieces for p in (piece, piece + 1))
                if row0 >= row1:
                    continue
                region = view.region(0, storage.groups, row0, row1)
                self.emitter.emit(
                    board, Opcode.LOAD, tag=0, writes=[Access(Memory.ACT, region)],
                    memory=Memory.ACT, local=view.address(0, row0),
                    count0=(row1 - row0) * view.width, count1=storage.groups, count2=1, local_stride1=view.plane,
                    dram=image.input_base + row0 * view.width, dram_stride1=view.plane,
                )  # fmt: skip
                for group in range(storage.groups):
                    self._send_rows(storage.name, board, group, row0, row1, 0)

    def _stream_weights(self, steps, must):
        """Emit the loads of one group of steps, as far ahead of their use as the ring has room.

        Returns False where there is no room yet; ``must`` says that it is their turn, so there has to be.
        """
        streamed = [s for s in steps if s.key not in self.residents[s.board].address]
        for step in steps:
            if step not in streamed:
                step.address = self.residents[step.board].address[step.key]
        taken = []
        for step in streamed:
            address = self.rings[step.board].take(len(step.block.words))
            if address is None:
                if must:
                    raise CompileError(
                        f"{self.network.ops[step.op].name}: a block of {len(step.block.words)} words does not fit the weight buffer"
                    )
                for other in taken:
                    self.rings[other.board].untake()
                return False
            step.address, step.streamed = address, True
            taken.append(step)
        shared = (
            len(streamed) == self.boards > 1
            and self.plan.splits[steps[0].op] is Split.ROWS
            and self.plan.share < 1
            and len({s.key for s in streamed}) == 1
        )
        if shared:
            self._load_shared(streamed)
        else:
            for step in streamed:
                words = len(step.block.words)
                for at, count in self._pieces(step.block):
                    self._load(
                        self.emitter, step.board, step.op + 1, Memory.WEIGHT, step.address + at,
                        self.block_dram[step.board][step.key] + at, count,
                    )  # fmt: skip
                self.images[step.board].weight_words += words
        return True

    def _load_shared(self, steps):
        """XFER: each board loads its share of a block that all need, and sends the others the part they lack.

        Board 0 begins at the front, board 1 at the back; with a share above a half the parts overlap.
        """
        block = steps[0].block
        words = len(block.words)
        own = min(words, round(words * self.plan.share))
        ranges = [(0, own), (words - own, words)]
        lacking = [(own, words), (0, words - own)]
        for step, (low, high), (send_low, send_high) in zip(steps, ranges, reversed(lacking), strict=True):
            other = steps[1 - steps.index(step)]
            dram = self.block_dram[step.board][step.key]
            tag = step.op + 1
            edges = sorted({low, high, send_low, send_high})
            for a, b in itertools.pairwise(edges):
                if a < low or b > high or a == b:
                    continue
                self._load(self.emitter, step.board, tag, Memory.WEIGHT, step.address + a, dram + a, b - a)
                if send_low <= a and b <= send_high:
                    self._send(
                        step.board,
                        other.board,
                        tag,
                        Memory.WEIGHT,
                        step.address + a,
                        other.address + a,
                        b - a,
                    )
            self.images[step.board].weight_words += own

    def _pieces(self, block):
        """(first word, words) of the pieces of a block that are loaded, and fed, one by one."""
        step = max(1, 16 * self.config.tm // block.rows) * block.rows
        return [(at, min(step, len(block.words) - at)) for at in range(0, len(block.words), step)]

    def _emit_conv(self, step):
        """FEED, MATMUL and, behind the last block, VECTOR and SEND for each chunk of a step."""
        op = self.network.ops[step.op]
        node, block, tag = op.node, step.block, step.op + 1
        source = self.views[op.inputs[0].storage.name]
        (sy, sx), (dy, dx), (top, left, *_) = node.strides, node.dilations, node.pads
        for chunk in step.chunks:
            if step.first:
                self.next_bank[step.board] ^= 1
            acc = self.next_bank[step.board] * self.acc_half
            sums = Access(ACC, np.arange(acc, acc + chunk.pixels))
            for at, count in self._pieces(block):
                self.emitter.emit(
                    step.board, Opcode.FEED, tag=tag,
                    reads=[Access(Memory.WEIGHT, np.arange(step.address + at, step.address + at + count))],
                    weights=step.address + at, sets=count // block.rows, rows=block.rows,
                )  # fmt: skip
            low, high = op.input_rows(chunk.row0, chunk.row1)
            pixels = Access(Memory.ACT, source.region(block.n0, block.n1, low, high))
            self.emitter.emit(
                step.board, Opcode.MATMUL, tag=tag, reads=[pixels], writes=[sums],
                act=source.address(block.n0, 0), plane=source.plane, pitch=source.width,
                height=source.rows, width=source.width,
                y0=chunk.row0 * sy - top + block.ky0 * dy, x0=chunk.col0 * sx - left,
                stride_y=sy, stride_x=sx, kh=block.ky1 - block.ky0, kw=node.weights.shape[3],
                dilation_y=dy, dilation_x=dx, n_tiles=block.n1 - block.n0,
                rows=chunk.row1 - chunk.row0, cols=chunk.col1 - chunk.col0,
                acc=acc, accumulate=int(not step.first), zero_point=op.zero_points[0],
            )  # fmt: skip
            if step.last:
                self._emit_requantize(step, op, chunk, acc, sums)
        if step.streamed:
            self.rings[step.board].release()

    def _emit_requantize(self, step, op, chunk, acc, sums):
        tile, node, board = step.tile, op.node, step.board
        dest = self.views[op.output.storage.name]
        rows, cols = chunk.row1 - chunk.row0, chunk.col1 - chunk.col0
        region = dest.region(tile.group, tile.group + 1, chunk.row0, chunk.row1, chunk.col0, chunk.col1)
        reads, params = [sums], self._params(board, step.op, tile.group, node.table is not None)
        if params:
            reads.append(Access(Memory.ACT, np.arange(params["params"], params["params"] + PARAM_WORDS)))
        self.emitter.emit(
            board, Opcode.VECTOR, tag=step.op + 1, reads=reads, writes=[Access(Memory.ACT, region)],
            note=Written(step.op, op.output.storage.name, tile.group, tile.group + 1, chunk.row0, chunk.row1,
                         chunk.col0, chunk.col1, tile.first_lane, tile.end_lane),
            op=VectorOp.REQUANTIZE, source=acc, pitch=cols, height=rows, width=cols,
            stride_y=1, stride_x=1, kh=1, kw=1, dest=dest.address(tile.group, chunk.row0, chunk.col0),
            dest_pitch=dest.width, dest_step=1, groups=1, rows=rows, cols=cols,
            use_table=int(node.table is not None), zp_out=op.zero_points[-1] if node.table is None else node.table_zero_point, low=node.low, high=node.high,
            lane_first=tile.first_lane, lane_last=tile.end_lane - 1, **params,
        )  # fmt: skip
        if chunk.col1 == dest.width:
            self._send_rows(op.output.storage.name, board, tile.group, chunk.row0, chunk.row1, step.op + 1)

    def _params(self, board, op, key, table):
        """Fields that load a parameter block, where the lanes don't hold it already."""
        if self.loaded_params[board] == (op, key):
            return {}
        self.loaded_params[board] = (op, key)
        return {"params": self.param_address[op][key], "load_params": 1, "load_table": int(table)}

    def _emit_vector(self, index):
        """An operation without weights: VECTOR on every board's part, group by group."""
        op = self.network.ops[index]
        views = [self.views[place.storage.name] for place in (*op.inputs, op.output)]
        is_table = isinstance(op.node, ir.Table)
        queues = [vector_steps(op, part) if not part.empty else [] for part in self.parts[index]]
        for number in range(max(map(len, queues))):
            for board, queue in enumerate(queues):
                if number >= len(queue):
                    continue
                step = queue[number]
                lanes = {g: (a, b) for g, a, b, _, _ in op.output.tiles()}[step.group]
                reads = [Access(Memory.ACT, region) for region in vector_reads(op, step, views)]
                params = {}
                if step.params is not None:
                    params = self._params(board, index, step.params, is_table)
                    if params and is_table:
                        params["load_params"] = 0
                if params:
                    words = len(self.param_words[index][step.params])
                    reads.append(Access(Memory.ACT, np.arange(params["params"], params["params"] + words)))
                region = views[-1].region(step.group, step.group + 1, step.row0, step.row1, step.col0, step.col1)
                written = Written(index, op.output.storage.name, step.group, step.group + 1, step.row0, step.row1,
                                  step.col0, step.col1, *lanes)  # fmt: skip
                self.emitter.emit(
                    board, Opcode.VECTOR, tag=index + 1, reads=reads, writes=[Access(Memory.ACT, region)],
                    note=written, lane_first=lanes[0], lane_last=lanes[1] - 1, **vector_body(op, step, views), **params,
                )  # fmt: skip
                if step.col1 == views[-1].width:
                    self._send_rows(op.output.storage.name, board, step.group, step.row0, step.row1, index + 1)

    def _emit_output(self):
        """Each board stores the part of the outputs that it computed (the first board, what several did)."""
        for name in self.network.outputs:
            storage = self.network.places[name].storage
            view = self.views[storage.name]
            taken = np.zeros((storage.groups, storage.height), bool)
            tag = 1 + next((i for i, op in enumerate(self.network.ops) if op.output.storage is storage), -1)
            for board, image in enumerate(self.images):
                image.output_base[name] = base = image.dram.reserve(storage.words)
                mine = self.produced[storage.name][board] & ~taken
                taken |= mine
                for group in range(storage.groups):
                    rows = np.flatnonzero(mine[group])
                    if not len(rows):
                        continue
                    row0, row1 = int(rows[0]), int(rows[-1]) + 1
                    offset = view.address(group, row0) - view.base
                    self.emitter.emit(
                        board, Opcode.STORE, tag=tag,
                        reads=[Access(Memory.ACT, view.region(group, group + 1, row0, row1))],
                        memory=Memory.ACT, local=view.base + offset, dram=base + offset,
                        count0=(row1 - row0) * view.width, count1=1, count2=1,
                    )  # fmt: skip
