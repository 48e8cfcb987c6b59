"""Frame format against itself, and its CRC against zlib."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.rtl.config import NodeConfig
from superlip.rtl.link.frame import (
    HEADER,
    HEADER_BYTES,
    FrameKind,
    FrameSizes,
    decode_frame,
    encode_frame,
)

CONFIGS = [NodeConfig(), NodeConfig(tm=64, tn=64, link_bytes=32), NodeConfig(tm=16, tn=16, link_bytes=16)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"tn{c.tn}-link{c.link_bytes}")
@given(data=st.data())
def test_frame_round_trip(config, data):
    words = data.draw(st.lists(st.integers(0, (1 << config.word_bits) - 1), max_size=4))
    header = {f.name: data.draw(st.integers(*f.range)) for f in HEADER.fields if f.name != "words"}
    flits = encode_frame(config, words, **header)
    assert len(flits) == FrameSizes(config).flits(len(words))
    assert decode_frame(config, flits) == (header | {"words": len(words)}, words)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"tn{c.tn}-link{c.link_bytes}")
def test_frame_bytes_are_ethernet_ordered(config):
    """The bytes on the wire, low byte of each flit first, end in the CRC that zlib computes of them."""
    flits = encode_frame(config, [3, 5], kind=FrameKind.DATA, address=0x12345)
    mask = (1 << 8 * config.link_bytes) - 1
    raw = b"".join((f & mask).to_bytes(config.link_bytes, "little") for f in flits)
    assert raw[6:9] == bytes([0x45, 0x23, 0x01])
    assert raw[max(HEADER_BYTES, config.link_bytes)] == 3
    assert int.from_bytes(raw[-config.link_bytes :], "little") == zlib.crc32(raw[: -config.link_bytes])


@given(data=st.data())
def test_decode_notices_every_flipped_bit(data):
    config = CONFIGS[0]
    flits = encode_frame(config, [1, 2, 3], kind=FrameKind.DATA)
    # The CRC flit's upper half is padding.
    index = data.draw(st.integers(0, len(flits) - 1))
    bit = data.draw(st.sampled_from([*range(64), 64, 65] if index < len(flits) - 1 else [*range(32), 64, 65]))
    flits[index] ^= 1 << bit
    with pytest.raises(ValueError):
        decode_frame(config, flits)


def test_word_must_be_whole_flits():
    with pytest.raises(ValueError, match="link_bytes must be at most 16"):
        FrameSizes(NodeConfig(tm=16, tn=16, link_bytes=32))
