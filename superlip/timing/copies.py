"""LOAD and STORE (``superlip.rtl.load``, ``store``, ``copy_address``): bursts on all ports, words of the buffers."""

from collections import deque
from collections.abc import Callable, Generator

from superlip.rtl.config import DRAM_ADDRESS_BITS, PAGE, NodeConfig
from superlip.rtl.isa import Memory
from superlip.rtl.load import stage_words

from .banks import MatrixReads, Uses
from .clock import Clock, Process, Signal, Wait
from .dram import Dram
from .instructions import Instruction
from .issue import Issue

__all__ = ["Load", "Store", "bursts_of"]

SPLIT = 2
"""Cycles from a row to its first burst."""
ADDRESS = 3
"""Cycles from a burst that may go to its address at the memory: StripedAddress, ReadMux (port 0) and IsolateRead."""
AHEAD_ROWS = 4
"""Rows that STORE has looked at and not begun to read."""
AT_ONCE = 8
"""Words that STORE reads before the others are looked at again."""
_WORDS = 1 << DRAM_ADDRESS_BITS


def bursts_of(body: dict[str, int], node: NodeConfig) -> tuple[int, list[list[int]]]:
    """Cycles that MergeRows takes for a copy, and the words of the bursts of its rows, in order."""
    count0, count1, count2 = body["count0"], body["count1"], body["count2"]
    stride1, stride2 = body["dram_stride1"], body["dram_stride2"]
    start, cycles = body["dram"] % _WORDS, 1
    merging = count1 != 1 or count2 != 1
    while merging:
        cycles += 2
        if count1 != 1 and count0 != stride1:
            break
        merging = count2 != 1
        count0, count1, stride1, count2 = count0 * count1, count2, stride2, 1
    page, longest = PAGE // node.axi_bytes, node.axi_burst_beats
    rows = []
    for plane in range(count2):
        for row in range(count1):
            at, left = start + plane * stride2 + row * stride1, count0
            bursts: list[int] = []
            rows.append(bursts)
            while left:
                beats = min(left, longest, page - at % page)
                bursts.append(beats)
                at, left = at + beats, left - beats
    return cycles, rows


def _words(body: dict[str, int]) -> int:
    return body["count0"] * body["count1"] * body["count2"]


class Load:
    """The address side runs ahead of the words, as far as places for them are free and bursts may be under way."""

    def __init__(
        self, clock: Clock, node: NodeConfig, dram: Dram, issue: Issue, done: Callable[[Instruction], None]
    ) -> None:
        self.clock, self.node, self.dram, self.issue, self.done = clock, node, dram, issue, done
        self.changed = Signal()
        self.copies: deque[tuple[Instruction, int]] = deque()
        """Copies whose words have not all come, and how many bursts they still have."""
        self.under_way = 0
        self.asked = 0
        self.stepped = 0
        self.steps: deque[tuple[int, int]] = deque(maxlen=4)
        """(words that had moved, cycle of the last) at the end of bursts."""
        self.last_step = -1
        self.moved = 0
        """Words of the first copy that have moved."""
        self.others: list[list[Uses]] = [[], []]
        """Who writes before LOAD, by memory."""
        self.bank_words = [node.act_words // node.act_banks, node.weight_words // node.weight_banks]
        self.last_end = -1
        self.waiting: deque[tuple[int, list[list[int]]]] = deque()
        """The copy in CopyRows: when it came, and its rows."""
        self.last_row = -1
        self.runs: deque[tuple[int, list[int]]] = deque()
        """The row in the splitter."""
        self.run_left = -1
        self.merged, self.placed, self.split, self.shown = (Signal() for _ in range(4))
        clock.begin(self._take())
        clock.begin(self._rows())
        clock.begin(self._addresses())

    def _take(self) -> Process:
        """A copy goes to MergeRows when the one before it has gone to CopyRows, where it waits for its last row."""
        free = -1
        while True:
            instruction = yield from self.issue.take(free)
            taken, body = instruction.taken, instruction.body
            free = taken + 1
            if body["fill"]:
                self.copies.append((instruction, 0))
                self._fill()
                continue
            merge, rows = bursts_of(body, self.node)
            self.copies.append((instruction, sum(map(len, rows))))
            while self.waiting:
                yield self.placed
            ready = max(taken + merge, self.last_row)
            self.waiting.append((ready, rows))
            self.clock.give(self.merged)
            free = ready + 1

    def _rows(self) -> Process:
        """Rows go from CopyRows to the splitter, one at a time: when the last burst of the one before has left it."""
        row_taken = -1
        while True:
            while not self.waiting:
                yield self.merged
            ready, rows = self.waiting[0]
            row_taken = max(row_taken, ready)
            for number, bursts in enumerate(rows):
                while self.runs:
                    yield self.split
                row_taken = max(row_taken + 1, self.run_left)
                self.runs.append((row_taken, bursts))
                if number == len(rows) - 1:
                    self.last_row = row_taken
                    self.waiting.popleft()
                    self.clock.give(self.placed)
                self.clock.give(self.shown)

    def _addresses(self) -> Process:
        node, room = self.node, stage_words(self.node)
        issued = shown = -1
        while True:
            while not self.runs:
                yield self.shown
            row_taken, bursts = self.runs[0]
            for index, words in enumerate(bursts):
                shown = cycle = max(shown + 1 if index else row_taken + SPLIT, issued + 1)
                if index == len(bursts) - 1:
                    self.run_left = shown - 1
                    self.runs.popleft()
                    self.clock.give(self.split)
                while self.under_way == node.axi_outstanding or self.asked + words - self.stepped > room:
                    yield self.changed
                    cycle = max(cycle, self.last_end + 1)
                if self.asked + words > room:
                    cycle = max(cycle, self._stepped_at(self.asked + words - room) + 1)
                if cycle > self.clock.now:
                    yield cycle
                issued = cycle
                self.asked += words
                self.under_way += 1
                self.dram.read(cycle + ADDRESS, words, self._arrival(words))

    def _stepped_at(self, words: int) -> int:
        """When so many words had gone to their buffer: between the ends of bursts one a cycle."""
        cycle = 0
        for number, last in self.steps:
            if number >= words:
                return last - (number - words)
            cycle = last
        return cycle

    def _arrival(self, words: int) -> Callable[[int], None]:
        def arrive(last: int) -> None:
            self.under_way -= 1
            self.last_end = last
            self.last_step = max(last + 2, self._written(words, max(self.last_step + 1, last + 3 - words)) - 1)
            self.stepped += words
            self.steps.append((self.stepped, self.last_step))
            instruction, left = self.copies.popleft()
            if left > 1:
                self.copies.appendleft((instruction, left - 1))
            else:
                self.clock.at(self.last_step + 2, self.done, instruction)
                self._fill()
            self.clock.give(self.changed)

        return arrive

    def _written(self, words: int, cycle: int) -> int:
        """The cycle behind the last of the next words, which are written from a cycle on as others leave the bank."""
        body, late = self.copies[0][0].body, 0
        plane, row = divmod(self.moved // body["count0"], body["count1"])
        local = body["local"] + plane * body["local_stride2"] + row * body["local_stride1"]
        bank = 1 << (local + self.moved % body["count0"]) // self.bank_words[body["memory"]]
        for others in self.others[body["memory"]]:
            late += others.behind(bank, cycle, words) - cycle - words
        self.moved = 0 if self.copies[0][1] == 1 else self.moved + words
        return cycle + words + late

    def _fill(self) -> None:
        """Fills whose turn it is: a word a cycle."""
        while self.copies and self.copies[0][1] == 0:
            instruction, _ = self.copies.popleft()
            words = _words(instruction.body)
            self.last_step = max(self.last_step, instruction.taken + 2) + words
            self.clock.at(self.last_step + 2, self.done, instruction)


class Store:
    """Words are read a cycle each; a burst is announced when the rows with its words have been looked at."""

    def __init__(
        self,
        clock: Clock,
        node: NodeConfig,
        dram: Dram,
        issue: Issue,
        before: tuple[MatrixReads, Uses],
        done: Callable[[Instruction], None],
    ) -> None:
        self.clock, self.node, self.dram, self.issue, self.done = clock, node, dram, issue, done
        self.matrix, self.vector = before
        self.changed = Signal()
        self.under_way = 0
        self.last_answer = -1
        clock.begin(self._copies())

    def _copies(self) -> Process:
        node = self.node
        free = announced = last_read = -1
        while True:
            instruction = yield from self.issue.take(free)
            taken, body = instruction.taken, instruction.body
            merge, placed = bursts_of(body, node)
            bursts = [words for row in placed for words in row]
            free = taken + merge + 1
            shown = max(taken + merge + 1 + SPLIT, announced + 1)
            first_read = max(taken + 4, last_read + 1)
            row, read, last_read = body["count0"], 0, first_read - 1
            for number, words in enumerate(bursts):
                # Rows that must have been read before it is announced.
                ahead = -(-(read + words) // row) - AHEAD_ROWS - 2
                shown = max(shown, first_read - 1, last_read + 1 + ahead * row - read if ahead > 0 else 0)
                last_read = (yield from self._read(body, read, words, last_read + 1)) - 1
                read += words
                while self.under_way == node.axi_outstanding:
                    yield self.changed
                    shown = max(shown, self.last_answer + 1)
                if shown > self.clock.now:
                    yield shown
                self.under_way += 1
                announced = shown
                first_word = max(announced + 3, last_read - words + 6)
                self.dram.write(first_word, words, self._answer(instruction if number == len(bursts) - 1 else None))
                shown += 1

    def _read(self, body: dict[str, int], at: int, number: int, cycle: int) -> Generator[Wait, None, int]:
        """Read words from number ``at`` of a copy on, where MATMUL and VECTOR leave the bank; the cycle behind them."""
        if body["memory"] != Memory.ACT:
            return cycle + number
        while number:
            plane, row = divmod(at // body["count0"], body["count1"])
            local = body["local"] + plane * body["local_stride2"] + row * body["local_stride1"] + at % body["count0"]
            bank, part = self.matrix.bank(local), min(number, AT_ONCE)
            if cycle > self.clock.now:
                yield cycle
            end = self.vector.behind(bank, cycle, part)
            last, left = self.matrix.reads(bank, cycle, part)
            if left and last > cycle:
                yield last
                at, number, cycle = at + part - left, number - part + left, max(last, end - left)
                continue
            cycle = max(end, last + left)
            at, number = at + part, number - part
        return cycle

    def _answer(self, instruction: Instruction | None) -> Callable[[int], None]:
        def answer(cycle: int) -> None:
            self.clock.at(cycle + 1, self._retire, instruction)

        return answer

    def _retire(self, instruction: Instruction | None) -> None:
        self.under_way -= 1
        self.last_answer = self.clock.now
        if instruction is not None:
            self.clock.at(self.clock.now + 1, self.done, instruction)
        self.clock.give(self.changed)
