"""Who reads which bank when: what MATMUL takes of the activation buffer and of the accumulators."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from superlip.rtl.config import PATIENCE, NodeConfig

from .instructions import Instruction

__all__ = ["Job", "MatrixReads", "Use", "Uses"]

_Interval = tuple[int, int, int]
"""Cycles [first, end) of a pass in which a bank is read, and the bit of the bank."""


@dataclass(slots=True, eq=False)
class Job:
    """A MATMUL instruction in work.

    ``spans`` are its passes so far: (cycle of the first one's first pixel, how many, cycles from one to the next).
    """

    instruction: Instruction
    pixels: int
    sets: int
    done: int = 0
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    intervals: dict[int, list[_Interval]] = field(default_factory=dict)

    @classmethod
    def of(cls, instruction: Instruction) -> "Job":
        """Of an instruction: no pass of it has begun."""
        body = instruction.body
        row = body["cols"] + (1 << body["fold"]) - 1
        return cls(instruction, body["rows"] * row, body["n_tiles"] * body["kh"] * body["kw"])


class MatrixReads:
    """The last MATMUL instructions, as far as their passes are laid down: up to cycle ``known``.

    ``lost`` counts reads that others have taken from MATMUL and that no pass has felt yet.
    """

    def __init__(self, node: NodeConfig, acc_delay: int) -> None:
        self.depth = node.act_words // node.act_banks
        self.half = node.acc_words // 2
        self.acc_delay = acc_delay
        self.jobs: deque[Job] = deque(maxlen=4)
        self.known = -1
        self.lost = 0

    def bank(self, address: int) -> int:
        """The bit of a word's bank of the activation buffer."""
        return 1 << address // self.depth

    def reads(self, mask: int, cycle: int, number: int) -> tuple[int, int]:
        """Reads of the banks in ``mask`` by somebody who comes after MATMUL, one in each free cycle.

        Returns the cycle behind the last of ``number`` reads and 0, or ``known`` and how many are left.
        """
        now = cycle
        for first, end, _ in self._busy(mask, cycle):
            if first > now:
                if first - now >= number:
                    return now + number, 0
                number -= first - now
                now = first
            if end <= now:
                continue
            turn = now + (PATIENCE // 2 - now) % PATIENCE
            while turn < end:  # its turn: MATMUL waits
                self.lost += 1
                number -= 1
                if not number:
                    return turn + 1, 0
                turn += PATIENCE
            now = end
        if now + number <= self.known:
            return now + number, 0
        left = number - max(0, self.known - now)
        return max(now, self.known), left

    def taken(self, mask: int, cycle: int, end: int) -> None:
        """Somebody who comes before MATMUL has read banks in each cycle from ``cycle`` to ``end`` - 1."""
        for first, behind, _ in self._busy(mask, cycle):
            if first >= end:
                break
            self.lost += min(behind, end) - max(first, cycle)

    def sums(self, half: int, cycle: int, number: int) -> tuple[int, int]:
        """As ``reads``, of a half of the accumulators: while MATMUL adds to a word there, nobody else reads it."""
        now, known = cycle, self.known + self.acc_delay
        for job in self.jobs:
            if (job.instruction.body["acc"] >= self.half) != half:
                continue
            index = 0
            for first, count, period in job.spans:
                for each in range(count):
                    begin = first + each * period + self.acc_delay
                    adds, index = index > 0 or job.instruction.body["accumulate"], index + 1
                    if not adds or begin + job.pixels <= now:
                        continue
                    if begin - now >= number:
                        return now + number, 0
                    number -= max(0, begin - now)
                    now = begin + job.pixels
        if now + number <= known:
            return now + number, 0
        return max(now, known), number - max(0, known - now)

    def _busy(self, mask: int, cycle: int) -> Iterator[_Interval]:
        for job in self.jobs:
            index = 0
            for first, count, period in job.spans:
                if first + count * period > cycle:
                    skip = max(0, (cycle - first) // period)
                    for each in range(skip, count):
                        start = first + each * period
                        for begin, end, bit in self._intervals(job, index + each):
                            if bit & mask and start + end > cycle:
                                yield start + begin, start + end, bit
                index += count

    def _intervals(self, job: Job, index: int) -> list[_Interval]:
        """Of a pass: rows that follow each other without padding are one."""
        if index not in job.intervals:
            job.intervals[index] = list(self._rows(job, index))
        return job.intervals[index]

    def _rows(self, job: Job, index: int) -> Iterator[_Interval]:
        body = job.instruction.body
        n, window = divmod(index, body["kh"] * body["kw"])
        ky, kx = divmod(window, body["kw"])
        length = body["cols"] + (1 << body["fold"]) - 1
        x, y = body["x0"] + kx * body["dilation_x"], body["y0"] + ky * body["dilation_y"]
        left, right = _inside(x, body["stride_x"], body["width"], length)
        top, bottom = _inside(y, body["stride_y"], body["height"], body["rows"])
        if left >= right:
            return
        step = body["stride_y"] * body["pitch"]
        address = body["act"] + n * body["plane"] + y * body["pitch"] + x + left * body["stride_x"]
        row = top
        while row < bottom:
            bank = (address + row * step) // self.depth
            behind = min(bottom, -(-((bank + 1) * self.depth - address) // step)) if step else bottom
            behind = max(behind, row + 1)
            if left == 0 and right == length:
                yield row * length, behind * length, 1 << bank
            else:
                for each in range(row, behind):
                    yield each * length + left, each * length + right, 1 << bank
            row = behind


@dataclass(slots=True, eq=False)
class Use:
    """What a unit reads or writes of a buffer: from ``first`` up to ``end`` a word every ``every`` cycles.

    ``rows`` are the banks of its rows, which take as long as each other.
    """

    first: int
    end: int
    every: int
    rows: list[int]

    def busy(self, mask: int, cycle: int) -> tuple[int, int] | None:
        """Cycles from ``cycle`` on in which it is at some banks: [first, end)."""
        if self.end <= cycle:
            return None
        length = (self.end - self.first) / len(self.rows)
        at = max(0, min(len(self.rows) - 1, int((cycle - self.first) / length)))
        while at < len(self.rows) and not self.rows[at] & mask:
            at += 1
        behind = at
        while behind < len(self.rows) and self.rows[behind] & mask:
            behind += 1
        if behind == at:
            return None
        return max(cycle, self.first + int(at * length)), self.first + int(behind * length)


class Uses:
    """What a unit has read, or written, of late, and will."""

    def __init__(self) -> None:
        self.last: deque[Use] = deque(maxlen=16)

    def behind(self, mask: int, cycle: int, number: int) -> int:
        """The cycle behind the last of ``number`` words of somebody who comes after this unit, one a free cycle."""
        now = cycle
        for use in self.last:
            if use.end <= now:
                continue
            while number and (busy := use.busy(mask, now)) is not None:
                first, end = busy
                if first - now >= number:
                    return now + number
                number -= first - now
                free = (end - first) * (use.every - 1) // use.every + (end - first) // PATIENCE
                if free >= number:
                    return first + number * (end - first) // max(1, free)
                now, number = end, number - free
        return now + number


def _inside(start: int, stride: int, size: int, count: int) -> tuple[int, int]:
    """Which of ``count`` positions from ``start`` on are in [0, size): [first, end)."""
    first = max(0, -(start // stride))
    return first, max(first, min(count, (size - 1 - start) // stride + 1))
