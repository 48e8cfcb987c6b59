"""Node files: presets, changes to them, and messages that name the mistake."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.boards import TARGETS, TargetError, load_target
from superlip.element import INT8, INT16
from superlip.rtl.config import LIMITS, NodeConfig


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


def test_without_a_preset_it_is_tiny(tmp_path):
    target = load(tmp_path, "clock_mhz = 100")
    assert (target.node, target.dram, target.link) == (TARGETS["tiny"].node, TARGETS["tiny"].dram, TARGETS["tiny"].link)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clock_mhz = ", "not a TOML file: "),
        ("[node", "not a TOML file: "),
        ("# nothing", "sets nothing: it should name a preset"),
        ('preset = "huge"', "preset = 'huge': must be 'tiny' or 'zcu102'"),
        ("preset = []", r"preset = \[\]: must be 'tiny' or 'zcu102'"),
        ("clock = 200", "clock: unknown; is clock_mhz meant"),
        ("clock_mhz = 0", "clock_mhz = 0: must be greater than or equal to 1"),
        ("clock_mhz = 1e-9", "clock_mhz = 1e-09: must be greater than or equal to 1"),
        ("clock_mhz = inf", "clock_mhz = inf: must be a finite number"),
        ("clock_mhz = nan", "clock_mhz = nan: must be a finite number"),
        ("clock_mhz = true", "clock_mhz = True: must be a valid number"),
        ('clock_mhz = "fast"', "clock_mhz = 'fast': must be a valid number"),
        ("clock_mhz = 1979-05-27", r"clock_mhz = datetime.date\(1979, 5, 27\): must be a valid number"),
        ("node = 3", r"\[node\] must be a table, not 3"),
        ("tm = 8", r"tm: unknown; it belongs in \[node\]"),
        ("[node]\nlatency = 8", r"\[node\] latency: unknown; it belongs in \[dram\] or \[link\]"),
        ("[node]\nact_word = 8", r"\[node\] act_word: unknown; is act_words meant\? known are acc_words, act_banks"),
        ("[node]\ntx = 8", r"\[node\] tx: unknown; .*known are .*tm"),
        ("[node]\ntm = 9", r"\[node\] tm must be a power of two from 8 to 128, not 9"),
        ("[node]\ntm = 65536", r"\[node\] tm must be a power of two from 8 to 128, not 65536"),
        ("[node]\ntm = 16", r"\[node\] a node needs tm = tn, not tm=16 and tn=8: the results of one layer"),
        ("[node]\ntm = 8.0", r"\[node\] tm = 8.0: must be a valid integer"),
        ("[node]\ntm = 8.5", r"\[node\] tm = 8.5: must be a valid integer"),
        ("[node]\ntm = true", r"\[node\] tm = True: must be a valid integer"),
        ("[node]\ntm = [8]", r"\[node\] tm = \[8\]: must be a valid integer"),
        ('[node]\nmac = "triple"', r"\[node\] mac must be 'packed' or 'single', not 'triple'"),
        ('[node]\nelement = "int16"', r"\[node\] element must be 'int8', not 'int16'"),
        ('[node]\nelement = "float"', r"\[node\] element must be 'int8', not 'float'"),
        ("[node]\nelement = 8", r"\[node\] element = 8: must be a valid string"),
        ("[node]\nmac = 1", r"\[node\] mac = 1: must be a valid string"),
        ("[node]\nact_words = 3000", r"\[node\] act_words=3000 must split into 4 banks"),
        ("[node]\nact_banks = 0", r"\[node\] act_banks must be a whole number from 1 to 64, not 0"),
        ("[node]\nact_words = 2097152", r"\[node\] act_words must be a whole number from 64 to 1,048,576, not 2097152"),
        ("[node]\naxi_ports = 4", r"\[node\] axi_ports=4 must split a word of tn=8 bytes"),
        ("[node]\naxi_burst_beats = 257", r"\[node\] axi_burst_beats must be a whole number from 1 to 256, not 257"),
        ("[node]\nqueue_depth = 1", r"\[node\] queue_depth must be a power of two from 2 to 1,024, not 1"),
        ("[node]\nlink_bytes = 16", r"\[node\] link_bytes=16 must be at most tn=8"),
        ("[node]\nframe_slots = 4096", r"\[node\] frame_slots must be a power of two from 1 to 128, not 4096"),
        ("[node]\nwatchdog_cycles = -1", r"\[node\] watchdog_cycles must be a whole number from 0 to .*, not -1"),
        ("[node]\nwatchdog_cycles = 4294967296", r"\[node\] watchdog_cycles must be .* from 0 to 4,294,967,295"),
        ("[dram]\nlatency = -1", r"\[dram\] latency = -1: must be greater than or equal to 0"),
        ("[dram]\nlatency = 4.5", r"\[dram\] latency = 4.5: must be a valid integer"),
        ("[dram]\nbytes_per_cycle = 0", r"\[dram\] bytes_per_cycle = 0: must be greater than or equal to 0.25"),
        ("[dram]\nbytes_per_cycle = inf", r"\[dram\] bytes_per_cycle = inf: must be a finite number"),
        ("[dram]\nburst_overhead = -0.5", r"\[dram\] burst_overhead = -0.5: must be greater than or equal to 0"),
        ("[dram]\nmegabytes = 0", r"\[dram\] megabytes = 0: must be greater than or equal to 1"),
        ("[dram]\nmegabytes = 10000000", r"\[dram\] megabytes = 10000000: must be less than or equal to 65536"),
        ('[link]\nbytes_per_cycle = "all"', r"\[link\] bytes_per_cycle = 'all': must be a valid number"),
        ("[link]\nlatency = 0", r"\[link\] latency = 0: must be greater than or equal to 1"),
        ("[link]\nlanes = 4", r"\[link\] lanes: unknown; .*known are bytes_per_cycle, latency"),
        ("[resources]\nlut = -1", r"\[resources\] lut = -1: must be greater than or equal to 0"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(TargetError, match=rf"mine\.toml: {message}|mine\.toml {message}"):
        load(tmp_path, text)


def test_the_element_is_known_by_its_name(tmp_path):
    assert load(tmp_path, '[node]\nelement = "int8"').node == TARGETS["tiny"].node
    assert NodeConfig(element="int8").element is INT8
    with pytest.raises(ValueError, match="element must be 'int8', not 'int16'"):
        NodeConfig(element=INT16)


@pytest.mark.parametrize("name", LIMITS)
def test_the_ends_of_every_limit(name):
    """NodeConfig takes what the table says, and not the next number beyond."""
    limit = LIMITS[name]
    for value in (limit.low - 1, limit.high + 1, float(limit.low), True):
        assert not limit.holds(value)
        with pytest.raises(ValueError, match=f"{name} must be .* from {limit.low:,} to {limit.high:,}, not {value!r}"):
            NodeConfig(**{name: value})
    assert limit.holds(limit.low) and limit.holds(limit.high)


@pytest.mark.parametrize("name", TARGETS)
def test_presets_say_what_they_are(tmp_path, name):
    """A file with every setting of a preset is that preset: its own values are within the limits."""
    target = dataclasses.asdict(TARGETS[name])
    lines = [f"clock_mhz = {target['clock_mhz']}"]
    for table in ("node", "dram", "link", "resources"):
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in target[table].items())]
    assert dataclasses.replace(load(tmp_path, "\n".join(lines)), name=name) == TARGETS[name]


def test_neither_preset_nor_file():
    with pytest.raises(TargetError, match=r"node 'zcu103' is neither a preset \(tiny, zcu102\) nor a file"):
        load_target("zcu103")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "text.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.toml").touch()
    for name, message in (("text.toml", "not a TOML file"), ("empty.toml", "sets nothing"), ("", "is a folder")):
        with pytest.raises(TargetError, match=message) as caught:
            load_target(tmp_path / name)
        assert "\n" not in str(caught.value)


@given(st.integers(-4, 1 << 12), st.integers(-4, 1 << 12))
def test_array_sizes_are_powers_of_two_or_refused(tm, tn):
    good = all(size >= 8 and size & (size - 1) == 0 for size in (tm, tn)) and max(tm, tn) <= 128
    if good:
        node = NodeConfig(tm=tm, tn=tn)
        assert node.macs_per_cycle == tm * tn
        assert node.axi_bytes * node.axi_ports * 8 == node.word_bits
    else:
        with pytest.raises(ValueError, match=r"tm|tn"):
            NodeConfig(tm=tm, tn=tn)
