"""The frame: one definition of its header, shared by the RTL, its model and the tests.

On the wire a frame is::

    header       HEADER_BYTES, padded with zeros to whole flits
    payload      ``words`` words of ``tn`` bytes
    CRC flit     low 32 bits: CRC-32 of every byte before it, low byte of a flit first; the rest is zero

The first flit is marked ``first``, the CRC flit ``last``. A DATA frame is a remote write and then,
if ``post`` is set, a remote post; without words it is the post alone. A CREDIT frame says only what every
header says too: how many DATA frames the other side may have sent (``credits.py``).
"""

import enum

from amaranth.lib import data, stream
from amaranth.lib.wiring import Out, Signature

from ..config import ADDRESS_BITS, NodeConfig
from ..isa import LINK_SOURCES, Field, Format, Unit
from .crc import crc32

__all__ = [
    "HEADER", "HEADER_BYTES", "REQUEST", "FrameField", "FrameKind", "FrameSizes", "FrameStream", "decode_frame",
    "encode_frame", "post_is_wrong", "post_layout", "received_layout", "request_layout", "write_layout",
]  # fmt: skip

HEADER_BYTES = 16


class FrameKind(enum.IntEnum):
    """What a frame is. 0 is none, so that zeros are no frame."""

    DATA = 1
    CREDIT = 2


class FrameField(enum.IntEnum):
    """Header field that error FRAME names in bits 24 to 31 of its syndrome; below is the field's value."""

    KIND = 1
    DESTINATION = 2
    WORDS = 3
    ADDRESS = 4  # bits 0 to 19 address, bit 20 memory
    POST = 5  # bits 0 to 2 unit, bits 3 to 5 counter


_REQUEST = (
    Field("destination", 8, "node that the frame is for"),
    Field("memory", 1, "destination memory (Memory)"),
    Field("address", ADDRESS_BITS, "first word in the destination memory"),
    Field("words", 8, "words of payload"),
    Field("post", 1, "1: post when the last word has been written"),
    Field("unit", 3, "unit that the post goes to"),
    Field("counter", 3, "counter of that unit (6 or 7)"),
)
REQUEST = Format("frame request", _REQUEST, "What a unit says of a DATA frame.")
_FIELD = {f.name: f for f in _REQUEST}

HEADER = Format(
    "frame header",
    (
        Field("kind", 4, "FrameKind"),
        Field("heard", 1, "1: the sender has had an intact frame from this side since its reset"),
        _FIELD["memory"],
        _FIELD["post"],
        Field("spare0", 1, "zero"),
        _FIELD["destination"],
        Field("source", 8, "node that sent the frame"),
        Field("credits", 8, "DATA frames that the sender lets this side send since reset, modulo 256"),
        _FIELD["words"],
        _FIELD["unit"],
        _FIELD["counter"],
        Field("spare1", 2, "zero"),
        _FIELD["address"],
        Field("spare2", 60, "zero; room for the sequence numbers of a replay layer"),
    ),
)
assert HEADER.width == 8 * HEADER_BYTES


def request_layout():
    """What a unit says of a DATA frame; the transmitter knows the other fields of its header.

    ``destination`` (8 bits), ``memory`` (1), ``address`` (20, in words), ``words`` (8), ``post`` (1), ``unit`` (3),
    ``counter`` (3: 6 or 7)
    """
    return REQUEST.layout


def received_layout():
    """What a receiver looks at of a HEADER: all but the source and what is spare."""
    ignored = ("source", "spare0", "spare1", "spare2")
    return data.StructLayout({f.name: f.width for f in HEADER.fields if f.name not in ignored})


def write_layout():
    """What is left to do of a request that is where it should be: all but the destination."""
    return data.StructLayout({f.name: f.width for f in _REQUEST if f.name != "destination"})


def post_layout():
    """A remote post: ``valid`` for one cycle."""
    return data.StructLayout({"valid": 1, "unit": 3, "counter": 3})


class FrameStream(Signature):
    """DATA frames on their way to a transmitter, seen from their source.

    ``header``
        One item a frame. It may be taken back while it has not been accepted (the node halts).
    ``words``
        ``header.words`` words for each accepted header. They are offered without pause once the header is
        accepted.
    """

    def __init__(self, config):
        super().__init__(
            {
                "header": Out(stream.Signature(request_layout())),
                "words": Out(stream.Signature(config.word_bits)),
            }
        )


class FrameSizes:
    """Sizes of a frame in flits.

    Raises
    ------
    ValueError
        If a word is no whole number of flits.
    """

    def __init__(self, config: NodeConfig):
        if config.tn % config.link_bytes:
            raise ValueError(
                f"a word of tn={config.tn} bytes must be whole flits of link_bytes={config.link_bytes}: "
                f"link_bytes must be at most {config.tn}"
            )
        self.flit_bytes = config.link_bytes
        self.flit_bits = 8 * config.link_bytes
        self.header_flits = -(-HEADER_BYTES // config.link_bytes)
        self.word_flits = config.tn // config.link_bytes

    def flits(self, words):
        """Flits of a frame with that many words."""
        return self.header_flits + words * self.word_flits + 1


def post_is_wrong(unit, counter):
    """Whether a post names a unit or counter that doesn't exist, for ints and for Amaranth values."""
    return (unit > max(Unit)) | (counter < LINK_SOURCES[0])


def encode_frame(config, words=(), **header):
    """Flits of a frame, as the ints of ``flit_layout``; the model of the transmitter.

    Parameters
    ----------
    words : list of int
        Payload; the header field ``words`` is its length unless given.
    header : int
        Fields of HEADER; those left out are 0.
    """
    sizes = FrameSizes(config)
    fields = {"words": len(words)} | header
    raw = HEADER.pack(fields, HEADER.name).to_bytes(sizes.header_flits * sizes.flit_bytes, "little")
    raw += b"".join(word.to_bytes(config.tn, "little") for word in words)
    raw += crc32(raw).to_bytes(sizes.flit_bytes, "little")
    flits = [int.from_bytes(raw[i : i + sizes.flit_bytes], "little") for i in range(0, len(raw), sizes.flit_bytes)]
    flits[0] |= 1 << sizes.flit_bits
    flits[-1] |= 2 << sizes.flit_bits
    return flits


def decode_frame(config, flits):
    """The inverse of ``encode_frame``: (header fields, words). ValueError says what is wrong."""
    sizes = FrameSizes(config)
    marks = [flit >> sizes.flit_bits for flit in flits]
    if len(flits) < 2 or marks != [1] + [0] * (len(flits) - 2) + [2]:
        raise ValueError(f"first and last are marked {marks}")
    mask = (1 << sizes.flit_bits) - 1
    raw = b"".join((flit & mask).to_bytes(sizes.flit_bytes, "little") for flit in flits)
    body, tail = raw[: -sizes.flit_bytes], raw[-sizes.flit_bytes :]
    if int.from_bytes(tail[:4], "little") != crc32(body):
        raise ValueError(f"CRC is {tail[:4].hex()}, should be {crc32(body).to_bytes(4, 'little').hex()}")
    fields = HEADER.unpack(int.from_bytes(body[:HEADER_BYTES], "little"))
    payload = body[sizes.header_flits * sizes.flit_bytes :]
    if len(payload) != fields["words"] * config.tn:
        raise ValueError(f"{len(payload)} bytes of payload, should be {fields['words']} words of {config.tn}")
    return fields, [int.from_bytes(payload[i : i + config.tn], "little") for i in range(0, len(payload), config.tn)]
