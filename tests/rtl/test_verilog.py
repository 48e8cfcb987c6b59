"""Verilog text: ports, memories, and that it is the same every time."""

import re

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from superlip.rtl.verilog import WAIVED, ports_of, to_verilog


class Delay(wiring.Component):
    """A memory and a stream that is always ready."""

    def __init__(self, init=()):
        self.init = init
        super().__init__({"i": In(stream.Signature(8, always_ready=True)), "address": In(4), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=8, depth=16, init=self.init)
        write, read = words.write_port(), words.read_port()
        count = Signal(4)
        m.d.sync += count.eq(count + self.i.valid)
        m.d.comb += [
            write.addr.eq(count), write.data.eq(self.i.payload), write.en.eq(self.i.valid),
            read.addr.eq(self.address), self.o.eq(read.data),
        ]  # fmt: skip
        return m


def test_constant_members_get_no_port():
    component = Delay()
    assert isinstance(component.i.ready, Const)
    assert set(ports_of(component)) == {"i__payload", "i__valid", "address", "o"}
    text = to_verilog(component, "delay")
    ports = re.search(r"module delay\(([^)]*)\);", text)[1].split(", ")
    assert sorted(ports) == ["address", "clk", "i__payload", "i__valid", "o", "rst"]
    assert "i__ready" not in text


def test_only_a_memory_that_holds_something_is_written_at_the_start():
    empty, full = to_verilog(Delay()), to_verilog(Delay([3, 5]))
    assert empty.count("8'h05") == 0 < full.count("8'h05")
    assert len(full.splitlines()) > len(empty.splitlines())


def test_same_text_for_the_same_design():
    assert to_verilog(Delay([1])) == to_verilog(Delay([1])) != to_verilog(Delay([2]))


def test_each_waiver_is_in_the_text_with_its_reason():
    text = to_verilog(Delay())
    for rule, reason in WAIVED.items():
        assert f"lint_off {rule} */ // {reason}\n" in text
