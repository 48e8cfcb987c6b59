"""Components say what their parameters must be, before anything is built of them, and nothing else is said."""

import gc
import importlib
import inspect
import pkgutil
import re
import warnings

import pytest
from amaranth.hdl import Elaboratable, Fragment, Module
from amaranth.lib import data

import superlip.rtl
from superlip.rtl.config import NodeConfig
from superlip.rtl.control import Control
from superlip.rtl.copy_address import CopyRows, local_copy_layout
from superlip.rtl.isa import Opcode, Unit
from superlip.rtl.link.buffer import FrameBuffer
from superlip.rtl.link.port import LinkPort
from superlip.rtl.memory import BankedMemory, BlockFifo
from superlip.rtl.parameters import Component
from superlip.rtl.pe_array import PEArray
from superlip.rtl.registers import Register, registers
from superlip.rtl.requantize import Requantize
from superlip.rtl.wide_memory import WideMemory

RIGHT = {
    # What each parameter is in the components that have one of this name.
    "config": NodeConfig(depthwise_rows=16), "latency": 11, "beat_bytes": 8, "data_bytes": 8, "burst_beats": 16,
    "count_bits": 16, "ports": 2, "registers": registers(), "layout": local_copy_layout(Opcode.LOAD),
    "opcode": Opcode.LOAD, "depth": 4, "bits": 10, "wait_bits": 6, "swap_cycles": 4, "outstanding": 4,
    "unit": Unit.FEED, "counter_bits": 10,
    "in_flight": 8, "width": 8, "flit_bytes": 8, "slots": 4, "announce_cycles": 64, "words": 64, "banks": 2, "lanes": 8,
    "readers": 2, "writers": 2, "patience": 16, "shape": 8, "tm": 8, "tn": 8, "mac": "packed", "word_bits": 64,
    "columns": 2, "ways": 4, "rank": 3,
}  # fmt: skip
WRONG = (True, 0, -1, 8.0, 1 << 40, "eight", None, [])
"""For every parameter; and what is wrong for some of them only is below."""


def public_components():
    """Classes of all modules."""
    for module in pkgutil.walk_packages(superlip.rtl.__path__, "superlip.rtl."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            is_component = inspect.isclass(thing) and issubclass(thing, Elaboratable)
            if is_component and thing.__module__ == module.name and thing is not Component and name[0] != "_":
                yield thing


COMPONENTS = list(public_components())


def parameters(kind):
    """Names of what its constructor takes."""
    names = inspect.signature(kind.__init__).parameters
    return [name for name in names if name not in ("self", "signature", "src_loc_at")]


CASES = [(kind, name) for kind in COMPONENTS for name in parameters(kind)]


@pytest.fixture
def heard():
    """What is said of components that are made and never used; Amaranth begins when it has elaborated something."""
    Fragment.get(Module(), None)
    gc.collect()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield said


def refusal(make):
    """What it says."""
    try:
        make()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind.__name__}-{name}" for kind, name in CASES])
def test_every_parameter_of_every_component(kind, name, heard):
    right = {each: RIGHT[each] for each in parameters(kind)}
    for value in WRONG:
        if name == "shape" and value == 1 << 40:
            continue
        said = refusal(lambda value=value: kind(**right | {name: value}))
        assert said is not None, f"{kind.__name__}({name}={value!r}) is taken"
        assert name.rstrip("s") in said and repr(value) in said, said
    gc.collect()
    assert not [warning.message for warning in heard]


def test_docstrings_say_what_a_stranger_needs(heard):
    """Reset, time, every parameter with its default, every member."""
    for kind in COMPONENTS:
        text, signature = inspect.getdoc(kind), inspect.signature(kind.__init__)
        assert re.search(r"\b[Rr]eset", text) and re.search(r"cycle|Latency|Throughput", text), kind
        component = kind(**{name: RIGHT[name] for name in parameters(kind)})
        for name in (*parameters(kind), *component.signature.members):
            assert re.search(rf"\b{name}\b", text), f"{kind.__name__}: nothing of {name}"
        for name in parameters(kind):
            default = signature.parameters[name].default
            assert default is inspect.Parameter.empty or str(default) in text, f"{kind.__name__}: default of {name}"


def test_right_ones_are_taken_and_what_is_never_used_is_said(heard):
    """Of Amaranth's warning only that of refused parameters is gone."""
    assert len(COMPONENTS) > 40
    for kind in COMPONENTS:
        assert issubclass(kind, Component), kind
        kind(**{name: RIGHT[name] for name in parameters(kind)})
        gc.collect()
        assert any(f"{kind.__name__} object" in str(warning.message) for warning in heard), kind
        heard.clear()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Requantize(True), "lanes must be a whole number from 1 to 128, not True"),
        (lambda: Requantize(129), "lanes must be a whole number from 1 to 128, not 129"),
        (lambda: PEArray(4096, 4096), "tn must be a power of two from 2 to 128, not 4096"),
        (lambda: PEArray(130, 8), "tm must be a whole number from 1 to 128, not 130"),
        (lambda: PEArray(3, 8), "tm must be a multiple of 2"),
        (lambda: PEArray(8, 8, mac="double"), "mac must be one of packed, single, not 'double'"),
        (lambda: PEArray(8, 8, columns=3), "tm must be a multiple of columns=3, not 8"),
        (lambda: BlockFifo(0, 4), "shape must have at least one bit; the shape 0 has none"),
        (lambda: BlockFifo(8, 3), "depth must be a power of two from 2 to 65,536, not 3"),
        (lambda: FrameBuffer(0, depth=4), "width must be a whole number from 1 to 1,024, not 0"),
        (lambda: BankedMemory(96, 2, 8, 1, 1), "96 words do not split into 2 banks of a power of two of words"),
        (lambda: BankedMemory(64, 2, 8, 2, 1, patience=2), "patience must be a power of two above 2"),
        (lambda: WideMemory(12, 2, 8, 1, 1, ways=4), "12 words do not split into 2 banks of 4 ways"),
        (lambda: WideMemory(64, 2, 8, 1, 1, rank=3), "rank must be a whole number from 1 to 2, not 3"),
        (lambda: WideMemory(64, 2, 8, 2, 1, patience=2), "patience must be a power of two above 3"),
        (lambda: LinkPort(NodeConfig(link_bytes=16)), "a word of tn=8 bytes must be whole flits of link_bytes=16"),
        (
            lambda: Control([Register("A", 0, "wo", 8, "")]),
            "access of register A must be one of rw, ro, const, command",
        ),
        (lambda: Control([Register("A", 0, "rw", 33, "")]), "width of register A must be a whole number from 1 to 32"),
        (lambda: CopyRows(data.StructLayout({"start": 8})), "it has no count0, count1, count2, stride1, stride2"),
    ],
)
def test_refused(make, said, heard):
    assert said in refusal(make)
    gc.collect()
    assert not heard
