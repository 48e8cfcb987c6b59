"""Proofs: the banked buffer and the FIFO in block RAM lose, repeat, mix up and reorder nothing."""

from itertools import pairwise

import pytest
from amaranth.hdl import Array, Assert, Cat, Cover, Mux, Signal
from amaranth.lib.wiring import In
from proofs import Fault, Proof, faults_of, proofs_of, steady

from superlip.rtl import memory
from superlip.rtl.config import ADDRESS_BITS
from superlip.sim.formal import Spec, available

pytestmark = pytest.mark.skipif(not available(), reason="pip install '.[formal]'")


class BankedMemorySpec(Spec):
    """One word, at any address, is followed: each read of it, by any port, brings what was written last."""

    def __init__(self, module):
        super().__init__(module.BankedMemory(6, 3, 2, readers=2, writers=2), watch=In(ADDRESS_BITS))

    def claim(self, m, dut):
        watch, held = steady(m, self.watch), Signal(8 * dut.lanes)
        for port in dut.write:
            for lane in range(dut.lanes):
                with m.If(port.valid & port.ready & (port.addr == watch) & port.mask[lane]):
                    m.d.sync += held.word_select(lane, 8).eq(port.data.word_select(lane, 8))
        for bank in range(dut.banks):
            for row, word in enumerate(self.rows(f"bank{bank}")):
                m.d.comb += Assert((watch != bank * dut.depth + row) | (word == held))
        for port in dut.read:
            accepted, word = port.valid & port.ready, Mux(watch < dut.words, held, 0)
            watched = accepted & (port.addr == watch)
            for _ in range(dut.latency):
                before = accepted, watched, word
                accepted, watched, word = Signal(), Signal(), Signal(8 * dut.lanes)
                m.d.sync += [accepted.eq(before[0]), watched.eq(before[1]), word.eq(before[2])]
            m.d.comb += [Assert(port.data_valid == accepted), Assert(~watched | (port.data == word))]


class ArbitrationSpec(Spec):
    """Who waits, waits for a port before it that is served in the same bank; nobody else does."""

    def __init__(self, module):
        super().__init__(module.BankedMemory(6, 3, 1, readers=4, writers=3))

    def claim(self, m, dut):
        for ports in (list(dut.read), list(dut.write)):
            m.d.comb += Assert(ports[0].ready)
            for index, port in enumerate(ports):
                bank = port.addr // dut.depth
                served = Cat(p.valid & p.ready & (p.addr // dut.depth == bank) for p in ports)
                waits = port.valid & ~port.ready
                waited, for_others = Signal(8), Signal(8)
                with m.If(~waits):
                    m.d.sync += [waited.eq(0), for_others.eq(0)]
                with m.Elif(~waited.all()):
                    m.d.sync += [waited.eq(waited + 1), for_others.eq(for_others + served[:index].any())]
                m.d.comb += [
                    Assert(waited == for_others),
                    # One in a bank, and one if anybody wants it.
                    Assert(~port.valid | (sum(served) == 1)),
                ]
                if index:
                    m.d.comb += Cover(waited == 6)


class BlockFifoSpec(Spec):
    """It is a queue: a list that is shifted, compared item by item."""

    def __init__(self, module):
        super().__init__(module.BlockFifo(3, 4))

    def claim(self, m, dut):
        items, level = Array(Signal(3, name="item") for _ in range(dut.depth + 2)), Signal(range(dut.depth + 2))
        put, taken = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        with m.If(taken):
            m.d.sync += [here.eq(there) for here, there in pairwise(items)]
        with m.If(put):
            m.d.sync += items[level - taken].eq(dut.i.payload)
        m.d.sync += level.eq(level + put - taken)

        written, fetched, out = self.inside("written"), self.inside("fetched"), dut.o.valid
        stored = Signal.like(written)
        held_back = Signal(2)
        m.d.sync += held_back.eq(Mux((level != 0) & ~out, held_back + 1, 0))
        m.d.comb += [
            stored.eq(written - fetched),
            Assert(stored <= dut.depth),
            Assert(level == stored + out),
            Assert(~out | (dut.o.payload == items[0])),
            Assert(dut.i.ready | (stored == dut.depth)),
            Assert(held_back < dut.latency),
        ]
        for place in range(dut.depth):
            row = self.rows("ram")[(fetched + place)[:2]]
            m.d.comb += Assert((place >= stored) | (row == Mux(out, items[place + 1], items[place])))


PROOFS = [
    Proof(
        component="BankedMemory",
        claim="a read brings the word of its address as last written before, and each accepted read is answered once, "
        "in order; outside of the memory reads bring zero and writes change nothing (3 banks of 2 words of 2 bytes, "
        "2 readers, 2 writers)",
        module=memory,
        spec=BankedMemorySpec,
        depth=3,
        faults=(
            Fault(
                name="arbitration blind to its neighbour",
                old="for other in ports[:index]]",
                new="for other in ports[: max(0, index - 1)]]",
            ),
            Fault(
                name="the reply of another bank",
                old="m.d.sync += next_bank.eq(bank)",
                new="m.d.comb += next_bank.eq(bank)",
            ),
            Fault(
                name="mask ignored",
                old="wp.en.eq(Mux(Cat(hits).any(), mask, 0))",
                new="wp.en.eq(Mux(Cat(hits).any(), -1, 0))",
            ),
        ),
    ),
    Proof(
        component="BankedMemory, arbitration",
        claim="port 0 never waits; a port waits only while a port before it is served in the same bank, one cycle for "
        "each word: a bank that anybody wants serves exactly one (3 banks, 4 readers, 3 writers)",
        module=memory,
        spec=ArbitrationSpec,
        depth=2,
        faults=(
            Fault(
                name="waits for others' banks",
                old="other.valid & (self._bank(other) == self._bank(port)) for",
                new="other.valid for",
            ),
            Fault(name="two served in one bank", old="in ports[:index]]", new="in ports[: min(index, 2)]]"),
        ),
    ),
    Proof(
        component="BankedMemory, starvation",
        claim="reachable: any port but the first waits as long as those before it keep its bank busy; no port but 0 "
        "has a bound of its own",
        module=memory,
        spec=ArbitrationSpec,
        mode="cover",
        depth=9,
    ),
    Proof(
        component="BlockFifo",
        claim="what goes in comes out once, in order, as it was; it takes an item while it has less than `depth`, and "
        "gives one at the latest `latency` cycles after it came (4 items of 3 bits)",
        module=memory,
        spec=BlockFifoSpec,
        depth=3,
        faults=(
            Fault(
                name="one item too many",
                old="full = (written ^ fetched) == self.depth",
                new="full = (written - fetched)[: self.depth.bit_length()] > self.depth",
                depth=8,
            ),
            Fault(
                name="an item read over",
                old="rp.en.eq((written != fetched) & (~self.o.valid | self.o.ready)),",
                new="rp.en.eq(written != fetched),",
            ),
        ),
    ),
]


@pytest.mark.parametrize("proof", proofs_of(PROOFS))
def test_proof(proof):
    proof.holds()


@pytest.mark.parametrize(("proof", "fault"), faults_of(PROOFS))
def test_fault_is_found(proof, fault):
    proof.finds(fault)
