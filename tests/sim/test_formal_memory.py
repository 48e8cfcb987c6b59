"""Proofs: the banked buffer and the FIFO in block RAM lose, repeat, mix up and reorder nothing."""

from itertools import pairwise, product

from amaranth.hdl import Array, Assert, Cat, Cover, Mux, Signal
from amaranth.lib.wiring import In
from proofs import Fault, Proof, checks_of, steady

from superlip.rtl import memory, wide_memory
from superlip.rtl.config import ADDRESS_BITS
from superlip.sim.formal import Spec


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
    """A bank serves one of those who want it: whose turn it is, or the first; and each has a turn in ``patience``."""

    def __init__(self, module):
        super().__init__(module.BankedMemory(6, 3, 1, readers=4, writers=3, patience=8))

    def claim(self, m, dut):
        clock = self.inside("clock")
        for kind, ports in (("read", list(dut.read)), ("write", list(dut.write))):
            turns = [self.inside(f"{kind}_turn_{index}") for index in range(len(ports))]
            for index, (port, turn) in enumerate(zip(ports, turns, strict=True)):
                bank = port.addr // dut.depth
                served = [p.valid & p.ready & (p.addr // dut.depth == bank) for p in ports]
                waits, waited = port.valid & ~port.ready, Signal(range(2 * dut.patience))
                m.d.sync += waited.eq(Mux(waits, waited + 1, 0))
                its_turn = index * (dut.patience // len(ports)) + 1
                in_turn = Cat(s & t for s, t in zip(served, turns, strict=True) if t is not turn).any()
                m.d.comb += [
                    # One in a bank, and one if anybody wants it.
                    Assert(~port.valid | (sum(served) == 1)),
                    Assert(~waits | Cat(served[:index]).any() | in_turn),
                    Assert(turn == (clock == its_turn)),
                    Assert(waited <= (clock - its_turn - 1)[: len(clock)]),
                    Assert(waited < dut.patience),
                ]
                if index:
                    m.d.comb += Cover(waited == dut.patience - 1)


class WideMemorySpec(Spec):
    """As BankedMemorySpec; and ``wide`` reads the word of each way, or of none."""

    def __init__(self, module):
        dut = module.WideMemory(12, 3, 1, readers=2, writers=2, rank=2)
        super().__init__(dut, watch=In(ADDRESS_BITS + 1))  # so far reach the addresses of ``wide``

    def claim(self, m, dut):
        watch, held, bits = steady(m, self.watch), Signal(8 * dut.lanes), 8 * dut.lanes
        for port in dut.write:
            with m.If(port.valid & port.ready & (port.addr == watch) & port.mask[0]):
                m.d.sync += held.eq(port.data)
        for way, bank in product(range(dut.ways), range(dut.banks)):
            for row, word in enumerate(self.rows(f"way{way}.bank{bank}")):
                m.d.comb += Assert((watch != (bank * 2 + row) * dut.ways + way) | (word == held))
        wide = (dut.wide, dut.wide.addr == watch >> 1, dut.wide.data.word_select(watch[0], bits))
        for port, is_watched, data in (wide, *((port, port.addr == watch, port.data) for port in dut.read)):
            accepted, word = port.valid & port.ready, Mux(watch < dut.words, held, 0)
            watched = accepted & is_watched
            for _ in range(dut.latency):
                before = accepted, watched, word
                accepted, watched, word = Signal(), Signal(), Signal(bits)
                m.d.sync += [accepted.eq(before[0]), watched.eq(before[1]), word.eq(before[2])]
            m.d.comb += [Assert(port.data_valid == accepted), Assert(~watched | (data == word))]


class WideArbitrationSpec(Spec):
    """Whoever is refused sees another one served in its bank and way, and waits for less than ``patience``."""

    def __init__(self, module):
        super().__init__(module.WideMemory(12, 3, 1, readers=2, writers=3, rank=2, patience=4))

    def claim(self, m, dut):
        clocks = [self.inside(f"way{way}.clock") for way in range(dut.ways)]
        m.d.comb += Assert(clocks[0] == clocks[1])
        readers = [dut.read[0], dut.wide, dut.read[1]]
        for kind, ports in (("read", readers), ("write", list(dut.write))):
            for index, port in enumerate(ports):
                others = [p.valid & p.ready & self.meet(dut, p, port) for p in ports if p is not port]
                waits, waited = port.valid & ~port.ready, Signal(range(2 * dut.patience))
                m.d.sync += waited.eq(Mux(waits, waited + 1, 0))
                its_turn = index * (dut.patience // len(ports)) + 1
                m.d.comb += [
                    Assert(~port.valid | (port.ready != Cat(others).any())),
                    Assert(waited <= (clocks[0] - its_turn - 1)[: len(clocks[0])]),
                    Assert(waited < dut.patience),
                ]
                for way in range(dut.ways):
                    turn = self.inside(f"way{way}.{kind}_turn_{index}")
                    m.d.comb += Assert(turn == (clocks[0] == its_turn))

    @staticmethod
    def meet(dut, one, other):
        """Whether two ports want a word of the same bank and way: a bank has 2 words of each."""
        one_bank, other_bank = (port.addr // (2 if port is dut.wide else 2 * dut.ways) for port in (one, other))
        same_way = (one is dut.wide) | (other is dut.wide) | (one.addr[0] == other.addr[0])
        return (one_bank == other_bank) & same_way


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
                old="enumerate(ports) if n != index]",
                new="enumerate(ports) if n not in (index, index - 1)]",
            ),
            Fault(
                name="the reply of another bank",
                old="m.d.sync += next_bank.eq(bank)",
                new="m.d.comb += next_bank.eq(bank)",
            ),
            Fault(
                name="mask ignored",
                old="wp.en.eq(_one(served, [p.mask for p in write]))",
                new="wp.en.eq(Mux(served.any(), -1, 0))",
            ),
        ),
    ),
    Proof(
        component="BankedMemory, arbitration",
        claim="a bank that anybody wants serves exactly one; a port waits only for one before it, or for one whose "
        "turn it is, and never for `patience` cycles (3 banks, 4 readers, 3 writers, a patience of 8)",
        module=memory,
        spec=ArbitrationSpec,
        depth=2,
        faults=(
            Fault(
                name="waits for others' banks",
                old="other.valid & (self._bank(other) == self._bank(port)) & first",
                new="other.valid & first",
            ),
            Fault(
                name="two served in one bank",
                old="for n, p in enumerate(ports) if n != index]",
                new="for n, p in enumerate(ports) if n < index]",
            ),
            Fault(
                name="no turn for the last",
                old="turn.eq(clock == index",
                new="turn.eq(index < 2 and clock == index",
                depth=9,
            ),
        ),
    ),
    Proof(
        component="BankedMemory, patience",
        claim="reachable: any port but the first waits for all of its patience but a cycle, if it is unlucky",
        module=memory,
        spec=ArbitrationSpec,
        mode="cover",
        depth=18,
    ),
    Proof(
        component="WideMemory",
        claim="a read brings the word of its address as last written before, of one way or, the wide one, of each, and "
        "each accepted read is answered once, in order; outside of the memory reads bring zero and writes change "
        "nothing (2 ways of 3 banks of 2 words of a byte, 2 readers and the wide one, 2 writers)",
        module=wide_memory,
        spec=WideMemorySpec,
        depth=3,
        faults=(
            Fault(
                name="the reply of another way",
                old="m.d.sync += way.eq(before)",
                new="m.d.comb += way.eq(before)",
            ),
            Fault(
                name="one way of two will do",
                old="self.wide.ready.eq(Cat(port.ready for port in ports).all())",
                new="self.wide.ready.eq(Cat(port.ready for port in ports).any())",
            ),
            Fault(
                name="all words in one way",
                old="part.valid.eq(port.valid & (way == number))",
                new="part.valid.eq(port.valid & (number == 0))",
            ),
        ),
    ),
    Proof(
        component="WideMemory, arbitration",
        claim="a port waits only for one that is served in its bank and way, the wide one for one in any of its ways, "
        "and never for `patience` cycles (2 ways of 3 banks, 2 readers and the wide one, 3 writers, a patience of 4)",
        module=wide_memory,
        spec=WideArbitrationSpec,
        depth=2,
        faults=(
            Fault(
                name="a way is kept while another is waited for",
                old="port.valid.eq(self.wide.valid & others)",
                new="port.valid.eq(self.wide.valid)",
            ),
            Fault(
                name="turns of the ways apart",
                old="writers, patience=patience) for _ in range(ways)",
                new="writers, patience=patience << way) for way in range(ways)",
                depth=9,
            ),
        ),
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

test_proof, test_fault_is_found = checks_of(PROOFS)
