"""Programs as the units see them: fields, waits and posts of each instruction."""

from dataclasses import dataclass, field

from superlip.rtl.isa import COUNTERS, INSTRUCTION_BYTES, Opcode, decode

__all__ = ["Instruction", "read_program"]


@dataclass(slots=True, eq=False)
class Instruction:
    """One instruction, and what became of it, in cycles from the start of its program (-1: not yet).

    ``waits`` are (source, posts), ``posts`` units. ``offered``: it was the next one of its unit; ``met``: from when on
    each source had posted what it waits for; ``taken``, ``done``: by its unit; ``last``: of MATMUL, its last pixel.
    """

    unit: int
    tag: int
    waits: list[tuple[int, int]]
    posts: list[int]
    body: dict[str, int]
    met: list[tuple[int, int]] = field(default_factory=list)
    offered: int = -1
    taken: int = -1
    last: int = -1
    done: int = -1


def read_program(program: bytes) -> list[Instruction]:
    """Instructions of a program, END left out."""
    result = []
    for at in range(0, len(program), INSTRUCTION_BYTES):
        opcode, header, body = decode(program[at : at + INSTRUCTION_BYTES])
        if opcode is Opcode.END:
            break
        waits = [(s, header[f"wait_{s}"]) for s in range(COUNTERS) if header[f"wait_{s}"]]
        posts = [unit for unit in range(8) if header["post"] >> unit & 1]
        result.append(Instruction(int(opcode), header["tag"], waits, posts, body))
    return result
