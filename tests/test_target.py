"""Node files: presets, changes to them, and messages that name the mistake."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from superlip.boards import TARGETS, TargetError, load_target
from superlip.rtl.config import NodeConfig


def load(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_target(path)


@pytest.mark.parametrize("name", TARGETS)
def test_presets(name):
    assert load_target(name) is TARGETS[name]
    assert TARGETS[name].name == name


def test_a_file_changes_what_it_names(tmp_path):
    target = load(
        tmp_path,
        'preset = "zcu102"\nclock_mhz = 150\n[node]\nact_words = 16384\n[dram]\nlatency = 90\n[link]\nlatency = 7\n',
    )
    base = TARGETS["zcu102"]
    assert target.name == "mine"
    assert target.clock_mhz == 150.0
    assert (target.node.act_words, target.node.tm, target.node.weight_words) == (16384, 64, base.node.weight_words)
    assert (target.dram.latency, target.dram.bytes_per_cycle) == (90, base.dram.bytes_per_cycle)
    assert (target.link.latency, target.link.bytes_per_cycle) == (7, base.link.bytes_per_cycle)


def test_a_file_describes_another_fpga(tmp_path):
    target = load(tmp_path, 'preset = "zcu102"\n[resources]\ndsp = 1728\nuram = 96\n')
    base = TARGETS["zcu102"]
    assert target.resources == dataclasses.replace(base.resources, dsp=1728, uram=96)
    assert base.resources.dsp == 2520


def test_an_empty_file_is_tiny(tmp_path):
    target = load(tmp_path, "")
    assert (target.node, target.dram, target.link) == (TARGETS["tiny"].node, TARGETS["tiny"].dram, TARGETS["tiny"].link)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clock_mhz = ", "not a TOML file"),
        ('preset = "huge"', "preset 'huge' is none of tiny, zcu102"),
        ("clock = 200", "clock = 200 is not a setting"),
        ("clock_mhz = 0", "clock_mhz = 0 is not a setting"),
        ('clock_mhz = "fast"', "clock_mhz = 'fast' is not a setting"),
        ("node = 3", r"\[node\] must be a table"),
        ("[node]\ntx = 8", r"\[node\] tx: unknown; known are .*tm"),
        ("[node]\ntm = 9", r"\[node\] tm must be a power of two, at least 8, not 9"),
        ("[node]\ntm = 8.0", r"\[node\] tm must be an integer, not 8.0"),
        ("[node]\ntm = true", r"\[node\] tm must be an integer, not True"),
        ('[node]\nmac = "triple"', r"\[node\] mac must be 'packed' or 'single'"),
        ("[node]\nact_words = 3000", r"\[node\] act_words=3000 must split into 4 banks"),
        ("[node]\nact_words = 2097152", r"\[node\] act_words=2097152 exceeds the 20-bit address"),
        ("[node]\naxi_ports = 4", r"\[node\] axi_ports=4 must split a word of tn=8 bytes"),
        ("[node]\naxi_burst_beats = 257", r"\[node\] axi_burst_beats must be 1 to 256"),
        ("[dram]\nlatency = -1", r"\[dram\] latency = -1 must be a number of at least 0"),
        ('[link]\nbytes_per_cycle = "all"', r"\[link\] bytes_per_cycle = 'all' must be a number"),
        ("[link]\nlanes = 4", r"\[link\] lanes: unknown; known are bytes_per_cycle, latency"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(TargetError, match=rf"mine\.toml: .*{message}"):
        load(tmp_path, text)


def test_neither_preset_nor_file():
    with pytest.raises(TargetError, match=r"node 'zcu103' is neither a preset \(tiny, zcu102\) nor a file"):
        load_target("zcu103")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match="not a TOML file"):
        load_target(path)


@given(st.integers(-4, 1 << 12), st.integers(-4, 1 << 12))
def test_array_sizes_are_powers_of_two_or_refused(tm, tn):
    good = all(size >= 8 and size & (size - 1) == 0 for size in (tm, tn)) and tn <= 128
    if good:
        node = NodeConfig(tm=tm, tn=tn)
        assert node.macs_per_cycle == tm * tn
        assert node.axi_bytes * node.axi_ports * 8 == node.word_bits
    else:
        with pytest.raises(ValueError, match=r"tm|tn"):
            NodeConfig(tm=tm, tn=tn)
