"""SEND and the link (``superlip.rtl.send``, ``link/``): frames, credits, remote writes and posts."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from superlip.boards import Target
from superlip.rtl.isa import Memory
from superlip.rtl.link.frame import FrameSizes
from superlip.rtl.send import FRAMES

from .banks import MatrixReads, Use, Uses
from .clock import Clock, Process, Signal
from .instructions import Instruction
from .issue import Issue

__all__ = ["Link", "Send", "frames_of"]

READ = 3
"""Cycles from the last word's read to the frame that can go: the buffer's latency and a count."""
PIPELINE = 2
"""Registers of the transmitter."""
VERDICT = 1
"""Cycles from the last flit to its verdict."""
WRITE = 2
"""Cycles from the verdict to the first write."""
AT_ONCE = 16
"""Words written before VECTOR is looked at again: what it writes is known that long before."""


@dataclass(slots=True, eq=False)
class _Frame:
    words: int
    ready: int
    """The first cycle in which it may go."""
    instruction: Instruction | None
    """That is done with it."""
    post: tuple[int, int] | None
    """(unit, counter) of a remote post."""
    memory: int
    remote: int
    """Where its words go."""


@dataclass(slots=True)
class Cut:
    """A frame of a SEND instruction: words, from and to where; ``elsewhere``: it ends as the next word goes there."""

    words: int
    local: int
    remote: int
    elsewhere: bool = False


def frames_of(body: dict[str, int], longest: int) -> list[Cut]:
    """Frames of a SEND instruction: words that follow each other at the destination, up to the longest frame."""
    if body["count0"] == 0:
        return [Cut(0, 0, 0)]
    frames: list[Cut] = []
    for plane in range(body["count2"]):
        for row in range(body["count1"]):
            remote = body["remote"] + plane * body["remote_stride2"] + row * body["remote_stride1"]
            local = body["local"] + plane * body["local_stride2"] + row * body["local_stride1"]
            left = body["count0"]
            while left:
                last = frames[-1] if frames else None
                if last is None or last.words == longest or last.remote + last.words != remote:
                    if last is not None and last.words < longest:
                        last.elsewhere = True
                    last = Cut(0, local, remote)
                    frames.append(last)
                part = min(left, longest - last.words)
                last.words += part
                local, remote, left = local + part, remote + part, left - part
    return frames


class Link:
    """One direction of a link: the transmitter of a node, the wire, and the receiver at the other side."""

    def __init__(self, clock: Clock, target: Target) -> None:
        self.clock, node = clock, target.node
        sizes = FrameSizes(node)
        self.cycles_per_flit = max(1.0, node.link_bytes / target.link.bytes_per_cycle)
        self.header, self.word = sizes.header_flits, sizes.word_flits
        self.wire = target.link.latency
        self.queue: deque[_Frame] = deque()
        self.held: deque[tuple[int, int]] = deque(maxlen=FRAMES + 2)
        """(words that had left, cycle) at the end of the last frames."""
        self.words = 0
        self.changed, self.left = Signal(), Signal()
        self.credits: deque[int] = deque([-1] * node.frame_slots)
        """Cycles from which on a frame may go, each for one."""
        self.announce: int | None = None
        """Slots were freed at this side's receiver; said from this cycle on."""
        self.told: list[int] = []
        self.back: Link | None = None
        """The other direction."""
        self.issues: list[Issue] = []
        """Of the node at the other side."""
        self.done: Callable[[Instruction], None] | None = None
        self.writes = Uses()
        """Of the node at the other side."""
        self.written = [Uses() for _ in Memory]
        """What comes over this link, by memory of the other side."""
        self.bank_words = [node.act_words // node.act_banks, node.weight_words // node.weight_banks]
        self.frames: deque[tuple[int, _Frame]] = deque()
        self.came = Signal()
        clock.begin(self._transmit())
        clock.begin(self._writer())

    def put(self, frame: _Frame) -> None:
        self.queue.append(frame)
        self.clock.give(self.changed)

    def free(self, cycle: int) -> None:
        """This side's receiver has emptied a slot: the other side is to know."""
        if self.announce is None:
            self.announce = cycle
        self.told.append(cycle)
        self.clock.give(self.changed)

    def _transmit(self) -> Process:
        idle = 0.0
        while True:
            while not self.queue and self.announce is None:
                yield self.changed
            frame = self.queue[0] if self.queue else None
            sends = [] if self.announce is None else [self.announce]
            if frame is not None and self.credits:
                begin = max(idle, frame.ready, self.credits[0])
                data = not sends or begin <= max(idle, sends[0])
            elif sends:
                begin, data = 0.0, False
            else:
                yield self.changed
                continue
            if not data:
                begin = max(idle, sends[0])
            begin = -int(-begin // 1)
            if begin > self.clock.now:
                yield begin
                continue
            idle = self._send(begin, frame if data else None)

    def _send(self, begin: int, frame: _Frame | None) -> float:
        """A frame that begins in a cycle, without one only the credits; returns when the next may begin."""
        said, self.told, self.announce = len([t for t in self.told if t <= begin]), [], None
        words = frame.words if frame is not None else 0
        flits = self.header + words * self.word
        taken = begin + int((flits - 1) * self.cycles_per_flit)
        arrival = begin + PIPELINE + int(flits * self.cycles_per_flit) + self.wire
        if said:
            self.clock.at(arrival + VERDICT, self._hear, said)
        if frame is not None:
            self.credits.popleft()
            self.queue.popleft()
            self.words += words
            self.clock.at(taken, self._taken, frame, self.words)
            self.clock.at(arrival + VERDICT, self._write, frame)
        return begin + (flits + 1) * self.cycles_per_flit

    def _taken(self, frame: _Frame, words: int) -> None:
        self.held.append((words, self.clock.now))
        if frame.instruction is not None and self.done is not None:
            self.done(frame.instruction)
        self.clock.give(self.left)

    def _hear(self, number: int) -> None:
        """Credits from the other side: its transmitter's frames bring them to ours."""
        assert self.back is not None
        self.back.credits.extend([self.clock.now + 1] * number)
        self.clock.give(self.back.changed)

    def _write(self, frame: _Frame) -> None:
        self.frames.append((self.clock.now + WRITE, frame))
        self.clock.give(self.came)

    def _writer(self) -> Process:
        """At the other side: writes frames one behind the other, where VECTOR leaves the bank to it."""
        free = -1
        while True:
            while not self.frames:
                yield self.came
            cycle, frame = self.frames.popleft()
            cycle, left, at = max(cycle, free), frame.words, frame.remote
            while left:
                part = min(left, AT_ONCE)
                if cycle > self.clock.now:
                    yield cycle
                bank, begin = 1 << at // self.bank_words[frame.memory], cycle
                if frame.memory == Memory.ACT:
                    cycle = self.writes.behind(bank, cycle, part)
                else:
                    cycle += part
                self.written[frame.memory].last.append(Use(max(begin, cycle - part), cycle, 1, [bank]))
                left, at = left - part, at + part
            self.clock.at(max(cycle, self.clock.now), self._written, frame)
            free = cycle + 2

    def _written(self, frame: _Frame) -> None:
        now = self.clock.now
        if frame.post is not None:
            unit, counter = frame.post
            self.issues[unit].post(counter, now + 1)
        assert self.back is not None
        self.back.free(now + 1)


class Send:
    """Reads words, frame by frame, as far ahead of the link as its buffer has places."""

    def __init__(self, clock: Clock, target: Target, issue: Issue, link: Link, matrix: MatrixReads) -> None:
        self.clock, self.node, self.issue, self.link, self.matrix = clock, target.node, issue, link, matrix
        self.places = target.node.send_words
        self.given = 0
        clock.begin(self._copies())

    def _copies(self) -> Process:
        free = -1
        while True:
            instruction = yield from self.issue.take(free)
            body = instruction.body
            post = (body["remote_unit"], body["remote_counter"]) if body["remote_post"] else None
            cycle = instruction.taken + (2 if body["count0"] else 1)  # of the next read
            frames = frames_of(body, self.node.frame_words)
            for number, cut in enumerate(frames):
                last = number == len(frames) - 1
                while len(self.link.queue) >= FRAMES:
                    yield self.link.left
                    cycle = max(cycle, self.clock.now + 1)
                self.given += cut.words
                while self.link_left() < self.given - self.places:
                    yield self.link.left
                cycle = max(cycle + cut.words - 1, self._left_at(self.given - self.places) + 1)
                closed = max(cycle, instruction.taken + 1) + cut.elsewhere
                if closed > self.clock.now:
                    yield closed
                if body["memory"] == Memory.ACT and cut.words:
                    self.matrix.taken(self.matrix.bank(cut.local), cycle - cut.words + 1, cycle + 1)
                self.link.put(
                    _Frame(
                        cut.words, closed + READ, instruction if last else None, post if last else None,
                        body["remote_memory"], cut.remote,
                    )
                )  # fmt: skip
                cycle = closed + 1
            free = cycle

    def link_left(self) -> int:
        """Words that the link has taken of frames that are complete."""
        return self.link.held[-1][0] if self.link.held else 0

    def _left_at(self, words: int) -> int:
        for number, cycle in self.link.held:
            if number >= words:
                return cycle - int((number - words) * self.link.word * self.link.cycles_per_flit)
        return -1
