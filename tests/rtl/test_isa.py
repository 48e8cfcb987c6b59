"""Instructions: what is encoded is decoded, and what does not fit is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.rtl.isa import (
    COUNTERS,
    FORMATS,
    HEADER,
    INSTRUCTION_BYTES,
    WAIT_BITS,
    Opcode,
    Unit,
    decode,
    encode,
    table_words,
)

FIELDS = [pytest.param(op, f, id=f"{op.name}-{f.name}") for op, form in FORMATS.items() for f in form.fields]


def body_of(opcode):
    return st.fixed_dictionaries({f.name: st.integers(*f.range) for f in FORMATS[opcode].fields})


INSTRUCTIONS = st.sampled_from(Opcode).flatmap(lambda opcode: st.tuples(st.just(opcode), body_of(opcode)))
WAITS = st.dictionaries(st.integers(0, COUNTERS - 1), st.integers(0, (1 << WAIT_BITS) - 1))


@given(INSTRUCTIONS, st.integers(0, 0xFFFF), WAITS, st.sets(st.sampled_from(Unit)))
def test_round_trip(instruction, tag, waits, post):
    opcode, body = instruction
    raw = encode(opcode, tag=tag, waits=waits, post=post, **body)
    assert len(raw) == INSTRUCTION_BYTES
    decoded, header, fields = decode(raw)
    assert decoded is opcode
    assert fields == body
    assert header["tag"] == tag
    assert header["post"] == sum(1 << unit for unit in post)
    assert header["reserved"] == 0
    assert {s: header[f"wait_{s}"] for s in range(COUNTERS)} == {s: waits.get(s, 0) for s in range(COUNTERS)}


@given(INSTRUCTIONS)
def test_the_rtl_layout_sees_the_same_fields(instruction):
    """`Format.layout` is what the hardware reads: bit positions and signs must be those of the assembler."""
    opcode, body = instruction
    word = int.from_bytes(encode(opcode, **body), "little") >> HEADER.width
    for field in FORMATS[opcode].fields:
        place = FORMATS[opcode].layout[field.name]
        raw = word >> place.offset & ((1 << place.width) - 1)
        assert raw == body[field.name] & ((1 << place.width) - 1)
        assert place.shape == field.shape


@pytest.mark.parametrize(("opcode", "field"), FIELDS)
def test_a_field_takes_its_range_and_no_more(opcode, field):
    low, high = field.range
    for value in (low, high):
        assert decode(encode(opcode, **{field.name: value}))[2][field.name] == value
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"{opcode.name} field {field.name} is {value}, outside"):
            encode(opcode, **{field.name: value})


@pytest.mark.parametrize("opcode", Opcode)
def test_formats_fit(opcode):
    assert HEADER.width + FORMATS[opcode].width <= 8 * INSTRUCTION_BYTES
    assert FORMATS[opcode].layout.size == FORMATS[opcode].width
    assert HEADER.layout.size == HEADER.width


def test_header_errors():
    with pytest.raises(ValueError, match="END header field tag is 65536"):
        encode(Opcode.END, tag=1 << 16)
    with pytest.raises(ValueError, match="LOAD header field wait_3 is 64"):
        encode(Opcode.LOAD, waits={3: 1 << WAIT_BITS})
    with pytest.raises(ValueError, match="has no field 'wait_8'"):
        encode(Opcode.LOAD, waits={COUNTERS: 1})
    with pytest.raises(ValueError, match="FEED has no field 'stes'"):
        encode(Opcode.FEED, stes=1)


@pytest.mark.parametrize("code", sorted(set(range(16)) - set(Opcode)))
def test_unknown_opcodes_are_refused(code):
    with pytest.raises(ValueError, match=str(code)):
        decode(bytes([code]) + bytes(INSTRUCTION_BYTES - 1))


def test_units_and_opcodes_agree():
    assert {unit.name: unit.value for unit in Unit} == {op.name: op.value for op in Opcode if op is not Opcode.END}


@pytest.mark.parametrize(("tn", "words"), [(8, 32), (64, 4), (256, 1), (512, 1)])
def test_table_words(tn, words):
    assert table_words(tn) == words
