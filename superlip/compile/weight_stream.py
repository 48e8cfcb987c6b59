"""Weights: what stays in the weight buffer, where the rest passes through it, and who loads it (XFER)."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from superlip.plan.blocks import portions
from superlip.plan.partition import Split
from superlip.plan.residency import Residents
from superlip.plan.timing import dram_words
from superlip.rtl.isa import Memory, Opcode

from .program import Access
from .weights import tile_words

__all__ = ["Ring", "WeightStream"]


@dataclass(eq=False)
class _Held:
    start: int
    end: int
    uses: int


class Ring:
    """Addresses for blocks that come and go in order, in words [base, base + words) of the weight buffer.

    ``take`` may run ahead of the use of a block: it gives room only where no block lies that is still to be used.
    """

    def __init__(self, base, words):
        self.base, self.words = base, words
        self._next = 0
        self._held = deque()

    def fits(self, words):
        """Where a block would begin (relative), or None if there is no room yet."""
        start = self._next if self._next + words <= self.words else 0
        if start + words > self.words or any(start < h.end and h.start < start + words for h in self._held):
            return None
        return start

    def take(self, words, uses):
        """Address of a new block that will be used ``uses`` times; None if there is no room yet."""
        start = self.fits(words)
        if start is None:
            return None
        held = _Held(start, start + words, uses)
        self._held.append(held)
        self._next = held.end
        return self.base + start, held

    def make_room(self, words):
        """Give up the blocks that lie where ``words`` words are to begin: their list, None if there is no place."""
        for start in (self._next, 0):
            if start + words <= self.words:
                given_up = [h for h in self._held if start < h.end and h.start < start + words]
                self._held = deque(h for h in self._held if h not in given_up)
                self._next = start
                return given_up
        return None

    def release(self, held):
        """One use is over."""
        held.uses -= 1
        while self._held and self._held[0].uses <= 0:
            self._held.popleft()


class WeightStream:
    """Gives every step of every board the address of its weight block, and emits the LOADs (and SENDs) in time.

    Parameters
    ----------
    compiler
        For its network, plan, target and board images.
    groups : list of list of Step
        Steps in order of the program, those side by side that boards do at the same time.
    """

    def __init__(self, network, plan, target, images, groups):
        self.network, self.plan, self.target, self.images = network, plan, target, images
        self.groups = groups
        self.boards = plan.boards
        self.ahead = 0
        self.credit = 0.0
        self._choose()

    def _choose(self):
        """Residents, ring, and the place of every block in each board's DRAM."""
        capacity = self.target.node.weight_words
        words = self._words()
        self.residents, self.rings, self.dram, self.held, self.uses_left = [], [], [], [], []
        for board in range(self.boards):
            blocks, pixels, counts, op_words = {}, {}, {}, {}
            for group in self.groups:
                for step in group:
                    if step.board == board:
                        if step.key not in blocks:
                            op_words[step.op] = op_words.get(step.op, 0) + step.block.words
                        blocks[step.key] = step.block
                        counts[step.key] = counts.get(step.key, 0) + 1
                        pixels[step.key] = pixels.get(step.key, 0) + step.sums
            largest = max((block.words for block in blocks.values()), default=0)
            ring_words = min(capacity, max(2 * largest, capacity // 2))
            offers = [(key, block.words, pixels[key]) for key, block in blocks.items()]
            residents = Residents(offers, capacity, ring_words)
            self.residents.append(residents)
            ring = Ring(residents.words, capacity - residents.words)
            self.rings.append(ring)
            self.dram.append({key: self.images[board].dram.place(words[key]) for key in blocks})
            self.held.append({})
            self.uses_left.append({})
            # A layer that fits the ring as a whole is loaded once, however often its blocks are used.
            self._mark_loads(board, {op for op, words in op_words.items() if words <= ring.words // 2}, counts)

    def _words(self):
        """Words of every block, by key."""
        tiles = {(step.op, step.tile.group): step.tile for group in self.groups for step in group}
        return {
            (op, group, at): words
            for (op, group), tile in tiles.items()
            for at, words in enumerate(tile_words(self.network.ops[op], tile))
        }

    def _mark_loads(self, board, kept_ops, counts):
        seen = {}
        for group in self.groups:
            for step in group:
                if step.board == board and step.key not in self.residents[board].address:
                    number = seen.get(step.key, 0)
                    seen[step.key] = number + 1
                    step.load = (step.key, 0 if step.op in kept_ops else number)
                    step.uses = counts[step.key] if step.op in kept_ops else 1

    def emit_init(self, emitter):
        """Load the resident blocks, in the init program."""
        for board in range(self.boards):
            sizes = {s.key: s.block.words for group in self.groups for s in group if s.board == board}
            for key, address in self.residents[board].address.items():
                load(emitter, board, key[0] + 1, Memory.WEIGHT, address, self.dram[board][key], sizes[key])

    def before(self, number, emitter):
        """Emit what step group ``number`` needs, if it has not been loaded ahead."""
        while self.ahead <= number:
            group = self.groups[self.ahead]
            if not self._emit_group(group, emitter):
                self._make_room(group)
                self._emit_group(group, emitter)
            self.ahead += 1

    def _make_room(self, group):
        """Layers that overlap may hold more weights than there is room for: some give way, and are loaded again."""
        for step in self._to_load(group):
            board, words = step.board, step.block.words
            if self.rings[board].fits(words) is not None:
                continue
            given_up = self.rings[board].make_room(words)
            if given_up is None:
                raise ValueError(
                    f"{self.network.ops[step.op].name}: {words} words of weights do not fit the weight buffer's "
                    f"{self.rings[board].words}"
                )
            for load, (_, held) in list(self.held[board].items()):
                if any(held is other for other in given_up):
                    del self.held[board][load]
                    self.uses_left[board][load] = held.uses

    def after(self, number, emitter, traffic=0):
        """The steps of group ``number`` are emitted: their blocks are free, and later ones are loaded ahead.

        As many words as DRAM delivers while these steps compute, so that weights come when they are needed and
        other loads find their place between them; ``traffic`` are the words of activations that crossed DRAM for them.
        """
        group = self.groups[number]
        for step in group:
            if step.held is not None:
                self.rings[step.board].release(step.held)
        cycles = max((step.matmul_cycles(self.target.node.tm) for step in group), default=0)
        limit = max(ring.words for ring in self.rings)
        gained = dram_words(cycles, self.target) - traffic
        self.credit = max(-limit, min(limit, self.credit + gained))
        while self.ahead < len(self.groups) and self.credit > 0:
            words = max((s.block.words for s in self._to_load(self.groups[self.ahead])), default=0)
            if not self._emit_group(self.groups[self.ahead], emitter):
                return
            self.credit -= words
            self.ahead += 1

    def _to_load(self, group):
        return [s for s in group if s.load is not None and s.load not in self.held[s.board]]

    def _emit_group(self, group, emitter):
        """Give the steps of a group their addresses and load what is missing; False where there is no room yet."""
        new = self._to_load(group)
        if any(self.rings[s.board].fits(s.block.words) is None for s in new):
            return False
        for step in new:
            uses = self.uses_left[step.board].pop(step.load, step.uses)
            self.held[step.board][step.load] = self.rings[step.board].take(step.block.words, uses)
        for step in group:
            if step.load is None:
                step.address = self.residents[step.board].address[step.key]
            else:
                step.address, step.held = self.held[step.board][step.load]
        shared = (
            len(new) == self.boards > 1
            and self.plan.splits[group[0].op] is Split.ROWS
            and self.plan.share < 1
            and len({s.key for s in new}) == 1
        )
        if shared:
            self._load_shared(new, emitter)
        else:
            for step in new:
                step.fresh = True
                for at, count in portions(step.block, self.target.node.tm):
                    base = self.dram[step.board][step.key]
                    load(emitter, step.board, step.op + 1, Memory.WEIGHT, step.address + at, base + at, count)
                self.images[step.board].weight_words += step.block.words
        return True

    def _load_shared(self, steps, emitter):
        """XFER: each board loads its share of a block that all need, and sends the others the part they lack.

        Board 0 begins at the front, board 1 at the back; with a share above a half the parts overlap.
        """
        words = steps[0].block.words
        own = min(words, round(words * self.plan.share))
        ranges = [(0, own), (words - own, words)]
        to_send = [(0, words - own), (own, words)]
        for step, other, (low, high), (send_low, send_high) in zip(
            steps, reversed(steps), ranges, to_send, strict=True
        ):
            dram, tag = self.dram[step.board][step.key], step.op + 1
            step.fresh = True
            # What the other board lacks goes first: it has the longer way.
            rest = [(low, send_low), (send_high, high)]
            for a, b in [(send_low, send_high), *rest]:
                if a < b:
                    load(emitter, step.board, tag, Memory.WEIGHT, step.address + a, dram + a, b - a)
            if send_low < send_high:
                count, to = send_high - send_low, other.board
                source, dest = step.address + send_low, other.address + send_low
                send(emitter, step.board, to, tag, Memory.WEIGHT, source, dest, count)
            self.images[step.board].weight_words += own


LONGEST = 0x8000


def load(emitter, board, tag, memory, address, dram, words, regions=()):
    """Emit LOADs of consecutive words; ``regions`` are the DRAM regions they read."""
    for at in range(0, words, LONGEST):
        count = min(LONGEST, words - at)
        emitter.emit(
            board, Opcode.LOAD, tag=tag, reads=regions,
            writes=[Access(memory, np.arange(address + at, address + at + count))],
            memory=memory, local=address + at, dram=dram + at, count0=count, count1=1, count2=1,
        )  # fmt: skip


def send(emitter, board, to, tag, memory, source, dest, words):
    """Emit SENDs of consecutive words."""
    for at in range(0, words, LONGEST):
        count = min(LONGEST, words - at)
        emitter.emit(
            board, Opcode.SEND, tag=tag,
            reads=[Access(memory, np.arange(source + at, source + at + count))],
            writes=[Access(memory, np.arange(dest + at, dest + at + count), to)],
            memory=memory, local=source + at, count0=count, count1=1, count2=1,
            node=to, remote_memory=memory, remote=dest + at,
        )  # fmt: skip
