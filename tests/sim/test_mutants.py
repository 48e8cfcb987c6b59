"""Mutants: a testbench kills those that it looks at, the others live; what nothing can tell is proved equal."""

import json
import re
import sys

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from proofs import NEEDS_TOOLS

from superlip.rtl.axi import ReadMux
from superlip.rtl.config import NodeConfig
from superlip.rtl.node import Node
from superlip.sim.mutants import command
from superlip.sim.mutants.campaign import KILLED, Campaign
from superlip.sim.mutants.components import COMPONENTS, Component
from superlip.sim.mutants.equivalence import equivalent, unreached
from superlip.sim.mutants.netlist import TOP, plant
from superlip.sim.mutants.planting import NotThereError, netlist_of, verilog_with
from superlip.sim.mutants.table import markdown
from superlip.sim.runner import load_testbench
from superlip.sim.stand_ins import StandIns

pytestmark = NEEDS_TOOLS

MINE = """
import cocotb
from cocotb.triggers import RisingEdge
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from superlip.sim.runner import rng
from superlip.sim.testbenches._streams import start

CASES = {"only": {}}


class Parts(wiring.Component):
    clear: In(1)
    a: In(4)
    b: In(4)
    seen: Out(4)
    doubled: Out(4)
    unseen: Out(4)
    never: Out(1)

    def elaborate(self, platform):
        m = Module()
        inner = Inner()
        m.submodules.inner = ResetInserter(self.clear)(inner)
        m.d.comb += [inner.a.eq(self.a), inner.b.eq(self.b)]
        m.d.comb += [getattr(self, n).eq(getattr(inner, n)) for n in ("seen", "doubled", "unseen", "never")]
        return m


class Inner(wiring.Component):
    a: In(4)
    b: In(4)
    seen: Out(4)
    doubled: Out(4)
    unseen: Out(4)
    never: Out(1)

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
        turn = Signal(3)
        with m.If(turn == 4):
            m.d.sync += turn.eq(0)
        with m.Else():
            m.d.sync += turn.eq(turn + 1)
        m.d.comb += self.never.eq(turn == 7)
        return m


def build():
    return Parts()


@cocotb.test()
async def adds(dut):
    r, expected = rng(), None
    dut.a.value = dut.b.value = dut.clear.value = 0
    await start(dut)
    for _ in range(200):
        a, b, clear = r.getrandbits(4), r.getrandbits(4), r.random() < 0.1
        dut.a.value, dut.b.value, dut.clear.value = a, b, int(clear)
        await RisingEdge(dut.clk)
        assert int(dut.doubled.value) == a & b
        assert expected is None or int(dut.seen.value) == expected
        expected = 0 if clear else (a + b) % 16


@cocotb.test()
async def ends(dut):
    dut.clear.value = 0
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


def component_of(path):
    return Component(load_testbench(path).Inner, path, "only", 40)


def test_a_campaign(mine, tmp_path):
    """Each of the four verdicts where it belongs but for ``slow``, and nothing is run twice."""
    campaign = Campaign(component_of(mine), folder=tmp_path)
    results = campaign.run(jobs=2)
    verdicts = {str(mutant): result for mutant, result in zip(campaign.mutants, results, strict=True)}
    assert len(results) == 40
    for what, result in verdicts.items():
        if "doubled[" in what:
            assert result.verdict == "fast", what
        if "unseen[" in what:
            assert result.verdict == "alive", what
        if "never[" in what and "const0" in what:
            assert result.verdict == "bounded", what
    assert not unreached(campaign.netlist.rtlil, [r.number for r in results if r.verdict in KILLED])
    counts = {
        verdict: sum(r.verdict == verdict for r in results) for verdict in ("fast", "equivalent", "bounded", "alive")
    }
    assert counts["bounded"] > 0
    assert counts["fast"] > 10 and counts["equivalent"] > 0 and counts["alive"] > 0
    # The second test has no end where ``doubled`` is wrong.
    assert any(result.how == "timeout" for result in results)
    files = sorted(campaign.folder.glob("mutant-*.json"))
    before = {path: path.stat().st_mtime_ns for path in files}
    (first, *_) = files
    first.unlink()
    assert Campaign(component_of(mine), folder=tmp_path).run() == results
    assert {p for p in files if p.stat().st_mtime_ns != before[p]} == {first}
    elsewhere = Campaign(component_of(mine), folder=tmp_path / "other", known={campaign.key: campaign.as_known()})
    assert elsewhere.run() == results
    page = markdown([(campaign, results)], seeds=4, some=40)
    assert f"| Inner | parts[only], no node | 40 | {counts['fast']} | 0 | 0 | {counts['equivalent']} |" in page
    assert page.count("not explained yet") == 1


def test_a_testbench_that_fails_without_a_mutant(mine, tmp_path):
    mine.write_text(MINE.replace("== a & b", "== a | b"))
    with pytest.raises(
        RuntimeError, match=r"Inner in parts\[only\] fails by itself: mutant 0, seed 1: adds \(failed\)"
    ):
        Campaign(component_of(mine), folder=tmp_path).run()


def test_a_mutant_of_a_memory_is_not_called_equivalent(mine):
    """What is written to a memory counts, though nothing shows it in the same cycle."""
    netlist = plant(netlist_of(load_testbench(mine).Inner, load_testbench(mine).build()), 120, 1)
    stored = [mutant.number for mutant in netlist.mutants if "stored[" in str(mutant)]
    assert stored and not equivalent(netlist.rtlil, stored)


class Unread(wiring.Component):
    """Shows the lower half of what it keeps."""

    d: In(8)
    take: In(1)
    q: Out(4)

    def elaborate(self, platform):
        m = Module()
        kept = Signal(8)
        with m.If(self.take):
            m.d.sync += kept.eq(self.d)
        m.d.comb += self.q.eq(kept)
        return m


def test_a_mutant_of_what_nothing_reads_is_equivalent():
    """Though the register's content differs."""
    netlist = plant(netlist_of(Unread, Unread()), 60, 1)
    bits = {m.number: str(m) for m in netlist.mutants if re.search(r" (d|kept)\[", str(m))}
    unread = {number for number, what in bits.items() if int(what[-2]) >= 4}
    assert {"d", "kept"} == {bits[number].split()[1][:-3] for number in unread}
    assert equivalent(netlist.rtlil, list(bits)) == unread


def test_a_component_that_is_not_there(mine):
    """Of the class, and of the ports: a node of wider words has another ReadMux."""
    with pytest.raises(NotThereError, match="Node has no Inner"):
        netlist_of(load_testbench(mine).Inner, Node(NodeConfig()))
    netlist = plant(netlist_of(ReadMux, Node(NodeConfig())), 10, 1)
    with pytest.raises(NotThereError, match="Node has no ReadMux of these sizes"):
        verilog_with(netlist, ReadMux, Node(NodeConfig(tm=16, tn=16)), "top")


def test_what_is_known_is_written_without_a_run(tmp_path, capsys):
    known, table, folder = tmp_path / "known.json", tmp_path / "table.md", tmp_path / "results"
    arguments = ["read_mux", "--no-run", "--folder", str(folder), "--known", str(known), "--table", str(table)]
    assert command.main(arguments) == 0
    assert "ReadMux (0 of 40 decided)" in table.read_text() and not json.loads(known.read_text())
    (path,) = folder.glob("ReadMux-*")
    result = {"number": 7, "mutant": "inv x[0]", "verdict": "fast", "killed_by": "reads", "how": "failed"}
    known.write_text(json.dumps({path.name: [result]}))
    assert command.main(arguments) == 0
    assert "ReadMux (1 of 40 decided)" in table.read_text()
    assert json.loads(known.read_text()) == {path.name: [result]}


@pytest.mark.slow
def test_the_testbench_of_a_node(tmp_path):
    """It kills mutants of a component in it, also where that is not told apart from others but by its ports."""
    (component,) = (c for c in COMPONENTS if c.kind is ReadMux)
    campaign = Campaign(component, folder=tmp_path)
    survivors = campaign._round(campaign._node_bench(), (1,), "node", campaign.mutants, 2, lambda done, text: None)
    assert 0 <= len(survivors) < 15
    assert all(result.verdict == "node" for result in campaign.results().values())


def test_every_component_has_its_testbench():
    for component in COMPONENTS:
        assert component.case == next(iter(load_testbench(component.testbench).CASES)), component
        if component.sizes is not None:
            NodeConfig(**component.sizes).require_node()
    assert sum(component.count for component in COMPONENTS) >= 1000


@pytest.mark.slow
@pytest.mark.parametrize("component", [c for c in COMPONENTS if c.node is not None], ids=lambda c: c.name)
def test_a_node_has_the_very_component(component):
    """With stand-ins for what is around it, though not for what it is in."""
    design = load_testbench(component.testbench).build(**component.parameters)
    netlist = plant(netlist_of(component.kind, design), 2, 1, modules=component.modules)
    platform = None if component.in_stand_in else StandIns()
    text = verilog_with(netlist, component.kind, Node(NodeConfig(**component.sizes)), "top", platform=platform)
    assert f"  {TOP} " in text


def test_a_commit_chooses(monkeypatch, capsys):
    """The same components and mutants for the same commit; too many survivors are a failure."""
    chosen = []

    class Stub:
        name, mutants = "stub", ()

        def __init__(self, component, *, count, seed, folder):
            chosen.append((component.testbench, count, seed))

        def run(self, *, jobs, again, progress):
            return []

    monkeypatch.setattr(command, "Campaign", Stub)
    assert command.main(["--some-by", "abc"]) == command.main(["--some-by", "abc"]) == 0
    assert chosen[:2] == chosen[2:] and sum(count for _, count, _ in chosen[:2]) == 40
    assert "0 of 0 mutants killed" in capsys.readouterr().out
