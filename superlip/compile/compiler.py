"""From a planned network to programs and memory images.

One program of an image a board: LOAD brings the image and the weights that don't stay on chip, MATMUL and VECTOR
compute layer by layer, each layer's words are sent to the boards that need them as soon as they are
written, STORE writes what goes to DRAM. The order is sequential; `Emitter` makes it concurrent. Host operations
between layers cut the program in segments: STORE, the host, LOAD.
"""

from collections import Counter
from itertools import pairwise

import numpy as np

from superlip.ops.layout import View
from superlip.plan.activations import params_region, plan_activations
from superlip.plan.allocate import DoesNotFit
from superlip.plan.blocks import conv_tiles, parameter_words, portions
from superlip.plan.chunks import Chunk
from superlip.plan.partition import masks, part_of, sends
from superlip.plan.schedule import order
from superlip.plan.tasks import tasks_of
from superlip.rtl.isa import Memory, Opcode, VectorOp

from .compiled import BoardImage, Compiled, Written
from .dram import DramImage
from .liveness import prove_liveness
from .program import ACC, DRAM, Access, Emitter
from .weight_stream import WeightStream, load
from .weights import tile_params

__all__ = ["CompileError", "compile_network"]


PIECE_WORDS = 1024
"""Words, about, in which the image is loaded at a time: less, and LOAD has many instructions; more, and others wait."""
PIECES_AHEAD = 2


class CompileError(ValueError):
    """A network that this node can't hold; the message names the layer, what it needs and what there is."""


def compile_network(network, plan, target):
    """Compile a network.

    Parameters
    ----------
    network : superlip.plan.network.Network
    plan : superlip.plan.planner.Plan
        Number of boards, split of every operation, share of weight-shared blocks.
    target : superlip.boards.Target

    Returns
    -------
    Compiled

    Raises
    ------
    CompileError
        If activations, weights or parameters do not fit the node or its DRAM; or if what was compiled could stop before
        its end (`liveness`), which would be a mistake of the compiler.
    """
    try:
        compiled = _Compiler(network, plan, target).run()
        compiled.liveness = prove_liveness(target.node, *compiled.programs())
        return compiled
    except (DoesNotFit, ValueError) as error:
        if isinstance(error, CompileError):
            raise
        raise CompileError(f"{network.graph.name} on node {target.name}: {error}") from error


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
        self.next_slot = [0] * plan.boards
        self.loaded_params = [None] * plan.boards

    @property
    def segments(self):
        return 1 + len(self.network.cuts)

    def run(self):
        """All of it, in the order of the file."""
        words = self.config.weight_words
        self.tiles = [conv_tiles(op, words) if op.is_conv else None for op in self.network.ops]
        self.param_words = [
            parameter_words(op, tiles, self.config.tn) for op, tiles in zip(self.network.ops, self.tiles, strict=True)
        ]
        self.memory = plan_activations(
            self.network, self.parts, self.needed, self.produced, self.param_words, self.config
        )
        self._place_dram()
        self.shared_groups, self.used_lanes = self._shared_groups(), self._used_lanes()
        tasks = tasks_of(self.network, self.parts, self.tiles, self.memory, self.config)
        self.order = order(self.network, tasks, self.memory[0].after)
        steps = [task.steps if self.network.ops[task.op].is_conv else [] for task in self.order]
        self.weights = WeightStream(self.network, self.plan, self.target, self.images, steps)
        self._emit_init()
        self._emit_frame()
        owners = {name: self._owner(name) for name in sorted(self.stored)}
        return Compiled(
            self.network, self.target, self.plan.splits, self.images, self.given_rows, owners, self.memory[0].in_dram
        )

    # -- memories ------------------------------------------------------------------------------------------

    def _op_params(self, index):
        """Parameter blocks of one operation, by key: a convolution's by output group."""
        op = self.network.ops[index]
        if not op.is_conv:
            return dict(enumerate(op.vector.params(op, self.config.tn)))
        return {tile.group: tile_params(op, tile) for tile in self.tiles[index]}

    def _place_dram(self):
        """DRAM addresses of what the host writes and reads, and of storages that do not stay on chip."""
        network = self.network
        self.given = {storage.name: position for storage, position in network.given().items()}
        self.storages = {storage.name: storage for storage in network.given()}
        self.storages |= {op.output.storage.name: op.output.storage for op in network.ops}
        read = [*network.outputs, *(name for at in range(1, self.segments) for name in network.host_reads(at))]
        self.stored = {network.places[name].storage.name for name in read}
        self.regions, count = {}, 0
        for name, storage in self.storages.items():
            if name in self.given or name in self.stored or name in self.memory[0].in_dram:
                for image in self.images:
                    image.base[name] = image.dram.reserve(storage.words)
                self.regions[name] = count
                count += storage.height
        self.region_count = max(1, count)
        self.given_rows = {name: self.produced[name].any(axis=1) for name in self.given}
        for name, rows in self.given_rows.items():
            if name in self.stored:  # an output lies somewhere, also where no board needs it
                rows[0] |= ~rows.any(axis=0)

    def _shared_groups(self):
        """(storage name, group) of the words that several operations write, each its lanes."""
        writers = Counter(
            (op.output.storage.name, group)
            for op in self.network.ops
            for group in range(op.output.first_group, op.output.end_group)
        )
        return {place for place, count in writers.items() if count > 1}

    def _used_lanes(self):
        """By (storage name, group): lanes of its words that are written, from lane 0. The host's words are whole."""
        used = {}
        for op in self.network.ops:
            for group, _, end, *_ in op.output.tiles():
                place = op.output.storage.name, group
                used[place] = max(used.get(place, 0), self.config.tn if place[0] in self.given else end)
        return used

    def _owner(self, name):
        """Board that the host reads each (group, row) of a storage from: the first that has it."""
        if name in self.given:
            return np.repeat(self.given_rows[name].argmax(axis=0)[None], self.storages[name].groups, axis=0)
        return self.produced[name].argmax(axis=0)

    def _dram_rows(self, name, rows):
        return Access(DRAM, self.regions[name] + np.asarray(rows))

    # -- programs ------------------------------------------------------------------------------------------

    def _emit_init(self):
        """What stays on chip: parameters, tables and resident weights; one program a board."""
        emitter = Emitter(self.config, self.boards)
        for board, image in enumerate(self.images):
            blocks = [
                (self.memory[board].params[index][key], words)
                for index in range(len(self.network.ops))
                for key, words in self._op_params(index).items()
            ]
            if blocks:
                joined = np.concatenate([words for _, words in blocks])
                load(emitter, board, 0, Memory.ACT, blocks[0][0], image.dram.place(joined), len(joined))
        self.weights.emit_init(emitter)
        for image, program in zip(self.images, emitter.finish(), strict=True):
            image.init_program = image.dram.place_program(program[0])

    def _emit_frame(self):
        self.emitter = Emitter(self.config, self.boards, self.region_count)
        self.staged = [{} for _ in range(self.boards)]
        self.loaded_stages = set()
        self.traffic = [0] * self.boards  # words of activations over DRAM since the last task
        segment = 0
        self._give(0)
        for number, task in enumerate(self.order):
            while segment + 1 < self.segments and task.op >= self.network.cuts[segment]:
                segment += 1
                self._cut(segment)
            is_conv = self.network.ops[task.op].is_conv
            self.weights.before(number, self.emitter)
            for step in task.steps:
                board, strip = (step.board, step.strip) if is_conv else step[:2]
                self._stage(task.op, strip, board)
            self._emit_given(task)
            for step in task.steps:
                if is_conv:
                    self._emit_conv(step)
                else:
                    self._emit_vector(task.op, *step)
            self.weights.after(number, self.emitter, max(self.traffic))
            self.traffic = [0] * self.boards
        while segment + 1 < self.segments:
            segment += 1
            self._cut(segment)
        self._emit_given(None)
        self._emit_stores(self.network.outputs)
        for image, parts in zip(self.images, self.emitter.segments(), strict=True):
            image.for_input = [
                np.array([i.for_input for i in part if i.opcode is Opcode.MATMUL], dtype=bool) for part in parts
            ]
        for image, programs, stream in zip(self.images, self.emitter.finish(), self.emitter.streams, strict=True):
            image.programs = [image.dram.place_program(program) for program in programs]
            image.instructions = len(stream) + len(programs)
            image.written = [i.note for i in stream if i.opcode is Opcode.VECTOR]

    def _cut(self, segment):
        """End a segment with what the host reads of it in DRAM, and begin the next with what the host wrote."""
        self._emit_given(None)
        self._emit_stores(self.network.host_reads(segment))
        self.emitter.cut()
        self.loaded_params = [None] * self.boards
        self._give(self.network.cuts[segment - 1])

    def _give(self, position):
        """Note which rows each board is to load of what the host wrote: pieces (name, end row, tag, rows a board)."""
        tag = position + 1 if position else 0
        self.pieces = []
        for name in (name for name, at in self.given.items() if at == position):
            if name in self.memory[0].in_dram:
                continue
            storage = self.storages[name]
            count = max(4, min(storage.height, storage.words // PIECE_WORDS))
            edges = [storage.height * i // count for i in range(count + 1)]
            for low, high in pairwise(edges):
                rows = []
                for board in range(self.boards):
                    wanted = self.produced[name][board, 0] & self.needed[name].any(axis=(0, 1))
                    rows.append(low + np.flatnonzero(wanted[low:high]))
                self.pieces.append((name, high, tag, rows))

    def _emit_given(self, task):
        """Load what a task reads of what the host wrote, and a little more; all of it, if ``task`` is None.

        Each board loads its rows and sends on what the others need of them.
        """
        last = len(self.pieces) - 1
        if task is not None:
            ends = {}
            for name, _, _, _, row1 in task.needs:
                ends[name] = max(ends.get(name, 0), row1)
            reached = [i for i, (name, high, *_) in enumerate(self.pieces) if high < ends.get(name, 0)]
            touched = [i for i, (name, *_) in enumerate(self.pieces) if ends.get(name, 0)]
            if not touched:
                return
            last = min(last, max([touched[0], *(i + 1 for i in reached)]) + PIECES_AHEAD)
        for name, _, tag, rows in self.pieces[: last + 1]:
            storage = self.storages[name]
            for board in range(self.boards):
                view = self.memory[board].views[name]
                self._load_rows(board, storage, view, rows[board], tag)
                self._send_rows(storage.name, board, range(storage.groups), rows[board], tag, view)
        del self.pieces[: last + 1]

    def _load_rows(self, board, storage, view, rows, tag):
        """LOAD rows of all groups of a storage from DRAM to a view."""
        base = self.images[board].base[storage.name]
        self.traffic[board] += len(rows) * storage.width * storage.groups
        for first, count, length, stride in _runs(rows):
            covered = np.concatenate([np.arange(first + i * stride, first + i * stride + length) for i in range(count)])
            region = np.concatenate([view.region(0, storage.groups, r, r + 1) for r in covered])
            plane = storage.height * storage.width
            shape = dict(count0=length * view.width)
            if count == 1:
                shape |= dict(count1=storage.groups, local_stride1=view.plane, dram_stride1=plane, count2=1)
            else:
                shape |= dict(count1=count, local_stride1=stride * view.width, dram_stride1=stride * view.width)
                shape |= dict(count2=storage.groups, local_stride2=view.plane, dram_stride2=plane)
            self.emitter.emit(
                board, Opcode.LOAD, tag=tag, reads=[self._dram_rows(storage.name, covered)],
                writes=[Access(Memory.ACT, region)], memory=Memory.ACT,
                local=view.address(0, first), dram=base + first * view.width, **shape,
            )  # fmt: skip

    def _send_rows(self, name, board, groups, rows, tag, source):
        """Send those of the rows of some groups that other boards need from this one, from the view ``source``."""
        rows = np.asarray(rows)
        for to in range(self.boards):
            memory = self.memory[to]
            for group in groups:
                mine = rows[self.sends[name][board, to, group, rows]] if len(rows) else rows
                for first, count, length, stride in _runs(mine):
                    dest = self._receiver(memory, name, first, to)
                    shape = dict(count0=length * source.width, count1=count, count2=1)
                    local, remote = source.address(group, first), dest.address(group, first)
                    steps = np.arange(count)[:, None] * stride * source.width + np.arange(length * source.width)
                    self.emitter.emit(
                        board, Opcode.SEND, tag=tag, reads=[Access(Memory.ACT, (local + steps).ravel())],
                        writes=[Access(Memory.ACT, (remote + steps).ravel(), to)],
                        memory=Memory.ACT, local=local, local_stride1=stride * source.width, node=to,
                        remote_memory=Memory.ACT, remote=remote, remote_stride1=stride * source.width, **shape,
                    )  # fmt: skip
                    if name in memory.inboxes:
                        covered = (first + np.arange(count)[:, None] * stride + np.arange(length)).ravel()
                        self._store_rows(to, name, group, covered, tag, dest)

    def _receiver(self, memory, name, row, board):
        """Where a board takes rows of another: the storage, its stage, or the inbox on the way to its DRAM."""
        if name in memory.views:
            return memory.views[name]
        if name in memory.inboxes:
            return memory.inboxes[name]
        stage = self.staged[board][name]
        if not stage.row0 <= row < stage.row0 + stage.rows:
            raise CompileError(f"{name}: row {row} reaches board {board} outside its stage")
        return stage

    def _store_rows(self, board, name, group, rows, tag, view):
        """STORE rows of one group from a view to DRAM."""
        base = self.images[board].base[name]
        height = self.storages[name].height
        self.traffic[board] += len(rows) * view.width
        for first, count, length, stride in _runs(rows):
            local = view.address(group, first)
            steps = np.arange(count)[:, None] * stride * view.width + np.arange(length * view.width)
            self.emitter.emit(
                board, Opcode.STORE, tag=tag, reads=[Access(Memory.ACT, (local + steps).ravel())],
                writes=[self._dram_rows(name, rows)], memory=Memory.ACT, local=local,
                local_stride1=stride * view.width, dram=base + (group * height + first) * view.width,
                dram_stride1=stride * view.width, count0=length * view.width, count1=count, count2=1,
            )  # fmt: skip

    # -- stages --------------------------------------------------------------------------------------------

    def _stage(self, index, strip, board):
        """Bring the input rows of a strip, and of the next ones, to the boards' stages, if they are not there yet."""
        memory = self.memory[board]
        for place in self.network.ops[index].inputs:
            name = place.storage.name
            if (index, name) not in memory.stages:
                continue
            last = len(memory.strips[index]) - 1
            ahead = min(len(other.stages[index, name]) for other in self.memory if (index, name) in other.stages)
            for number in range(strip, min(strip + ahead, last + 1)):
                self._load_stage(index, number, place.storage)
            self.staged[board][name] = self._stage_view(index, strip, place.storage, board)

    def _stage_view(self, index, strip, storage, board):
        memory = self.memory[board]
        part = memory.strips[index][strip]
        low, high = self.network.ops[index].input_rows(part.row0, part.row1)
        stages = memory.stages[index, storage.name]
        base = stages[strip % len(stages)]
        return View(base, low, high - low, storage.width, 0, storage.groups)

    def _load_stage(self, index, strip, storage):
        """Load one strip's rows on all boards, each its own rows; IFM-shared rows go over the links."""
        name = storage.name
        key = (index, name, strip)
        if key in self.loaded_stages:
            return
        self.loaded_stages.add(key)
        views = [
            self._stage_view(index, strip, storage, board) if strip < len(self.memory[board].strips[index]) else None
            for board in range(self.boards)
        ]
        held = [self._held_rows(name, board) for board in range(self.boards)]
        before = [dict(staged) for staged in self.staged]
        for board, view in enumerate(views):
            if view is not None:
                self.staged[board][name] = view
        for board, view in enumerate(views):
            if view is None:
                continue
            rows = np.arange(view.row0, view.row0 + view.rows)
            rows = rows[held[board][rows]]
            self._load_rows(board, storage, view, rows, index + 1)
            if name in self.given:
                self._send_rows(name, board, range(storage.groups), rows, index + 1, view)
        for board in range(self.boards):
            self.staged[board] = before[board]

    def _held_rows(self, name, board):
        """Rows that a board has in its DRAM: what it was given or made, and what came to its inbox."""
        held = self.produced[name][board].any(axis=0)
        if name in self.memory[board].inboxes:
            held = held | self.needed[name][board].any(axis=0)
        return held

    # -- convolutions --------------------------------------------------------------------------------------

    def _source(self, place, board):
        """View that an operation reads: the resident storage or the stage of the strip."""
        name = place.storage.name
        return self.memory[board].views.get(name) or self.staged[board][name]

    def _emit_conv(self, step):
        """FEED, MATMUL and, behind the last block, VECTOR, SEND and STORE for each chunk of a step."""
        op, board = self.network.ops[step.op], step.board
        node, block, tag = op.node, step.block, step.op + 1
        source = self._source(op.inputs[0], board)
        (sy, sx), (dy, dx), (top, left, *_) = node.strides, node.dilations, node.pads
        for chunk in step.chunks:
            if step.first:
                self.next_bank[board] ^= 1
            acc = self.next_bank[board] * self.acc_half
            sums = Access(ACC, np.arange(acc, acc + chunk.sums(op)))
            parts = portions(block, self.config.tm) if step.fresh else [(0, block.words)]
            step.fresh = False
            for at, count in parts:
                self.emitter.emit(
                    board, Opcode.FEED, tag=tag,
                    reads=[Access(Memory.WEIGHT, np.arange(step.address + at, step.address + at + count))],
                    weights=step.address + at, sets=count // block.rows, rows=block.rows,
                )  # fmt: skip
            low, high = op.input_rows(chunk.row0, chunk.row1)
            row0, row1, col0, col1 = op.sums(chunk.row0, chunk.row1, chunk.col0, chunk.col1)
            self.emitter.emit(
                board, Opcode.MATMUL, tag=tag, writes=[sums],
                reads=[Access(Memory.ACT, source.region(block.n0, block.n1, low, high))],
                act=source.address(block.n0, source.row0), plane=source.plane, pitch=source.width,
                # Rows that are not held are rows outside the image: the height ends where the image ends.
                height=source.rows, width=source.width,
                y0=row0 * sy - top + block.ky0 * dy - source.row0, x0=col0 * sx - left,
                stride_y=sy, stride_x=sx, kh=block.ky1 - block.ky0, kw=block.columns,
                fold=block.fold.bit_length() - 1, dilation_y=dy, dilation_x=dx * block.fold,
                n_tiles=block.n1 - block.n0,
                rows=row1 - row0, cols=col1 - col0, acc=acc, accumulate=int(not step.first),
                zero_point=op.zero_points[0],
            )  # fmt: skip
            if step.last:
                self._emit_requantize(step, op, chunk, acc, sums)

    def _emit_requantize(self, step, op, chunk, acc, sums):
        tile, node, board = step.tile, op.node, step.board
        (ky, kx), (sy, sx), (top, left, *_) = (
            ((1, 1), (1, 1), (0, 0)) if op.pool is None else (op.pool.kernel, op.pool.strides, op.pool.pads)
        )
        row0, row1, col0, col1 = op.sums(chunk.row0, chunk.row1, chunk.col0, chunk.col1)
        reads = [sums]
        params = self._params(board, step.op, tile.group, reads)
        dest = self._dest(step.op, board, tile.group, chunk)
        zero_point = op.zero_points[-1] if node.table is None else node.table_zero_point
        self._emit_vector_op(
            step.op, board, tile.group, (tile.first_lane, tile.end_lane), chunk, dest, reads,
            {
                "op": VectorOp.REQUANTIZE, "source": acc, "pitch": col1 - col0, "height": row1 - row0,
                "width": col1 - col0, "y0": chunk.row0 * sy - top - row0, "x0": chunk.col0 * sx - left - col0,
                "stride_y": sy, "stride_x": sx, "kh": ky, "kw": kx, "zp_out": zero_point, "low": node.low,
                "high": node.high, "use_table": int(node.table is not None), **params,
            },
        )  # fmt: skip

    def _params(self, board, op, key, reads):
        """Fields that load a parameter block, where the lanes don't hold it already."""
        if self.loaded_params[board] == (op, key):
            return {}
        self.loaded_params[board] = (op, key)
        address = self.memory[board].params[op][key]
        reads.append(Access(Memory.ACT, params_region(address, self.param_words[op][key])))
        return {"params": address, **self.network.ops[op].spec.loads}

    # -- what VECTOR writes --------------------------------------------------------------------------------

    def _dest(self, index, board, group, chunk):
        """View that a chunk's results are written to: the resident storage, or the next slot."""
        op, memory = self.network.ops[index], self.memory[board]
        if index not in memory.slots:
            return memory.views[op.output.storage.name]
        if not op.is_plain or (chunk.col0, chunk.col1) != (0, op.grid[1]):
            raise CompileError(f"{op.name}: rows of {op.grid[1]} pixels do not fit the accumulators and the buffer")
        slots = memory.slots[index]
        self.next_slot[board] = (self.next_slot[board] + 1) % len(slots)
        base, storage = slots[self.next_slot[board]], op.output.storage
        view = View(base, chunk.row0, chunk.row1 - chunk.row0, storage.width, group, 1)
        if (storage.name, group) in self.shared_groups:
            self._fill_slot(board, storage, group, view, index + 1)
        return view

    def _fill_slot(self, board, storage, group, view, tag):
        """LOAD what DRAM holds of a slot's words: STORE writes whole words, and others write some of their lanes."""
        rows = np.arange(view.row0, view.row0 + view.rows)
        dram = self.images[board].base[storage.name] + (group * storage.height + view.row0) * storage.width
        self.emitter.emit(
            board, Opcode.LOAD, tag=tag, reads=[self._dram_rows(storage.name, rows)],
            writes=[Access(Memory.ACT, np.arange(view.base, view.base + view.words))],
            memory=Memory.ACT, local=view.base, dram=dram, count0=view.words, count1=1, count2=1,
        )  # fmt: skip

    def _emit_vector_op(self, index, board, group, lanes, chunk, dest, reads, body):
        """VECTOR for one group and chunk, then SEND and STORE of what it wrote."""
        op = self.network.ops[index]
        storage, tag = op.output.storage, index + 1
        (step_y, step_x), (origin_y, origin_x) = op.step, op.origin
        rows = origin_y + np.arange(chunk.row0, chunk.row1) * step_y
        cols = origin_x + np.arange(chunk.col0, chunk.col1) * step_x
        addresses = dest.address(group, rows[:, None], cols).ravel()
        written = Written(
            index, group, int(rows[0]), step_y, len(rows), int(cols[0]), step_x, len(cols), lanes[0], lanes[1]
        )
        self.emitter.emit(
            board, Opcode.VECTOR, tag=tag, reads=reads, writes=[Access(Memory.ACT, addresses)], note=written,
            dest=int(addresses[0]), dest_pitch=dest.width * step_y, dest_step=step_x, groups=1,
            rows=len(rows), cols=len(cols), lane_first=lanes[0], lane_last=lanes[1] - 1,
            zero_above=int(lanes[1] >= self.used_lanes[storage.name, group]), **body,
        )  # fmt: skip
        if chunk.col1 < op.grid[1]:
            return
        self._send_rows(storage.name, board, [group], rows, tag, dest)
        if index in self.memory[board].slots:
            self._store_rows(board, storage.name, group, rows, tag, dest)

    def _emit_vector(self, index, board, strip, step):
        """One step of an operation without weights, on one board."""
        del strip  # staged already
        op = self.network.ops[index]
        views = [self._source(place, board) for place in op.inputs]
        reads = [
            Access(Memory.ACT, view.region(need.group0, need.group1, need.row0, need.row1))
            for view, need in zip(views, op.needs(step.part), strict=True)
        ]
        params = self._params(board, index, step.params, reads) if self.param_words[index] else {}
        chunk = Chunk(step.row0, step.row1, step.col0, step.col1)
        dest = self._dest(index, board, step.group, chunk)
        lanes = next((a, b) for group, a, b, _, _ in op.output.tiles() if group == step.group)
        body = {**op.vector.body(op, step, views), **params}
        self._emit_vector_op(index, board, step.group, lanes, chunk, dest, reads, body)

    def _emit_stores(self, names):
        """Each board stores the part of some values that it computed (the first board, what several did)."""
        for name in names:
            place = self.network.places[name]
            storage = place.storage
            if storage.name in self.memory[0].in_dram or storage.name in self.given:
                continue
            owner = self._owner(storage.name)
            tag = 1 + max(self.network.writers()[storage.name])
            for board in range(self.boards):
                for group in range(place.first_group, place.end_group):
                    rows = np.flatnonzero((owner[group] == board) & self.produced[storage.name][board, group])
                    self._store_rows(board, storage.name, group, rows, tag, self.memory[board].views[storage.name])


def _runs(rows):
    """Rows, increasing, as runs (first, count, length, stride): ``count`` times ``length`` rows, ``stride`` apart."""
    rows = np.asarray(rows)
    if not len(rows):
        return []
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    pieces = np.split(rows, edges)
    lengths = {len(piece) for piece in pieces}
    strides = {int(b[0] - a[0]) for a, b in pairwise(pieces)}
    if len(lengths) == 1 and len(strides) <= 1:
        return [(int(rows[0]), len(pieces), lengths.pop(), strides.pop() if strides else 0)]
    return [(int(piece[0]), 1, len(piece), 0) for piece in pieces]
