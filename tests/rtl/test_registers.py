"""The register map: consistent, and documented in full."""

import dataclasses

import pytest

from superlip.rtl.config import CHOICES, NodeConfig
from superlip.rtl.control import Control
from superlip.rtl.registers import Register, markdown, registers

MAP = registers()


def test_names_and_offsets_are_unique_and_aligned():
    assert len({r.name for r in MAP}) == len({r.offset for r in MAP}) == len(MAP)
    assert all(r.offset % 4 == 0 and 0 <= r.offset < 4096 for r in MAP)
    assert [r.offset for r in MAP] == sorted(r.offset for r in MAP)


def test_bits_fit_and_do_not_overlap():
    for r in MAP:
        assert 1 <= r.width <= 32 and 0 <= r.reset < 1 << r.width, r.name
        used = 0
        for b in r.bits:
            mask = ((1 << b.width) - 1) << b.offset
            assert not used & mask, f"{r.name}.{b.name}"
            used |= mask
        assert used < 1 << r.width, r.name


def test_every_size_of_a_node_can_be_read():
    """A value that no size has by default, in one size at a time, shows up in exactly one constant."""
    changed = {
        "tm": 16, "tn": 32, "act_words": 8192, "act_banks": 8, "weight_words": 16384, "weight_banks": 16,
        "acc_words": 512, "axi_ports": 2, "axi_outstanding": 8, "axi_burst_beats": 17, "queue_depth": 32,
        "link_bytes": 16, "frame_words": 64, "frame_slots": 2, "watchdog_cycles": 7, "mac": "single",
        "depthwise_rows": 64,
    }  # fmt: skip
    one = {name for name, choices in CHOICES.items() if len(choices) == 1}  # nothing to tell apart
    assert changed.keys() == {f.name for f in dataclasses.fields(NodeConfig)} - one
    for name, value in changed.items():
        other = registers(NodeConfig(**{name: value}))
        assert [r.offset for r in other] == [r.offset for r in MAP]
        different = [(a, b) for a, b in zip(MAP, other, strict=True) if a != b]
        assert len(different) == 1, name
        assert different[0][1].reset == (0 if name == "mac" else value)


def test_markdown_names_every_register_and_field():
    lines = markdown().splitlines()
    for r in MAP:
        assert sum(line.startswith(f"| 0x{r.offset:03X} | {r.name} | {r.access} ") for line in lines) == 1
    assert len(lines) == 2 + len(MAP) + sum(len(r.bits) for r in MAP)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Register("A", 4, "ro", 32, ""), "name"),
        (Register("B", 0, "ro", 32, ""), "offset"),
        (Register("B", 6, "ro", 32, ""), "0x6"),
        (Register("B", 4096, "ro", 32, ""), "0x1000"),
    ],
)
def test_control_refuses_a_bad_map(second, message):
    with pytest.raises(ValueError, match=message):
        Control([Register("A", 0, "ro", 32, ""), second])
