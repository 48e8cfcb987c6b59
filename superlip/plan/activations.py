"""Where every activation lies, on which board: in the activation buffer if it fits, in DRAM otherwise.

A storage stays in the activation buffer from its first writer (or the segment that loads it) to its last reader. Each
board holds the rows that it computes or reads. If not all fit, the largest goes to DRAM, and so on: its writers then
write to small *slots* that STORE empties, and its readers work in *strips* of rows that LOAD brings to a *stage* (two
or three of them, so that one is filled while another is read). Rows of such a storage that another board computes
arrive in an *inbox*.

Operations overlap (`schedule`), so a place is free only when the operations that may run beside its last reader are
over, too. Where that leaves too little room, fewer overlap.
"""

from dataclasses import dataclass, field

import numpy as np

from superlip.ops.layout import View
from superlip.rtl.isa import PARAM_WORDS

from .allocate import Allocator, DoesNotFit
from .chunks import Chunk, Strip, chunks_of, strips_of
from .partition import rows_written
from .schedule import starts_after
from .timing import word_cycles

__all__ = ["ActivationPlan", "plan_activations"]

SLOTS = 4
STAGES = 3
"""Strips of an operation that are in the buffer at once, where there is room; at least two."""
DEPTHS = (2, 3, 4, 6, 8)
"""Operations that may overlap, where the activation buffer has room: tried in this order."""
VECTOR_TASK = 2048
"""Cycles of a task of VECTOR's own, at most: what a convolution's results may have to wait for."""


@dataclass(eq=False)
class ActivationPlan:
    """Addresses of one board's activation buffer.

    Parameters
    ----------
    params : list of dict
        For each op: key of a parameter block -> word address.
    views : dict of str to View
        Storages that are resident.
    strips : list of list of Strip
        For each op (one strip, if its inputs are resident).
    stages : dict of (op, storage name) to list of addresses
    slots : dict of op to list of addresses
        Where writes of a storage in DRAM are put before they are stored.
    inboxes : dict of storage name to View
    in_dram : set of str
    after : list of int
        `schedule.starts_after`: the last operation that must be complete before each one begins.
    """

    params: list = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    strips: list = field(default_factory=list)
    stages: dict = field(default_factory=dict)
    slots: dict = field(default_factory=dict)
    inboxes: dict[str, View] = field(default_factory=dict)
    in_dram: set[str] = field(default_factory=set)
    after: list[int] = field(default_factory=list)


def plan_activations(network, parts, needed, produced, param_words, config):
    """Plan all boards: list of ActivationPlan.

    Parameters
    ----------
    parts : list of list of Part, by op and board
    needed, produced : dict of str to ndarray bool (boards, groups, height)
    param_words : list of dict of key to int
        Words of the parameter blocks of each op, which always stay.

    Raises
    ------
    DoesNotFit
        If a storage can't even be worked on in strips of one chunk.
    """
    in_dram: set[str] = set()

    held = [{} for _ in parts[0]]  # rows of each storage, by board: the same in every trial

    def planners(depths, *, spread=0):
        after = _starts_after(network, depths, in_dram)
        memory = in_dram, after, spread
        for board in range(len(parts[0])):
            board_parts = [row[board] for row in parts]
            yield _Planner(network, board_parts, (needed, produced), param_words, config, memory, board, held[board])

    depths = [1] * len(network.ops)
    while True:
        plans = []
        try:
            for planner in planners(depths):
                plans.append(planner.run())
            break
        except DoesNotFit:
            spilled = planner.largest_resident()
            if spilled is None:
                raise
            in_dram = in_dram | {spilled}

    def accept(trial, **how):
        nonlocal depths, plans
        try:
            plans = [planner.run() for planner in planners(trial, **how)]
        except DoesNotFit:
            return False
        depths = trial
        return True

    # What follows an operation of VECTOR's own gains most: convolutions that go on meanwhile.
    waits = [index for index in range(1, len(depths)) if not network.ops[index - 1].is_conv]
    for depth in DEPTHS:
        if not accept([depth] * len(depths)):
            for index in sorted(range(1, len(depths)), key=lambda index: index not in waits):
                accept([*depths[:index], depth, *depths[index + 1 :]])
    size = config.act_words // config.act_banks
    any(accept(depths, spread=most) for most in (config.act_words, size, size // 2, size // 4, size // 8))
    return plans


def _starts_after(network, depths, in_dram):
    """`starts_after`. What reads DRAM loads rows ahead, so it begins when all before it is complete."""
    barriers = set(network.cuts)
    for index, op in enumerate(network.ops):
        if any(place.storage.name in in_dram for place in op.inputs):
            barriers.add(index)
    return starts_after(network, depths, barriers)


class _Planner:
    def __init__(self, network, parts, masks, param_words, config, memory, board, held):
        needed, produced = masks
        in_dram, after, spread = memory
        self.network, self.board, self.parts, self.config = network, board, parts, config
        self.needed, self.produced, self.param_words = needed, produced, param_words
        self.plan = ActivationPlan(in_dram=in_dram, after=after)
        self.after, self.held = after, held
        self.writers, self.users = network.writers(), network.users()
        self.allocator = Allocator(config.act_words, config.act_words // config.act_banks, spread)
        self.failed_at = 0, len(network.ops)
        self._lifetimes()

    def _lifetimes(self):
        """First and last step of every storage; op i is step i + 1, the image is there from step 1 on."""
        network = self.network
        end = len(network.ops)
        self.storages, self.first, self.last = {}, {}, {}
        for storage, position in network.given().items():
            self.storages[storage.name] = storage
            self.first[storage.name] = self.last[storage.name] = position + 1
        for index, op in enumerate(network.ops):
            self.storages.setdefault(op.output.storage.name, op.output.storage)
            self.first.setdefault(op.output.storage.name, index + 1)
            for place in (*op.inputs, op.output):
                self.last[place.storage.name] = index + 1
        self.stored = set()
        reads = [(network.host_reads(segment), at) for segment, at in enumerate(network.cuts, 1)]
        for names, step in (*reads, (network.outputs, end)):
            for name in names:
                storage = network.places[name].storage.name
                self.last[storage] = max(self.last[storage], step)
                self.stored.add(storage)

    def _place(self, words, first, last, name):
        """Room from step ``first`` until all that may run beside step ``last`` is over."""
        self.failed_at = first, last
        end = last
        while end < len(self.after) and self.after[end] < last - 1:  # step i is operation i - 1
            end += 1
        return self.allocator.place(words, first, end, name)

    def run(self):
        config, plan = self.config, self.plan
        end = len(self.network.ops)
        total = sum(words for blocks in self.param_words for words in blocks.values())
        base = self.allocator.place(total, 0, end, "parameters")
        for blocks in self.param_words:
            plan.params.append({})
            for key, words in blocks.items():
                plan.params[-1][key] = base
                base += words
        self._place_slots()
        self._place_residents()
        for index, op in enumerate(self.network.ops):
            plan.strips.append(self._strips(index, op, config))
        return plan

    # -- residents -----------------------------------------------------------------------------------------

    def _rows(self, name):
        """Rows of a storage that this board holds: (first, end)."""
        if name not in self.held:
            self.held[name] = self._find_rows(name)
        return self.held[name]

    def _find_rows(self, name):
        held = (self.needed[name][self.board] | self.produced[name][self.board]).any(axis=0)
        for index in self.writers.get(name, []):
            if not self.parts[index].empty:
                held[rows_written(self.network.ops[index], self.parts[index])] = True
        rows = np.flatnonzero(held)
        return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)

    def _place_residents(self):
        aliases = self._aliases()
        groups = {}
        for name in self.storages:
            if name not in self.plan.in_dram:
                root = name
                while root in aliases:
                    root = aliases[root]
                groups.setdefault(root, []).append(name)
        sizes = {root: self._words(root) for root in groups}
        for root in sorted(groups, key=lambda root: -sizes[root]):
            first = min(self.first[name] for name in groups[root])
            last = max(self.last[name] for name in groups[root])
            base = self._place(sizes[root], first, last, root)
            for name in groups[root]:
                storage = self.storages[name]
                low, high = self._rows(name)
                self.plan.views[name] = View(base, low, high - low, storage.width, 0, storage.groups)

    def _words(self, name):
        low, high = self._rows(name)
        return (high - low) * self.storages[name].width * self.storages[name].groups

    def _aliases(self):
        """Results of element-wise operations that may take the place of an operand that is used no more."""
        aliases = {}
        taken = set()
        writers, users = self.writers, self.users
        for index, op in enumerate(self.network.ops):
            name = op.output.storage.name
            if not op.spec.works_in_place or len(writers[name]) > 1:
                continue
            for place in op.inputs:
                source = place.storage.name
                dead = self.last[source] == index + 1 and source not in self.stored and source not in taken
                same = self._rows(source) == self._rows(name) and place.storage.groups == op.output.storage.groups
                resident = source not in self.plan.in_dram and name not in self.plan.in_dram
                others = [i for i in users.get(source, []) if i != index]
                read = all(i <= self.after[index] for i in others)
                if dead and same and resident and read and place.storage.width == op.output.storage.width:
                    aliases[name] = source
                    taken.add(source)
                    break
        return aliases

    def largest_resident(self):
        """The largest storage in the buffer that is alive where placement failed; None if there is none."""
        first, last = self.failed_at
        alive = [
            name
            for name in self.storages
            if name not in self.plan.in_dram
            and self.first[name] <= last
            and first <= self.last[name]
            and self._words(name) > self.config.acc_words
        ]
        return max(alive, key=self._words, default=None)

    # -- storages in DRAM ----------------------------------------------------------------------------------

    def _place_slots(self):
        for index, op in enumerate(self.network.ops):
            name = op.output.storage.name
            if name not in self.plan.in_dram:
                continue
            words = self.config.acc_words // 2
            base = self._place(SLOTS * words, index + 1, index + 1, f"{op.name}: slots")
            self.plan.slots[index] = [base + words * i for i in range(SLOTS)]
            foreign = (self.needed[name][self.board] & ~self.produced[name][self.board]).any(axis=0)
            rows = np.flatnonzero(foreign)
            if len(rows) and name not in self.plan.inboxes:
                storage = op.output.storage
                low, high = int(rows[0]), int(rows[-1]) + 1
                words = (high - low) * storage.width * storage.groups
                last = max(self.writers[name]) + 1
                base = self._place(words, index + 1, last, f"{name}: inbox")
                self.plan.inboxes[name] = View(base, low, high - low, storage.width, 0, storage.groups)

    def _strips(self, index, op, config):
        """Strips of an op, with stages for its inputs in DRAM."""
        part = self.parts[index]
        if part.empty:
            return []
        most = config.acc_words // 2
        if op.is_conv:
            chunks = chunks_of(op, part, most)
        else:
            rows = max(1, min(most, VECTOR_TASK // word_cycles(op)) // op.grid[1])
            chunks = [
                Chunk(row, min(row + rows, part.row1), 0, op.grid[1]) for row in range(part.row0, part.row1, rows)
            ]
        staged = {p.storage.name: p.storage for p in op.inputs if p.storage.name in self.plan.in_dram}
        if not staged:
            return [Strip(part.row0, part.row1, tuple(chunks))]
        per_row = sum(s.width * s.groups for s in staged.values())

        def words(row0, row1):
            low, high = op.input_rows(row0, row1)
            return (high - low) * per_row

        least = max(words(c.row0, c.row1) for c in chunks)
        limit = max(least, config.act_words // 16)
        count = STAGES
        while True:
            strips = strips_of(chunks, lambda row0, row1, most=limit: words(row0, row1) <= most)
            size = max(words(s.row0, s.row1) for s in strips)
            try:
                base = self._place(count * size, index + 1, index + 1, f"{op.name}: stages")
                break
            except DoesNotFit:
                if count > 2:
                    count -= 1
                elif limit > least:
                    limit = max(least, limit // 2)
                else:
                    raise
        for name, storage in staged.items():
            share = size * storage.width * storage.groups // per_row
            self.plan.stages[index, name] = [base + size * number for number in range(count)]
            base += share
        return strips


def params_region(address, words=PARAM_WORDS):
    """Word addresses of a parameter block."""
    return np.arange(address, address + words)
