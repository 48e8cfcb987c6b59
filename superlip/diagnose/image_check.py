"""DRAM images of the boards against those of a new compile: every byte that differs, in the network's terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superlip.compile.compiled import Compiled
from superlip.compile.weights import tile_words
from superlip.plan.blocks import conv_tiles
from superlip.rtl.config import DRAM_ADDRESS_BITS
from superlip.rtl.isa import (
    DEPTHWISE_KERNEL,
    DEPTHWISE_WORDS,
    INSTRUCTION_BYTES,
    PARAM_WORDS,
    Memory,
    Opcode,
    Region,
    Unit,
    VectorOp,
    decode,
    table_words,
)

from .programs import BoardPrograms, read_programs, source_name

__all__ = ["ImageDifference", "check_images"]

LIMIT = 1000
"""Differences of one board, at most: a wrong file as a whole needs no longer list."""


@dataclass(frozen=True)
class ImageDifference:
    """What a difference of a DRAM image means.

    Parameters
    ----------
    board : int
    kind : str
        "program", "weights", "constant", "table" or "data".
    op : int or None
        Operation of the network that uses it.
    text : str
        A sentence without the board.
    address : int
        Byte address in the board's DRAM of the first byte that differs.
    """

    board: int
    kind: str
    op: int | None
    text: str
    address: int

    def __str__(self):
        return f"board {self.board}: {self.text}"


def check_images(reference: Compiled, dram: Sequence[Sequence[tuple[int, bytes]]]) -> list[ImageDifference]:
    """Compare the contents of the boards' DRAM with what a compile makes.

    Parameters
    ----------
    reference : Compiled
        Made anew from the model.
    dram : sequence of sequence of (byte offset, bytes), one for each board
        As the boards have it.
    """
    found = []
    for number, extents in enumerate(dram):
        found += _Board(reference, number).check(extents)
    return found


class _Board:
    """Knows what every word of one board's DRAM is."""

    def __init__(self, reference, number):
        self.reference, self.number = reference, number
        self.board = reference.boards[number]
        self.node = reference.target.node
        self.ops = reference.network.ops
        self.places: list[tuple[int, int, int, int, int]] | None = None
        self.positions = {}

    def check(self, extents):
        mine = {offset: bytes(data) for offset, data in extents}
        found = []
        for offset, data in self.board.dram.extents:
            have = mine.pop(offset, None)
            want = bytes(data)
            if have == want:
                continue
            if have is None or len(have) != len(want):
                length = "nothing" if have is None else f"{len(have)} bytes"
                text = f"{length} instead of {len(want)} bytes lie at DRAM {offset:#x}"
                found.append(ImageDifference(self.number, "data", None, text, offset))
            elif offset in (self.board.init_program, *self.board.programs):
                found += self._program(offset, have, want)
            else:
                differing = np.flatnonzero(np.frombuffer(have, np.uint8) != np.frombuffer(want, np.uint8))
                found += self._data(offset, have, want, differing[:LIMIT])
        for offset, data in mine.items():
            text = f"{len(data)} bytes lie at DRAM {offset:#x}, where the compiler puts nothing"
            found.append(ImageDifference(self.number, "data", None, text, offset))
        return found

    # -- programs ------------------------------------------------------------------------------------------

    def _program(self, address, have, want):
        is_init = address == self.board.init_program
        name = "the init program" if is_init else f"program {self.board.programs.index(address)}"
        for position in range(len(want) // INSTRUCTION_BYTES):
            at = position * INSTRUCTION_BYTES
            one, other = (part[at : at + INSTRUCTION_BYTES] for part in (have, want))
            if one == other:
                continue
            opcode, header, _ = decode(other)
            where = f"instruction {position} of {name} ({opcode.name}, DRAM {address + at:#x})"
            op = header["tag"] - 1 if header["tag"] else None
            for text in _instruction_differences(one, other):
                yield ImageDifference(self.number, "program", op, f"{where} {text}", address + at)

    # -- data ----------------------------------------------------------------------------------------------

    def _data(self, offset, have, want, differing):
        """One difference for each weight, constant or table entry with a byte that differs."""
        if self.places is None:
            self._locate()
        found, size = {}, self.node.axi_bytes
        for at in differing:
            address = offset + int(at)
            port, word, byte = self.board.dram.address_at(address)
            values = [np.frombuffer(part, self.node.element.dtype) for part in (have, want)]
            key, difference = self._describe(address, word, port * size + byte, values, int(at))
            found.setdefault(key, difference)
        return found.values()

    def _locate(self):
        """Where LOADs find weights, and where they put parameters; what VECTOR takes parameters for."""
        board = self.board
        programs = read_programs(self.number, board.dram.extents, board.init_program, board.programs)
        loads = [i for i in (*programs.init, *programs.image) if i.opcode is Opcode.LOAD and not i.body["fill"]]
        self.weight_loads = [i for i in loads if i.body["memory"] == Memory.WEIGHT]
        constants = Region.WEIGHTS << DRAM_ADDRESS_BITS, (Region.WEIGHTS + 1) << DRAM_ADDRESS_BITS
        self.constant_loads = [
            i for i in loads if i.body["memory"] == Memory.ACT and constants[0] <= i.body["dram"] < constants[1]
        ]
        self.users = _parameter_users(programs, board.written, table_words(self.node.tn))
        self.places = self._blocks()

    def _blocks(self):
        """Weight blocks of this board: list of (first DRAM word, end, op, tile, number of the block in it)."""
        contents = {}
        for op in sorted({i.tag - 1 for i in self.weight_loads}):
            for tile in conv_tiles(self.ops[op], self.node.weight_words):
                for number, words in enumerate(tile_words(self.ops[op], tile)):
                    first = self.board.dram.split(words)[0]
                    contents.setdefault(first, []).append((op, tile.group, number, len(words)))
        tags = {}
        for i in self.weight_loads:
            tags.setdefault(i.body["dram"], i.tag - 1)
        places = []
        for offset, data in self.board.dram.extents:
            port, word, _ = self.board.dram.address_at(offset)
            candidates = contents.get(bytes(data), []) if port == 0 else []
            users = {tags[w] for w in tags if word <= w < word + len(data) // self.node.axi_bytes} if candidates else ()
            fitting = [c for c in candidates if c[0] in users]
            if fitting:  # blocks of the same contents lie in the order of their use
                candidates.remove(fitting[0])
                *chosen, words = fitting[0]
                places.append((word, word + words, *chosen))
        return places

    def _describe(self, address, word, lane, values, at):
        """(what it is, its difference) of one byte."""
        for first, end, op, tile, block in self.places or ():
            if first <= word < end:
                have, want = (int(part[at]) for part in values)
                text = self._weight(op, tile, block, word - first, lane)
                text = f"{text}: it is {have}, the model says {want} (DRAM {address:#x})"
                return address, ImageDifference(self.number, "weights", op, text, address)
        for i in self.constant_loads:
            if i.body["dram"] <= word < i.body["dram"] + i.body["count0"]:
                local = i.body["local"] + word - i.body["dram"]
                for user, group, weights, table in self.users:
                    if i.tag not in (0, user.tag):  # what is loaded for each image has its operation's tag
                        continue
                    base = user.body["params"]
                    length = PARAM_WORDS * user.body["load_params"]
                    word = local - base
                    if length <= word < length + weights:
                        return self._lane_weight(user, group, word - length, lane, address, values, at)
                    if 0 <= word < length + weights + table:
                        entry = word * self.node.tn + lane
                        return self._constant(user, group, entry, length + weights, address, values, at)
        text = f"byte {int(values[0][at])} instead of {int(values[1][at])} (DRAM {address:#x})"
        return address, ImageDifference(self.number, "data", None, text, address)

    def _weight(self, op, tile, block, word, lane):
        """A weight's place in words."""
        name, weights = self.ops[op].name, self.ops[op].node.weights
        at = int(self._positions(op)[tile, block][word, lane]) - 1
        if at < 0:
            return f"weights of layer {name}, tile {tile}, differ in word {word}, lane {lane}, which holds no weight"
        m, channel, ky, kx = (int(i) for i in np.unravel_index(at, weights.shape))
        pixel, m = divmod(m, len(weights) // self.ops[op].pixels)
        whose = f"output channel {m}" + (f" of a window's pixel {pixel}" if self.ops[op].pixels > 1 else "")
        where = f"{whose}, {self._input(op, channel, ky, kx)}"
        return f"weights of layer {name}, tile {tile}, differ at {where}"

    def _positions(self, op):
        """(tile, block) -> which weight each byte of it is: 1 + its index, 0 for none.

        Found by laying out numbers instead of weights, a byte of them at a time.
        """
        if op not in self.positions:
            node = self.ops[op]
            index = 1 + np.arange(node.node.weights.size).reshape(node.node.weights.shape)
            places = {}
            for byte in range(4):
                numbers = (index >> 8 * byte & 255).astype(np.uint8).view(np.int8)
                for tile in conv_tiles(node, self.node.weight_words):
                    for number, words in enumerate(tile_words(node, tile, numbers)):
                        part = words.view(np.uint8).astype(np.int64) << 8 * byte
                        places[tile.group, number] = places.get((tile.group, number), 0) + part
            self.positions[op] = places
        return self.positions[op]

    def _input(self, op, channel, ky, kx):
        """Input channel and kernel position; of the model's kernel, where it was folded into channels."""
        network = self.reference.network
        if network.taps is not None and self.ops[op].inputs[0].storage is network.input.storage:
            kh, kw = network.taps.window.kernel
            channel, rest = divmod(channel, kh * kw)
            ky, kx = divmod(rest, kw)
        return f"input channel {channel}, kernel ({ky}, {kx})"

    def _lane_weight(self, user, group, tap, lane, address, values, at):
        """A weight of VECTOR's."""
        op = self.ops[user.tag - 1]
        have, want = (int(part[at]) for part in values)
        where = f"channel {op.channel(group, lane)}, kernel {divmod(tap, DEPTHWISE_KERNEL)}"
        text = f"weights of layer {op.name} differ at {where}: it is {have}, the model says {want} (DRAM {address:#x})"
        return address, ImageDifference(self.number, "weights", user.tag - 1, text, address)

    def _constant(self, user, group, entry, length, address, values, at):
        """A requantization constant, a factor of an addition, or an entry of a table."""
        number = user.tag - 1
        op = self.ops[number]
        if entry >= length * self.node.tn:
            entry -= length * self.node.tn
            have, want = (int(part[at]) for part in values)
            pattern = self.node.element.by_pattern()[entry]
            whose = f"table of layer {op.name}, entry for {pattern}"
            text = f"{whose}: it is {have}, the model says {want} (DRAM {address:#x})"
            return address, ImageDifference(self.number, "table", number, text, address)
        lane, byte = divmod(entry, 8)
        first = at - byte % 4  # a port's part of a word is whole lanes
        what, type_ = op.spec.constants[byte // 4]
        have, want = (part[first : first + 4].view(type_)[0] for part in values)
        channel = op.channel(group, lane)
        if op.is_conv:
            whose = f"requantization constant of layer {op.name}, tile {group}, channel {channel}"
        else:
            whose = f"constant of layer {op.name}, lane {lane}"
        text = f"{whose}: {what} is {have}, the model says {want} (DRAM {address - byte % 4:#x})"
        return (first, address - byte % 4), ImageDifference(self.number, "constant", number, text, address - byte % 4)


def _parameter_users(programs: BoardPrograms, written, words):
    """(VECTOR instruction that loads parameters, its group, words of its weights, and of its table: 0 or ``words``), in
    order."""
    users = []
    for instruction, place in zip(programs.of(Unit.VECTOR), written, strict=True):
        body = instruction.body
        if body["load_params"] or body["load_table"]:
            weights = DEPTHWISE_WORDS * body["load_params"] if body["op"] == VectorOp.DEPTHWISE else 0
            users.append((instruction, place.group, weights, words * body["load_table"]))
    return users


def _instruction_differences(have, want):
    """Sentences: what an instruction does that the compiler's does not, field by field."""
    opcode, header, body = decode(want)
    try:
        other, other_header, other_body = decode(have)
    except ValueError:
        return [f"differs from the compiler's: its opcode is {have[0] & 15}, unknown"]
    if other is not opcode:
        return [f"differs from the compiler's: it is {other.name}"]
    texts = []
    for unit in range(8):
        is_set, should = (h["post"] >> unit & 1 for h in (other_header, header))
        if should != is_set:
            name = source_name(unit)
            texts.append(f"does not post to {name}" if should else f"posts to {name}; the compiler's does not")
    for source in range(8):
        is_, should = (h[f"wait_{source}"] for h in (other_header, header))
        if is_ != should:
            texts.append(
                f"differs from the compiler's: it waits for {is_} of {source_name(source)}, should be {should}"
            )
    for name in ("tag", "reserved"):
        if header[name] != other_header[name]:
            texts.append(f"differs from the compiler's: {name} is {other_header[name]}, should be {header[name]}")
    texts += [
        f"differs from the compiler's: field {name} is {other_body[name]}, should be {body[name]}"
        for name in body
        if body[name] != other_body[name]
    ]
    return texts or ["differs from the compiler's in bits that no field uses"]
