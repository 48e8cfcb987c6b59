"""Proofs: credits never let a frame arrive without a slot; a frame buffer neither loses, repeats nor reorders."""

from itertools import pairwise

from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from proofs import Fault, Proof, checks_of, steady

from superlip.rtl.config import ADDRESS_BITS, NodeConfig
from superlip.rtl.link import buffer, credits, receiver
from superlip.rtl.link.credits import COUNT_BITS
from superlip.sim.formal import Spec


class Credits(wiring.Component):
    """Both ends of the credits, joined by the worst channel there is.

    Grants and frames take any time; grants may be lost, frames arrive in their number. The inputs choose.
    """

    send: In(1)
    arrive: In(1)
    free: In(1)
    linked: In(1)
    announced: In(COUNT_BITS)

    def __init__(self, module, slots):
        self.slots = slots
        self.giver, self.taker = module.CreditGiver(slots), module.CreditTaker()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.giver = giver = self.giver
        m.submodules.taker = taker = self.taker
        limit, flying = Signal(COUNT_BITS), Signal(COUNT_BITS)
        steps, possible = Signal(COUNT_BITS), Signal(COUNT_BITS)
        m.d.comb += [
            steps.eq(self.announced - limit),
            possible.eq(giver.grant - limit),
            taker.limit.eq(limit),
            taker.linked.eq(self.linked),
            taker.sent.eq(self.send & taker.available),
            giver.taken.eq(self.arrive & (flying != 0)),
            giver.freed.eq(self.free & (giver.used != 0)),
        ]
        # What arrives was announced at some time: not before what arrived last, not after now.
        m.d.sync += limit.eq(Mux(steps <= possible, self.announced, limit))
        m.d.sync += flying.eq(flying + taker.sent - giver.taken)

        outstanding, known, allowed = Signal(COUNT_BITS), Signal(COUNT_BITS), Signal(COUNT_BITS)
        m.d.comb += [
            outstanding.eq(taker.count - giver.grant + self.slots),  # frames sent and not freed
            known.eq(limit - taker.count),
            allowed.eq(giver.grant - taker.count),
        ]
        m.d.comb += Assert(~(giver.taken & giver.full))  # the claim
        m.d.comb += Assert(giver.used <= self.slots)
        # No deadlock: when all is quiet and the last grant has arrived, a frame may start.
        quiet = (flying == 0) & (giver.used == 0) & (limit == giver.grant) & self.linked
        m.d.comb += Assert(~quiet | taker.available)
        # What makes the claim inductive.
        m.d.comb += [
            Assert(flying <= self.slots),
            Assert(outstanding == flying + giver.used),
            Assert(outstanding <= self.slots),
            Assert(known <= allowed),
        ]
        return m


class BufferSpec(Spec):
    """A frame buffer that is written, committed, rewound and read at will, within its depth.

    One committed word, the one with number ``watch``, is followed from end to end.
    """

    def __init__(self, module):
        super().__init__(module.FrameBuffer(1, depth=2), watch=In(3))

    def claim(self, m, dut):
        watch, watched = steady(m, self.watch), Signal()
        written, committed, read, end = Signal(3), Signal(3), Signal(3), Signal(3)  # numbers of words
        taken = dut.o.valid & dut.o.ready
        m.d.comb += [
            end.eq(written + dut.write),
            # The writer's part of the contract.
            Assume((end - read)[:3] <= dut.depth),
            Assume(~(dut.rewind & dut.write)),
        ]
        m.d.sync += [read.eq(read + taken), written.eq(end)]
        with m.If(dut.commit):
            m.d.sync += committed.eq(end)
        with m.Elif(dut.rewind):
            m.d.sync += written.eq(committed)
        with m.If(dut.write & (written == watch)):
            m.d.sync += watched.eq(dut.data)
        with m.If(dut.o.valid):
            m.d.comb += Assert(read != committed)
            with m.If(read == watch):
                m.d.comb += Assert(dut.o.payload == watched)
        # Nothing is held back: two cycles after a commit a word is there.
        waiting = Signal(2)
        m.d.sync += waiting.eq(Mux((read != committed) & ~dut.o.valid, waiting + 1, 0))
        m.d.comb += Assert(waiting < 2)

        # Inside: the same numbers, of two bits; the word that is offered has left the memory.
        stored, offset = Signal(3), Signal(3)
        m.d.comb += [
            stored.eq(written - read - dut.o.valid),
            offset.eq(watch - read - dut.o.valid),
            Assert(self.inside("written") == written[:2]),
            Assert(self.inside("committed") == committed[:2]),
            Assert(self.inside("read") == (read + dut.o.valid)[:2]),
            Assert((written - read)[:3] <= dut.depth),
            Assert((committed - read)[:3] <= (written - read)[:3]),
            Assert((offset >= stored) | (self.rows("memory")[watch[0]] == watched)),
        ]


class FrameWriterSpec(Spec):
    """Frames are written word by word, each in its place, then posted; one after the other, as they came."""

    def __init__(self, module):
        super().__init__(module.FrameWriter(NodeConfig(frame_slots=2)))

    def claim(self, m, dut):
        layout = dut.frame.payload.shape()
        frames, level = Array(Signal(layout, name=f"frame{k}") for k in range(3)), Signal(2)
        done = Signal(9)  # words of the oldest frame that are written
        act, weight, words, post, head = dut.write_act, dut.write_weight, dut.words, dut.post, frames[0]
        written = (act.valid & act.ready) | (weight.valid & weight.ready)
        with m.If(dut.freed):
            m.d.sync += [here.eq(there) for here, there in pairwise(frames)]
        with m.If(dut.frame.valid):
            m.d.sync += frames[level - dut.freed].eq(dut.frame.payload)
        m.d.sync += [
            level.eq(level + dut.frame.valid - dut.freed),
            done.eq(Mux(dut.freed, 0, done + written)),
        ]
        m.d.comb += [
            Assume(~dut.frame.valid | (level != 2)),  # a slot for each, by the credits
            Assert(words.ready == written),
            Assert(~(act.valid & weight.valid)),
            Assert(~post.valid | dut.freed),
        ]
        for number, port in enumerate((act, weight)):
            with m.If(port.valid):
                m.d.comb += [
                    Assert((level != 0) & (done < head.words) & (head.memory == number) & words.valid & ~dut.stop),
                    Assert((port.addr == (head.address + done)[:ADDRESS_BITS]) & (port.data == words.payload)),
                    Assert(port.mask.all()),
                ]
        with m.If(dut.freed):
            m.d.comb += [
                Assert((level != 0) & (done == head.words) & ~dut.stop),
                Assert(post.valid == head.post),
                Assert((post.unit == head.unit) & (post.counter == head.counter)),
            ]
        # Two cycles more than it has words: none of them is lost where nothing is in the way.
        still = Signal(2)
        can = ~dut.stop & ((done == head.words) | (words.valid & Mux(head.memory, weight.ready, act.ready)))
        m.d.sync += still.eq(Mux((level != 0) & can & ~written & ~dut.freed, still + 1, 0))
        m.d.comb += Assert(still < 2)

        # Inside: the queue holds the frames, and the registers what is to come of the oldest.
        idle, write, ends = (self.state("frame_writer", name) for name in ("IDLE", "WRITE", "POST"))
        place = self.inside("queue.consume")
        left, address = self.inside("left"), self.inside("address")
        m.d.comb += [
            Assert(self.inside("queue.level") == level),
            Assert(level <= 2),
            Assert(self.inside("queue.produce") == place ^ level[0]),
            Assert(idle | write | ends),
            Assert(~idle | (done == 0)),
            Assert(idle | (level != 0)),
            Assert(~write | ((left != 0) & (left + done == head.words))),
            Assert(~write | (address == (head.address + done)[:ADDRESS_BITS])),
            Assert(~ends | (done == head.words)),
        ]
        for k in range(2):
            m.d.comb += Assert((level <= k) | (self.rows("queue.storage")[place ^ k] == frames[k].as_value()))


def credits_of(slots, **options):
    """The proof for a number of slots."""
    return Proof(
        component=f"CreditGiver, CreditTaker({slots})",
        claim="whatever channel joins them, grants late or lost: no frame arrives without a slot, and when all is "
        "quiet a frame may start",
        module=credits,
        spec=lambda module: Credits(module, slots),
        depth=2,
        **options,
    )


PROOFS = [
    credits_of(1),
    credits_of(
        4,
        faults=(
            Fault(
                name="a credit lost when freed and taken in one cycle",
                old="self.grant.eq(self.grant + self.freed)",
                new="self.grant.eq(self.grant + (self.freed & ~self.taken))",
            ),
            Fault(
                name="a slot counted twice",
                old="self.used + self.taken - self.freed",
                new="self.used + self.taken - (self.freed & ~self.taken)",
            ),
            Fault(
                name="sends without credit", old="self.linked & (self.limit != self.count)", new="self.linked", depth=7
            ),
        ),
    ),
    credits_of(128, slow=True),
    Proof(
        component="FrameBuffer",
        claim="committed words come out once, in order, as they were, others never; the first at the latest two cycles "
        "after its commit (2 words, and a writer that keeps count)",
        module=buffer,
        spec=BufferSpec,
        depth=3,
        faults=(
            Fault(name="a word before its commit", old="(read != committed) &", new="(read != written) &"),
            Fault(name="rewind forgets too little", old="Mux(self.rewind & ~self.commit, committed, end)", new="end"),
        ),
    ),
    Proof(
        component="FrameWriter",
        claim="each accepted frame is written once, word by word in its place, then posted if it says so and its slot "
        "freed, in order; its queue has room; nothing after `stop`; two cycles more than words where nothing is in the "
        "way (2 slots, words of 8 bytes)",
        module=receiver,
        spec=FrameWriterSpec,
        depth=3,
        faults=(
            Fault(name="a post before the last word", old="with m.If(left == 1)", new="with m.If(left <= 2)", depth=8),
            Fault(name="two words in one place", old="address.eq(address + 1)", new="address.eq(address)", depth=8),
            Fault(
                name="writes when stopped",
                old="write.eq(self.words.valid & ~self.stop)",
                new="write.eq(self.words.valid)",
            ),
        ),
    ),
]

test_proof, test_fault_is_found = checks_of(PROOFS)
