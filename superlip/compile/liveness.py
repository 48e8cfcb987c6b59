"""A proof, for the programs of one compilation, that every instruction runs: no deadlock, no counter overflows.

The programs are executed in the abstract: counters, queues and the order of things, no data, no time. One execution is
enough, because nothing in a node chooses:

* a counter has one poster and one taker, a queue one writer (FETCH) and one reader, a weight set one place, so what may
  go on stays able to until it does, whatever else happens first;
* therefore two executions differ only in the order of steps, and if one ends with all done, none can stop before (such
  a net of places and transitions is called conflict-free, or persistent).

What this machine forbids beyond the hardware (one instruction of a unit at a time, FEED done only when its last set
of weights is loaded) can only make it stop earlier: if it ends, so does the hardware.

The links can't hold anything up for ever: a receiver writes its frames whatever the units do, and gives their slots
back (`superlip.rtl.link`); a bank serves each port within a bound. Both are proved of the RTL, not here.

In the same pass each unit carries a vector clock: what of the other units is complete, for certain, when it goes on.
A post finds its counter at most as full as the posts before it, less what is certainly taken.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from superlip.rtl.config import NodeConfig
from superlip.rtl.counters import COUNTER_BITS
from superlip.rtl.isa import COUNTERS, INSTRUCTION_BYTES, LINK_SOURCES, Opcode, Unit, decode

__all__ = ["Liveness", "LivenessError", "prove_liveness"]

UNITS = len(Unit)
MOST_POSTS = (1 << COUNTER_BITS) - 1


class LivenessError(ValueError):
    """Programs that stop before their end, or overflow a counter; says who waits for what."""


@dataclass(frozen=True)
class Liveness:
    """What was proved of some programs.

    Parameters
    ----------
    instructions : int
        All of which run to their end, on all boards, whatever the order.
    largest_count : int
        No counter ever holds more posts; a counter has room for ``most_posts``.
    """

    instructions: int
    largest_count: int
    most_posts: int = MOST_POSTS


@dataclass(slots=True)
class _Instruction:
    """What of an instruction matters: ``waits`` as (counter, number), ``posts`` as units, sets of weights."""

    unit: int
    tag: int
    waits: list[tuple[int, int]]
    posts: list[int]
    sets: int
    remote: tuple[int, int, int] | None
    """(board, unit, counter) of a post over a link."""


def _read(program: bytes) -> list[_Instruction]:
    """Instructions of a program, END left out."""
    result: list[_Instruction] = []
    for at in range(0, len(program), INSTRUCTION_BYTES):
        opcode, header, body = decode(program[at : at + INSTRUCTION_BYTES])
        if opcode is Opcode.END:
            return result
        remote = None
        if opcode is Opcode.SEND and body["remote_post"]:
            remote = body["node"], body["remote_unit"], body["remote_counter"]
        waits = [(s, header[f"wait_{s}"]) for s in range(COUNTERS) if header[f"wait_{s}"]]
        posts = [unit for unit in range(UNITS) if header["post"] >> unit & 1]
        sets = 0
        if opcode is Opcode.FEED:
            sets = body["sets"]
        elif opcode is Opcode.MATMUL:
            sets = body["n_tiles"] * body["kh"] * body["kw"]
        result.append(_Instruction(int(opcode), header["tag"], waits, posts, sets, remote))
    raise LivenessError("a program has no END")


class _Counter:
    """Posts that wait, each with the clock of its poster; ``made`` and ``taken`` count all that ever were."""

    __slots__ = ("clocks", "made", "poster", "taken")

    def __init__(self) -> None:
        self.poster: int | None = None
        """The board that posts."""
        self.clocks: deque[list[int]] = deque()
        self.made = 0
        self.taken = [0]
        """After each instruction of the taker: how many posts it and those before it took."""


class _Board:
    def __init__(self, boards: int) -> None:
        self.stream: list[_Instruction] = []
        self.fetched = 0
        self.queues: list[deque[_Instruction]] = [deque() for _ in range(UNITS)]
        self.counters = [[_Counter() for _ in range(COUNTERS)] for _ in range(UNITS)]
        self.clocks = [[0] * (boards * UNITS) for _ in range(UNITS)]
        """For each unit: how many instructions of every unit of every board are complete when it goes on."""
        self.started: list[_Instruction | None] = [None] * UNITS
        self.fed = self.used = 0  # weight sets that FEED may have loaded and MATMUL may have used
        self.feed_end = self.matmul_end = 0  # the same when what has started is complete

    @property
    def done(self) -> bool:
        return self.fetched == len(self.stream) and not any(self.queues) and not any(self.started)


class _Machine:
    """The boards of a cluster; a step is: fetch one, start one or complete one instruction."""

    def __init__(self, config: NodeConfig, boards: int) -> None:
        self.config = config
        self.boards = [_Board(boards) for _ in range(boards)]
        self.largest = 0

    def run(self, programs: Sequence[Sequence[_Instruction]]) -> None:
        """One program a board, to the end of all."""
        complete = [
            board.clocks[u][number * UNITS + u] for number, board in enumerate(self.boards) for u in range(UNITS)
        ]
        for board, stream in zip(self.boards, programs, strict=True):
            board.stream, board.fetched = list(stream), 0
            board.clocks = [complete.copy() for _ in range(UNITS)]  # the host has seen all programs before end
        moved = True
        while moved:
            moved = False
            for number, board in enumerate(self.boards):
                moved |= self._fetch(board)
                for unit in range(UNITS):
                    while self._advance(number, board, unit):
                        moved = True
        if any(not board.done for board in self.boards):
            raise LivenessError("the programs stop before their end: " + "; ".join(self._stuck()))

    def _fetch(self, board: _Board) -> bool:
        """Instructions go to the queues, in order, until one finds its queue full."""
        first = board.fetched
        while board.fetched < len(board.stream):
            instruction = board.stream[board.fetched]
            if len(board.queues[instruction.unit]) >= self.config.queue_depth:
                break
            board.queues[instruction.unit].append(instruction)
            board.fetched += 1
        return board.fetched > first

    def _advance(self, number: int, board: _Board, unit: int) -> bool:
        """Start or complete the next instruction of a unit, if it can be."""
        instruction = board.started[unit]
        if instruction is None:
            if not board.queues[unit]:
                return False
            head = board.queues[unit][0]
            if any(len(board.counters[unit][s].clocks) < count for s, count in head.waits):
                return False
            board.queues[unit].popleft()
            self._take(board, unit, head)
            board.started[unit] = head
            return True
        if not self._has_weights(board, unit):
            return False
        board.started[unit] = None
        board.clocks[unit][number * UNITS + unit] += 1
        for to in instruction.posts:
            self._post(board, to, unit, board.clocks[unit], number, number)
        if instruction.remote is not None:
            to, remote_unit, counter = instruction.remote
            if to >= len(self.boards) or remote_unit >= UNITS or counter not in LINK_SOURCES:
                raise LivenessError(
                    f"board {number} SEND (tag {instruction.tag}) posts to board {to}, unit {remote_unit}, "
                    f"counter {counter}: there is none"
                )
            self._post(self.boards[to], remote_unit, counter, board.clocks[unit], to, number)
        return True

    def _take(self, board: _Board, unit: int, head: _Instruction) -> None:
        clock = board.clocks[unit]
        waits = dict(head.waits)
        for source, counter in enumerate(board.counters[unit]):
            count = waits.get(source, 0)
            for _ in range(count):
                clock[:] = map(max, clock, counter.clocks.popleft())
            counter.taken.append(counter.taken[-1] + count)
        if unit == Unit.FEED:
            board.feed_end += head.sets
        elif unit == Unit.MATMUL:
            board.matmul_end += head.sets

    def _has_weights(self, board: _Board, unit: int) -> bool:
        """FEED and MATMUL meet at each set: the array holds the set in use and, beside it, the next one."""
        if unit not in (Unit.FEED, Unit.MATMUL):
            return True
        board.used = min(board.matmul_end, board.feed_end)
        board.fed = min(board.feed_end, board.used + 1)
        return board.fed >= board.feed_end if unit == Unit.FEED else board.used >= board.matmul_end

    def _post(self, board: _Board, unit: int, source: int, clock: list[int], number: int, poster: int) -> None:
        counter = board.counters[unit][source]
        if counter.poster not in (None, poster):
            raise LivenessError(
                f"counter {source} of board {number} {Unit(unit).name} is posted to by boards {counter.poster} and "
                f"{poster}: whose post is taken first is open"
            )
        counter.poster = poster
        counter.clocks.append(clock.copy())
        counter.made += 1
        certain = counter.taken[clock[number * UNITS + unit]]
        self.largest = max(self.largest, counter.made - certain)
        if counter.made - certain > MOST_POSTS:
            raise LivenessError(
                f"counter {source} of board {number} {Unit(unit).name} may be given {counter.made - certain} posts "
                f"before one is taken; it holds {MOST_POSTS}"
            )

    def _stuck(self) -> Iterator[str]:
        """Who waits for whom."""
        for number, board in enumerate(self.boards):
            for unit in Unit:
                head = board.started[unit] or (board.queues[unit][0] if board.queues[unit] else None)
                if head is None:
                    continue
                lacks = [s for s, n in head.waits if len(board.counters[unit][s].clocks) < n]
                names = [Unit(s).name if s < UNITS else f"link {s - UNITS}" for s in lacks]
                if board.started[unit] is not None:
                    names = ["weights" if unit is Unit.MATMUL else "MATMUL"]
                yield f"board {number} {unit.name} (tag {head.tag}) waits for {', '.join(names)}"

    def check_balance(self) -> None:
        """Nothing is left in a counter or in the array when all is done."""
        for number, board in enumerate(self.boards):
            for unit in Unit:
                for source, counter in enumerate(board.counters[unit]):
                    if counter.clocks:
                        left = len(counter.clocks)
                        raise LivenessError(
                            f"board {number} {unit.name}: {left} posts of counter {source} are never taken"
                        )
            if board.feed_end != board.matmul_end:
                raise LivenessError(
                    f"board {number}: {board.feed_end} weight sets are fed, {board.matmul_end} are used"
                )


def prove_liveness(config: NodeConfig, init: Sequence[bytes], segments: Sequence[Sequence[bytes]]) -> Liveness:
    """Prove that some programs run to their end on any number of boards, whatever their units' and links' speed.

    Parameters
    ----------
    config : NodeConfig
        Its ``queue_depth`` counts: a full queue holds back all instructions behind it.
    init : list of bytes, by board
        The programs that are run once.
    segments : list of list of bytes, by segment and board
        The programs of one image. All boards end one before the next begins; what one sends to another board may be
        waited for in the next. They are run twice: an image behind another finds the counters as that left them.

    Returns
    -------
    Liveness

    Raises
    ------
    LivenessError
        If an instruction never runs, a counter may overflow, keeps a post or has two posters, or a program has no END.
    """
    machine = _Machine(config, len(init))
    first, *image = [[_read(program) for program in programs] for programs in (init, *segments)]
    for stages in ([first], image, image):
        for stage in stages:
            machine.run(stage)
        machine.check_balance()
    return Liveness(sum(len(stream) for stage in (first, *image) for stream in stage), machine.largest)
