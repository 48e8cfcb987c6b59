"""Weights that do not stay on chip: loaded through the rings, ahead of their use, and shared over the links (XFER)."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from superlip.plan.blocks import portions
from superlip.plan.partition import Split
from superlip.plan.residency import Load, WeightPlan
from superlip.plan.tasks import BlockKey, WeightStep
from superlip.plan.timing import dram_words
from superlip.rtl.isa import Memory

from .context import Context
from .moves import load_words, send_words
from .program_state import ProgramState
from .ring import Held, Ring

__all__ = ["BlockPlace", "WeightStream"]

LoadKey = tuple[BlockKey, int]


class BlockPlace(NamedTuple):
    """Where a step finds its block. ``held`` is its place in the ring; ``fresh``: it is loaded for this step."""

    address: int
    held: Held | None
    fresh: bool


@dataclass(eq=False)
class _Board:
    """The weight buffer of one board: its plan, its ring, and the blocks in it."""

    plan: WeightPlan
    dram: dict[BlockKey, int]
    ring: Ring
    held: dict[LoadKey, tuple[int, Held]] = field(default_factory=dict)
    given_up: dict[LoadKey, int] = field(default_factory=dict)
    """Uses left of blocks that gave way to others."""
    words_loaded: int = 0


class WeightStream:
    """Gives the weight steps of every task, in order, the addresses of their blocks, and emits the LOADs and SENDs that
    bring them in time."""

    def __init__(self, context: Context, state: ProgramState) -> None:
        self.context, self.state = context, state
        self.boards = [
            _Board(plan, dram, Ring(*plan.ring))
            for plan, dram in zip(context.plan.weights, context.dram.weights, strict=True)
        ]
        self.ahead = 0
        """The first task whose blocks are not fetched yet."""
        self.credit = 0.0
        """Words that may be loaded ahead; below 0: that were loaded beyond what DRAM had left."""
        self.places: deque[list[BlockPlace]] = deque()
        """Of the tasks from the one at work to ``ahead``."""

    def begin(self, number: int) -> list[BlockPlace]:
        """Places of the blocks of task ``number``: loaded now, if they were not loaded ahead.

        Raises
        ------
        ValueError
            If they have no room beside each other.
        """
        if self.ahead == number and not self._fetch(number):
            self._make_room(number)
            self._fetch(number)
        return self.places[0]

    def end(self, number: int, traffic: int) -> None:
        """Task ``number`` is emitted: its blocks are free, and later ones are loaded ahead.

        As many words as DRAM delivers while the task computes, so that weights come when they are needed and
        other loads find their place between them; ``traffic`` are the words of activations that crossed DRAM for it.
        """
        steps, target = self.context.plan.order[number].weight_steps, self.context.target
        for step, load, place in zip(steps, self.context.plan.loads[number], self.places.popleft(), strict=True):
            if load is not None and place.held is not None:
                board, key = self.boards[step.board], (load.key, load.number)
                board.ring.release(place.held)
                if place.held.uses <= 0 and key in board.held and board.held[key][1] is place.held:
                    del board.held[key]
        cycles = max((step.matmul_cycles(target.node.tm) for step in steps), default=0)
        limit = max(board.ring.words for board in self.boards)
        self.credit = max(-limit, min(limit, self.credit + dram_words(cycles, target) - traffic))
        while self.ahead < len(self.context.plan.order) and self.credit > 0:
            words = max((step.block.words for step, _ in self._missing(self.ahead)), default=0)
            if not self._fetch(self.ahead):
                return
            self.credit -= words

    def _missing(self, number: int) -> list[tuple[WeightStep, Load]]:
        """Steps of a task whose blocks are not in the buffer."""
        plan = self.context.plan
        return [
            (step, load)
            for step, load in zip(plan.order[number].weight_steps, plan.loads[number], strict=True)
            if load is not None and (load.key, load.number) not in self.boards[step.board].held
        ]

    def _make_room(self, number: int) -> None:
        """Layers that overlap may hold more weights than there is room for: some give way, and are loaded again."""
        for step, _ in self._missing(number):
            board, words = self.boards[step.board], step.block.words
            if board.ring.fits(words) is not None:
                continue
            given_up = board.ring.make_room(words)
            if given_up is None:
                raise ValueError(
                    f"{self.context.network.ops[step.op].name}: {words} words of weights do not fit the weight "
                    f"buffer's {board.ring.words}"
                )
            for key, (_, held) in list(board.held.items()):
                if any(held is other for other in given_up):
                    del board.held[key]
                    board.given_up[key] = held.uses

    def _fetch(self, number: int) -> bool:
        """Give the steps of a task their places and load what is missing; False where there is no room yet."""
        missing, plan = self._missing(number), self.context.plan
        if any(self.boards[step.board].ring.fits(step.block.words) is None for step, _ in missing):
            return False
        for step, load in missing:
            board, key = self.boards[step.board], (load.key, load.number)
            uses = board.given_up.pop(key, load.uses)
            board.held[key] = board.ring.take(step.block.words, uses)
        fresh = [step for step, _ in missing]
        places = []
        for step, needed in zip(plan.order[number].weight_steps, plan.loads[number], strict=True):
            board = self.boards[step.board]
            if needed is None:
                places.append(BlockPlace(board.plan.residents[step.key], None, False))
            else:
                address, held = board.held[needed.key, needed.number]
                places.append(BlockPlace(address, held, step in fresh))
        loaded = [
            (step, place.address)
            for step, place in zip(plan.order[number].weight_steps, places, strict=True)
            if place.fresh
        ]
        if self._is_shared(fresh):
            self._load_shared(loaded)
        else:
            self._load(loaded)
        self.places.append(places)
        self.ahead += 1
        return True

    def _is_shared(self, steps: list[WeightStep]) -> bool:
        """Whether all boards load the same block, of a layer whose weights they share."""
        plan = self.context.plan
        return (
            len(steps) == plan.boards > 1
            and plan.splits[steps[0].op] is Split.ROWS
            and plan.share < 1
            and len({step.key for step in steps}) == 1
        )

    def _load(self, loaded: list[tuple[WeightStep, int]]) -> None:
        """LOAD the block of each step to an address."""
        for step, address in loaded:
            board = self.boards[step.board]
            for at, count in portions(step.block, self.context.config.tm):
                dram = board.dram[step.key] + at
                load_words(self.state.emitter, step.board, step.op + 1, Memory.WEIGHT, address + at, dram, count)
            board.words_loaded += step.block.words

    def _load_shared(self, loaded: list[tuple[WeightStep, int]]) -> None:
        """XFER: each board loads its share of a block that all need, and sends the others the part they lack.

        Board 0 begins at the front, board 1 at the back; with a share above a half the parts overlap.
        """
        emitter, words = self.state.emitter, loaded[0][0].block.words
        own = min(words, round(words * self.context.plan.share))
        ranges = [(0, own), (words - own, words)]
        to_send = [(0, words - own), (own, words)]
        for (step, address), (other, dest), (low, high), (send_low, send_high) in zip(
            loaded, reversed(loaded), ranges, to_send, strict=True
        ):
            board, tag = self.boards[step.board], step.op + 1
            dram = board.dram[step.key]
            # What the other board lacks goes first: it has the longer way.
            for a, b in [(send_low, send_high), (low, send_low), (send_high, high)]:
                if a < b:
                    load_words(emitter, step.board, tag, Memory.WEIGHT, address + a, dram + a, b - a)
            if send_low < send_high:
                source, count = address + send_low, send_high - send_low
                send_words(emitter, step.board, other.board, tag, Memory.WEIGHT, source, dest + send_low, count)
            board.words_loaded += own
