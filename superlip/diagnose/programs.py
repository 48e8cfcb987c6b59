"""Programs as they lie in a board's DRAM: read back, listed, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from superlip.rtl.isa import COUNTERS, INSTRUCTION_BYTES, Memory, Opcode, Unit, VectorOp, decode

__all__ = ["BoardPrograms", "Listed", "read_programs", "source_name"]

INIT = -1
"""Segment number of the init program."""


def source_name(source: int) -> str:
    """Name of a source of posts: a unit, or ``remote 6``."""
    return Unit(source).name if source < len(Unit) else f"remote {source}"


@dataclass(frozen=True, eq=False)
class Listed:
    """One instruction in DRAM.

    Parameters
    ----------
    segment : int
        Program of the image, or INIT.
    position : int
        In its program, from 0.
    number : int
        Among the instructions of its unit in all programs of the image (or in the init program), from 0.
    address : int
        Byte address in the board's DRAM.
    """

    board: int
    segment: int
    position: int
    number: int
    address: int
    raw: bytes
    opcode: Opcode
    header: dict
    body: dict

    @property
    def tag(self) -> int:
        return self.header["tag"]

    @property
    def waits(self) -> dict[int, int]:
        """Source -> posts that it takes."""
        return {s: self.header[f"wait_{s}"] for s in range(COUNTERS) if self.header[f"wait_{s}"]}

    def posts_to(self, unit: int) -> bool:
        """Whether it posts to a unit of its own board."""
        return bool(self.header["post"] >> unit & 1)

    def posts_remotely(self, board: int, unit: int, counter: int) -> bool:
        """Whether it is a SEND that posts to this counter of this unit of another board."""
        body = self.body
        wanted = {"node": board, "remote_post": 1, "remote_unit": unit, "remote_counter": counter}
        return self.opcode is Opcode.SEND and all(body[name] == value for name, value in wanted.items())

    @property
    def where(self) -> str:
        program = "init program" if self.segment == INIT else f"program {self.segment}"
        return f"board {self.board}, {program}, instruction {self.position}, DRAM {self.address:#x}"

    @property
    def fields(self) -> str:
        """Fields that are not 0, in words."""
        words = [f"tag {self.tag}"]
        words += [f"waits for {n} of {source_name(s)}" for s, n in self.waits.items()]
        posts = [unit.name for unit in Unit if self.posts_to(unit)]
        words += [f"posts to {', '.join(posts)}"] if posts else []
        words += [f"{name} {_value(name, value)}" for name, value in self.body.items() if value or name in _ALWAYS]
        return "; ".join(words)

    def __str__(self):
        return f"{self.opcode.name} #{self.number} ({self.where}): {self.fields}"


_ALWAYS = ("op", "memory", "remote_memory")


def _value(name, value):
    if name == "op" and value in list(VectorOp):
        return VectorOp(value).name
    return Memory(value).name if name in ("memory", "remote_memory") else value


@dataclass(frozen=True, eq=False)
class BoardPrograms:
    """The programs of one board.

    Parameters
    ----------
    init, image : list of Listed
        In order of the program; ``image`` one segment behind the other. END is left out.
    broken : dict of int to str
        Segment -> why it could not be read to its END.
    """

    init: list[Listed]
    image: list[Listed]
    broken: dict[int, str]

    def of(self, unit: int, *, init: bool = False) -> list[Listed]:
        """Instructions of one unit, in order."""
        return [i for i in (self.init if init else self.image) if i.opcode == int(unit)]


def read_programs(
    board: int, extents: Sequence[tuple[int, bytes]], init_program: int | None, programs: Sequence[int]
) -> BoardPrograms:
    """Disassemble a board's programs.

    Parameters
    ----------
    board : int
    extents : sequence of (byte offset, bytes)
        Contents of DRAM.
    init_program, programs
        Byte addresses, as in ``BoardImage``.
    """
    broken = {}
    image, numbers = [], dict.fromkeys(Opcode, 0)
    init = _read(board, INIT, extents, init_program, dict(numbers), broken) if init_program is not None else []
    for segment, address in enumerate(programs):
        image += _read(board, segment, extents, address, numbers, broken)
    return BoardPrograms(init, image, broken)


def _read(board, segment, extents, address, numbers, broken):
    offset, blob = next(((o, b) for o, b in extents if o <= address < o + len(b)), (address, b""))
    blob = memoryview(blob)[address - offset :]
    listed = []
    for position in range(len(blob) // INSTRUCTION_BYTES):
        raw = bytes(blob[position * INSTRUCTION_BYTES :][:INSTRUCTION_BYTES])
        at = address + position * INSTRUCTION_BYTES
        try:
            opcode, header, body = decode(raw)
        except ValueError:
            broken[segment] = f"instruction {position} (DRAM {at:#x}) has the unknown opcode {raw[0] & 15}"
            return listed
        if opcode is Opcode.END:
            return listed
        listed.append(Listed(board, segment, position, numbers[opcode], at, raw, opcode, header, body))
        numbers[opcode] += 1
    broken[segment] = f"there is no END behind instruction {len(listed) - 1}"
    return listed
