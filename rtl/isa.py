"""Instruction formats: the one definition that RTL, assembler, simulator and C header share.

An instruction is 64 bytes, little-endian. Its first 80 bits are the header, the rest the body of its
opcode. Fields lie in order of declaration from bit 0, without gaps; what is left over is zero.

Synchronisation. A unit takes its instructions in order. Each unit owns ``COUNTERS`` counters, one for
each *source*: sources 0 to 5 are the units of the same node, sources 6 and 7 are remote posts that
arrive in frames. An instruction starts when, for every source s, counter s of its unit has reached
``wait_s``; all of them are subtracted at once. When it has completed (everything it writes can be read), counter
``unit`` of each unit named in ``post`` goes up by one. So counter (s, d) has one poster, s, and one
taker, d.
"""

import enum
from dataclasses import dataclass, field

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from superlip.element import INT8

from .config import ADDRESS_BITS, DRAM_ADDRESS_BITS

__all__ = [
    "Unit", "Opcode", "Memory", "Region", "REGION_BITS", "VectorOp", "Field", "Format", "FORMATS", "HEADER", "COUNTERS",
    "DEPTHWISE_COLUMNS", "DEPTHWISE_KERNEL", "DEPTHWISE_WORDS", "INSTRUCTION_BYTES", "MAX_FOLD", "MAX_LANE_MAX",
    "WAIT_BITS", "encode", "decode",
]  # fmt: skip

INSTRUCTION_BYTES = 64
COUNTERS = 8
WAIT_BITS = 6
LINK_SOURCES = (6, 7)
REGION_BITS = 2


class Unit(enum.IntEnum):
    """Units of a node; the value is also the source number of its posts."""

    LOAD = 0
    FEED = 1
    MATMUL = 2
    VECTOR = 3
    STORE = 4
    SEND = 5


class Opcode(enum.IntEnum):
    """First four bits of an instruction: its unit, or END."""

    LOAD = 0
    FEED = 1
    MATMUL = 2
    VECTOR = 3
    STORE = 4
    SEND = 5
    END = 15


class Memory(enum.IntEnum):
    """Memories that LOAD, STORE, SEND and frames address."""

    ACT = 0
    WEIGHT = 1


class Region(enum.IntEnum):
    """Parts of a board's DRAM, each with a base and a size in registers; the top bits of a DRAM address name one."""

    PROGRAMS = 0
    WEIGHTS = 1
    IMAGES = 2
    """What the host writes: images, and what it computes between two programs."""
    RESULTS = 3
    """What boards write: results, and activations that don't fit on chip."""


class VectorOp(enum.IntEnum):
    """What VECTOR does with a pixel."""

    REQUANTIZE = 0
    """ACC source: clip(requantize(max of the window's valid sums + bias, scale) + zp_out); 1x1: no pooling."""
    MAX = 1
    """ACT source: maximum over the window's valid pixels (1x1: a copy). No arithmetic after it but clip."""
    SUM = 2
    """ACT source: sum of (x - zp_a) over the window's valid pixels, then as REQUANTIZE."""
    ADD = 3
    """ACT source and second operand: round_half_even((a - zp_a) * mult_a + (b - zp_b) * mult_b, shift) + zp_out."""
    MUL = 4
    """ACT source and second operand: (a - zp_a) * (b - zp_b), then as REQUANTIZE."""
    DEPTHWISE = 5
    """ACT source: sum of weight * x over a 3x3 window, padding holds zp_a, then as REQUANTIZE. Lanes have weights."""


@dataclass(frozen=True)
class Field:
    """One bit field: ``width`` bits, two's complement where ``is_signed``."""

    name: str
    width: int
    doc: str
    is_signed: bool = False

    @property
    def shape(self):
        return signed(self.width) if self.is_signed else unsigned(self.width)

    @property
    def range(self):
        """Smallest and largest value."""
        if self.is_signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1


@dataclass(frozen=True)
class Format:
    """Fields of one opcode's body (or of the header)."""

    name: str
    fields: tuple[Field, ...]
    doc: str = ""
    layout: data.StructLayout = field(init=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "layout", data.StructLayout({f.name: f.shape for f in self.fields}))

    @property
    def width(self):
        return sum(f.width for f in self.fields)

    def pack(self, values, what):
        """Pack ``values`` (a dict) in an int. ValueError if a name is unknown or a value out of range."""
        unknown = values.keys() - {f.name for f in self.fields}
        if unknown:
            raise ValueError(f"{what} has no field {sorted(unknown)[0]!r}")
        word = offset = 0
        for f in self.fields:
            value = int(values.get(f.name, 0))
            low, high = f.range
            if not low <= value <= high:
                raise ValueError(f"{what} field {f.name} is {value}, outside [{low}, {high}]")
            word |= (value & ((1 << f.width) - 1)) << offset
            offset += f.width
        return word

    def unpack(self, word):
        """The inverse of ``pack``."""
        values = {}
        for f in self.fields:
            value = word & ((1 << f.width) - 1)
            if f.is_signed and value >> (f.width - 1):
                value -= 1 << f.width
            values[f.name] = value
            word >>= f.width
        return values


MAX_FOLD = 2
"""Largest ``fold`` of MATMUL: four lane groups."""

MAX_LANE_MAX = 2
"""Largest ``lane_max`` of VECTOR: four lane groups."""


def _address(name, doc):
    return Field(name, ADDRESS_BITS, doc)


def _copy_fields(*, local, extra=()):
    """A strided 3-D copy: ``count0`` contiguous words, ``count1`` rows of them, ``count2`` planes of rows."""
    return (
        Field("memory", 1, f"{local} memory (Memory)"),
        _address("local", f"first word in the {local} memory"),
        Field("count0", 16, "contiguous words"),
        Field("count1", 16, "rows"),
        Field("count2", 16, "planes"),
        _address("local_stride1", "words from row to row, local"),
        _address("local_stride2", "words from plane to plane, local"),
        *extra,
    )


_DRAM = (
    Field("dram", DRAM_ADDRESS_BITS + REGION_BITS, f"first word in DRAM: Region << {DRAM_ADDRESS_BITS} | word in it"),
    Field("dram_stride1", 24, "words from row to row, DRAM"),
    Field("dram_stride2", 24, "words from plane to plane, DRAM"),
)

HEADER = Format(
    "HEADER",
    (
        Field("opcode", 4, "Opcode"),
        Field("tag", 16, "free for the compiler: the layer, for counters and traces"),
        *(Field(f"wait_{s}", WAIT_BITS, f"take this many from counter {s} before the start") for s in range(COUNTERS)),
        Field("post", 8, "bit d: post to unit d when complete"),
        Field("reserved", 4, "zero"),
    ),
)
HEADER_BITS = 80
BODY_BITS = 8 * INSTRUCTION_BYTES - HEADER_BITS
assert HEADER.width == HEADER_BITS

_WINDOW = (
    Field("height", 12, "valid rows of the source: row index in [0, height) exists, others are padding"),
    Field("width", 12, "valid columns of the source"),
    Field("y0", 13, "source row of output row 0 at kernel row 0 (-pad_top where the tile starts at the edge)", True),
    Field("x0", 13, "source column of output column 0 at kernel column 0", True),
    Field("stride_y", 8, "source rows between output rows"),
    Field("stride_x", 8, "source columns between output columns"),
    Field("kh", 8, "kernel rows"),
    Field("kw", 8, "kernel columns"),
)

FORMATS = {
    Opcode.LOAD: Format(
        "LOAD",
        _copy_fields(
            local="destination",
            extra=(
                *_DRAM,
                Field("fill", 1, "1: write fill_value in every lane instead of reading DRAM (zero-point padding)"),
                Field("fill_value", INT8.bits, "element that fill writes", True),
            ),
        ),
        "DRAM to activation or weight buffer.",
    ),
    Opcode.STORE: Format("STORE", _copy_fields(local="source", extra=_DRAM), "Activation or weight buffer to DRAM."),
    Opcode.FEED: Format(
        "FEED",
        (
            _address("weights", "first word in the weight buffer; a multiple of FEED_WORDS"),
            Field("sets", 16, "weight sets, each for one pass of MATMUL"),
            Field("rows", 8, "words in a set: output channels in use, rounded up to FEED_WORDS; others give nonsense"),
        ),
        "Weight buffer to the array's shadow registers, FEED_WORDS words (tn weights of an output channel) a cycle.",
    ),
    Opcode.MATMUL: Format(
        "MATMUL",
        (
            _address("act", "word of source row 0, column 0, n-tile 0 in the activation buffer"),
            _address("plane", "words from n-tile to n-tile"),
            Field("pitch", 12, "words from source row to source row"),
            *_WINDOW,
            Field("dilation_y", 8, "source rows between kernel rows"),
            Field("dilation_x", 8, "source columns between kernel columns"),
            Field("n_tiles", 12, "n-tiles"),
            Field("rows", 12, "output rows"),
            Field("cols", 12, "output columns"),
            Field("acc", 16, "first accumulator word; output (r, c) goes to acc + r * cols + c"),
            Field("accumulate", 1, "1: add to what the accumulators hold, 0: the first pass overwrites"),
            Field("zero_point", INT8.bits, "element that padding pixels hold", True),
            Field("fold", 2, f"log2 of the lane groups, at most {MAX_FOLD}: group g of x is of column c + g"),
        ),
        "For n, kh, kw (one weight set each, in this order): for r, c: acc += W . x. With ``fold``, the lanes of x are "
        "in 1 << fold groups, and group g at output column c is of the pixel for column c + g: one pass does as many "
        "kernel columns, if the words hold their channels as many times.",
    ),
    Opcode.VECTOR: Format(
        "VECTOR",
        (
            Field("op", 3, "VectorOp"),
            _address("source", "first source word: accumulator (REQUANTIZE) or activation buffer"),
            _address("plane", "words from channel group to channel group, source"),
            Field("pitch", 12, "words from source row to source row"),
            *_WINDOW,
            _address("source_b", "second operand (ADD, MUL): word of output (0, 0), group 0"),
            _address("plane_b", "words from channel group to channel group, second operand"),
            Field("pitch_b", 12, "words from row to row, second operand"),
            _address("dest", "word of output (0, 0), group 0, activation buffer"),
            _address("dest_plane", "words from channel group to channel group, destination"),
            Field("dest_pitch", 16, "words from output row to output row"),
            Field("dest_step", 4, "words from output column to output column"),
            Field("groups", 12, "channel groups"),
            Field("rows", 12, "output rows"),
            Field("cols", 12, "output columns"),
            Field(
                "load_params",
                1,
                "1: read the per-lane parameters at params first (PARAM_WORDS words, and in "
                "DEPTHWISE DEPTHWISE_WORDS more)",
            ),
            Field("load_table", 1, "1: read the table first, at params, behind the parameters if these are read too"),
            _address("params", "word address in the activation buffer"),
            Field("use_table", 1, "1: the result (after clip) goes through the table"),
            Field("shift", 6, "ADD: right shift"),
            Field("zp_a", INT8.bits, "zero point of the source", True),
            Field("zp_b", INT8.bits, "zero point of the second operand", True),
            Field("zp_out", INT8.bits, "zero point of the result", True),
            Field("low", INT8.bits, "clip: smallest result", True),
            Field("high", INT8.bits, "clip: largest result", True),
            Field("lane_first", 8, "first lane written"),
            Field("lane_last", 8, "last lane written"),
            Field("zero_above", 1, "1: lanes above lane_last are written, too, as zeros: they hold no channel"),
            Field(
                "lane_max", 2, f"log2 of the lane groups, at most {MAX_LANE_MAX}, of which each lane gets the maximum"
            ),
        ),
        "For g, r, c: one word; windows are read kh, kw inside. DEPTHWISE: for g, c, r; the rows of a column of the "
        "source that any window sees are read one after the other, each pixel once. With ``lane_max``, the lanes of a "
        "result (behind the table) are in 1 << lane_max groups, and lane l of each gets the largest of these lanes.",
    ),
    Opcode.SEND: Format(
        "SEND",
        _copy_fields(
            local="source",
            extra=(
                Field("node", 8, "destination node"),
                Field("remote_memory", 1, "destination memory (Memory)"),
                _address("remote", "first word in the destination memory"),
                _address("remote_stride1", "words from row to row, destination"),
                _address("remote_stride2", "words from plane to plane, destination"),
                Field("remote_post", 1, "1: post when the last word has been written there"),
                Field("remote_unit", 3, "unit that the post goes to"),
                Field("remote_counter", 3, "counter of that unit (6 or 7)"),
            ),
        ),
        "Remote write, then remote post; count0 = 0 is a post alone.",
    ),
    Opcode.END: Format("END", (), "The program is complete when every unit has finished what came before."),
}

for _format in FORMATS.values():
    assert _format.width <= BODY_BITS, f"{_format.name}: {_format.width} bits do not fit {BODY_BITS}"

PARAM_WORDS = 8
"""Words of a VECTOR parameter block: 8 bytes a lane, little-endian, lanes in order.

REQUANTIZE, SUM, MUL: int32 bias, float32 scale (IEEE bits, positive and normal; 0 gives zp_out).
ADD: int32 mult_a, int32 mult_b (both within 27 bits signed).
"""


DEPTHWISE_KERNEL = 3
"""Rows and columns of DEPTHWISE's window; its strides are 1 or 2."""

DEPTHWISE_COLUMNS = (1 << FORMATS[Opcode.VECTOR].layout["cols"].width) - 1
"""Columns of the source that DEPTHWISE can go through: it counts them in ``cols``."""

DEPTHWISE_WORDS = DEPTHWISE_KERNEL**2
"""Words behind DEPTHWISE's parameter block: an element for each lane, the weights of (ky, kx) in order."""


def table_words(tn):
    """Words of a VECTOR table: as many elements as there are bit patterns; entry i is the result for the pattern i."""
    return -(-INT8.patterns // tn)


def encode(opcode, *, tag=0, waits=None, post=0, **body):
    """Assemble one instruction.

    Parameters
    ----------
    opcode : Opcode
    tag : int
    waits : dict of int to int
        Source -> count to take before the start.
    post : int or iterable of Unit
        Bit mask, or the units to post to.
    body : int
        Fields of the opcode's format; those left out are 0.

    Returns
    -------
    bytes, of length INSTRUCTION_BYTES

    Raises
    ------
    ValueError
        If a field is unknown or a value does not fit.
    """
    opcode = Opcode(opcode)
    if not isinstance(post, int):
        post = sum(1 << int(unit) for unit in set(post))
    header = {"opcode": int(opcode), "tag": tag, "post": post}
    header |= {f"wait_{s}": n for s, n in (waits or {}).items()}
    word = HEADER.pack(header, f"{opcode.name} header")
    word |= FORMATS[opcode].pack(body, opcode.name) << HEADER_BITS
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(raw):
    """Disassemble one instruction: (Opcode, header dict, body dict). ValueError on an unknown opcode."""
    word = int.from_bytes(raw, "little")
    header = HEADER.unpack(word)
    opcode = Opcode(header["opcode"])
    return opcode, header, FORMATS[opcode].unpack(word >> HEADER_BITS)
