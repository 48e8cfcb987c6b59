"""Mutants: a testbench kills those that it looks at, the others live; what nothing can tell is proved equal."""

import sys

import pytest
from proofs import NEEDS_TOOLS

from superlip.rtl.verilog import to_rtlil
from superlip.sim.mutants import command
from superlip.sim.mutants.campaign import Campaign
from superlip.sim.mutants.components import COMPONENTS
from superlip.sim.mutants.equivalence import equivalent
from superlip.sim.mutants.netlist import plant
from superlip.sim.mutants.table import markdown
from superlip.sim.runner import load_testbench

pytestmark = NEEDS_TOOLS

MINE = """
import cocotb
from cocotb.triggers import RisingEdge
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from superlip.sim.runner import rng
from superlip.sim.testbenches._streams import start

CASES = {"only": {}}


class Parts(wiring.Component):
    a: In(4)
    b: In(4)
    seen: Out(4)
    doubled: Out(4)
    unseen: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = Inner()
        wiring.connect(m, wiring.flipped(self), inner)
        return m


class Inner(wiring.Component):
    a: In(4)
    b: In(4)
    seen: Out(4)
    doubled: Out(4)
    unseen: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=4, depth=16, init=[])
        write, read = ram.write_port(), ram.read_port()
        both, stored = Signal(4), Signal(4)
        m.d.comb += [
            both.eq(self.a & self.b),
            stored.eq(self.a ^ self.b),
            write.addr.eq(self.a), write.data.eq(stored), write.en.eq(1), read.addr.eq(self.b), read.en.eq(1),
            self.doubled.eq(both | (both & self.seen)),
            self.unseen.eq(read.data),
        ]
        m.d.sync += self.seen.eq(self.a + self.b)
        return m


def build():
    return Parts()


@cocotb.test()
async def adds(dut):
    r, expected = rng(), None
    dut.a.value = dut.b.value = 0
    await start(dut)
    for _ in range(200):
        a, b = dut.a.value, dut.b.value = r.getrandbits(4), r.getrandbits(4)
        await RisingEdge(dut.clk)
        assert int(dut.doubled.value) == a & b
        assert expected is None or int(dut.seen.value) == expected
        expected = (a + b) % 16


@cocotb.test()
async def ends(dut):
    dut.a.value = dut.b.value = 1
    await start(dut)
    for cycle in range(10):
        await RisingEdge(dut.clk)
        while dut.doubled.value != 1:
            await RisingEdge(dut.clk)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    path = tmp_path / "parts.py"
    path.write_text(MINE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield path
    sys.modules.pop("parts", None)


def test_a_campaign(mine, tmp_path):
    """Each of the four verdicts where it belongs but for ``slow``, and nothing is run twice."""
    campaign = Campaign(mine, "only", 40, folder=tmp_path)
    results = campaign.run(jobs=2)
    verdicts = {str(mutant): result for mutant, result in zip(campaign.mutants, results, strict=True)}
    assert len(results) == 40
    for what, result in verdicts.items():
        if "doubled[" in what:
            assert result.verdict == "fast", what
        if "unseen[" in what:
            assert result.verdict == "alive", what
    counts = {verdict: sum(r.verdict == verdict for r in results) for verdict in ("fast", "equivalent", "alive")}
    assert counts["fast"] > 15 and counts["equivalent"] > 0 and counts["alive"] > 0
    # The second test has no end where ``doubled`` is wrong.
    assert any(result.how == "timeout" for result in results)
    files = sorted(campaign.folder.glob("mutant-*.json"))
    before = {path: path.stat().st_mtime_ns for path in files}
    (first, *_) = files
    first.unlink()
    assert Campaign(mine, "only", 40, folder=tmp_path).run() == results
    assert {p for p in files if p.stat().st_mtime_ns != before[p]} == {first}
    page = markdown([(campaign, results)], seeds=4, some=40)
    assert f"| parts[only] | 40 | {counts['fast']} | 0 | {counts['equivalent']} | {counts['alive']} |" in page
    assert page.count("not explained yet") == 1


def test_a_testbench_that_fails_without_a_mutant(mine, tmp_path):
    mine.write_text(MINE.replace("== a & b", "== a | b"))
    with pytest.raises(RuntimeError, match=r"parts\[only\] fails by itself: mutant 0, seed 1: adds \(failed\)"):
        Campaign(mine, "only", 40, folder=tmp_path).run()


def test_a_mutant_of_a_memory_is_not_called_equivalent(mine):
    """What is written to a memory counts, though nothing shows it in the same cycle."""
    netlist = plant(to_rtlil(load_testbench(mine).build()), 120, 1)
    stored = [mutant.number for mutant in netlist.mutants if "stored[" in str(mutant)]
    assert stored and not equivalent(netlist.rtlil, stored)


def test_every_component_has_its_testbench():
    for component in COMPONENTS:
        assert component.case == next(iter(load_testbench(component.testbench).CASES)), component
    assert sum(component.count for component in COMPONENTS) >= 1000


def test_a_commit_chooses(monkeypatch, capsys):
    """The same components and mutants for the same commit; too many survivors are a failure."""
    chosen = []

    class Stub:
        name, mutants = "stub", ()

        @classmethod
        def of(cls, component, *, count, seed, folder):
            chosen.append((component.testbench, count, seed))
            return cls()

        def run(self, *, jobs, again, progress):
            return []

    monkeypatch.setattr(command, "Campaign", Stub)
    assert command.main(["--some-by", "abc"]) == command.main(["--some-by", "abc"]) == 0
    assert chosen[:2] == chosen[2:] and sum(count for _, count, _ in chosen[:2]) == 40
    assert "0 of 0 mutants killed" in capsys.readouterr().out
