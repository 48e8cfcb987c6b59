"""The CRC's model against zlib."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from superlip.rtl.link.crc import crc32


@given(st.binary(max_size=200))
def test_crc_equals_zlib(raw):
    assert crc32(raw) == zlib.crc32(raw)
