"""Front end of a unit: instruction queue, synchronisation counters, and the posts of what is complete."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from .config import Limit
from .counters import COUNTER_BITS, Counters, lowest_bit
from .isa import COUNTERS, INSTRUCTION_BYTES, WAIT_BITS, Opcode, Unit
from .parameters import Component, check_config, check_kind
from .ports import UnitError, error_is, error_layout, instruction_layout, status_layout

__all__ = ["IN_FLIGHT", "Issue"]

IN_FLIGHT = 8
"""Instructions of one unit that may be taken and not done, in a node."""


class Issue(Component):
    """Queues instructions for one unit, holds each back until its waits are met, posts when it is done.

    The instruction at the head is offered on ``instr`` as soon as every counter s holds at least its
    ``wait_s``; all of them are subtracted in the cycle in which the unit takes it. Waiting for an instruction
    overlaps with the execution of those before it. ``valid``, once up, stays up until the instruction is
    taken, unless the node halts or a counter overflows.

    When the unit raises ``done``, the ``post`` mask of its oldest instruction is on ``posts`` in the same
    cycle, so that the counters behind it move in the next, from which on what the instruction wrote can be
    read.

    A post to a full counter raises the error COUNTER (syndrome: unit << 8 | source) and stops the unit's
    instructions for good, until reset.

    Throughput: one instruction a cycle. Latency: 2 cycles from ``i`` to ``instr``; 1 cycle from a post to an
    offer.

    Reset empties the queue, makes all counters 0 and clears the error.

    Parameters
    ----------
    config : NodeConfig
    unit : Unit
        Whose front end it is: says which format instructions have.
    counter_bits : int
        Width of a counter; by default 10.
    in_flight : int
        Instructions that may be taken and not done; by default 8.

    Members
    -------
    i : In(stream of 512 bits)
        Instructions of this unit, as encoded.
    instr : Out(stream of instruction_layout)
        To the unit.
    done : In(1)
        The oldest instruction taken is complete; at least one cycle after it was taken.
    stalled : In(1)
        From the unit.
    halt : In(1)
        Offer nothing more.
    post : In(8)
        Bit s: a post of source s to this unit.
    posts : Out(8)
        Bit d: a post of this unit to unit d.
    taken : Out(1)
        An instruction is taken in this cycle.
    idle : Out(1)
        Nothing is queued, and everything that was taken is done.
    error, status : Out
        As in ``ports``. ``waiting`` is high if the unit has nothing to execute because the next instruction
        lacks posts (``lacking`` says of which sources); ``tag`` is that of the oldest instruction taken and
        not done, or else of the next one.
    counters : Out(10).array(8)
        Values of the counters, for debugging.
    """

    def __init__(self, config, unit, *, counter_bits=COUNTER_BITS, in_flight=IN_FLIGHT):
        check_config(config)
        check_kind("unit", unit, Unit)
        Limit(WAIT_BITS, 64, power_of_two=False).check("counter_bits", counter_bits)
        Limit(1, 1 << 16, power_of_two=False).check("in_flight", in_flight)
        self.config = config
        self.unit = unit
        self.counter_bits = counter_bits
        self.in_flight = in_flight
        self.layout = instruction_layout(Opcode(int(unit)))
        super().__init__(
            {
                "i": In(stream.Signature(8 * INSTRUCTION_BYTES)),
                "instr": Out(stream.Signature(self.layout)),
                "done": In(1),
                "stalled": In(1),
                "halt": In(1),
                "post": In(COUNTERS),
                "posts": Out(COUNTERS),
                "taken": Out(1),
                "idle": Out(1),
                "error": Out(error_layout()),
                "status": Out(status_layout()),
                "counters": Out(counter_bits).array(COUNTERS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Only the bits that this unit's format uses are kept: shallow, so it becomes distributed RAM.
        m.submodules.queue = queue = SyncFIFO(width=self.layout.size, depth=self.config.queue_depth)
        m.submodules.counters = counters = Counters(bits=self.counter_bits)
        m.submodules.in_flight = in_flight = SyncFIFO(width=COUNTERS + 16, depth=self.in_flight)

        head = Signal(self.layout, reset_less=True)
        head_valid = Signal()
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            queue.r_en.eq(~head_valid | self.taken),
        ]
        with m.If(queue.r_en):
            m.d.sync += [head.eq(queue.r_data), head_valid.eq(queue.r_rdy)]

        offer = head_valid & ~counters.lacking.any() & in_flight.w_rdy & ~self.halt & ~self.error.valid
        m.d.comb += [
            self.instr.payload.eq(head),
            self.instr.valid.eq(offer),
            self.taken.eq(self.instr.valid & self.instr.ready),
            counters.post.eq(self.post),
            counters.take.eq(self.taken),
            *(counters.wait[s].eq(head.header[f"wait_{s}"]) for s in range(COUNTERS)),
            *(self.counters[s].eq(counters.values[s]) for s in range(COUNTERS)),
            in_flight.w_data.eq(Cat(head.header.post, head.header.tag)),
            in_flight.w_en.eq(self.taken),
            in_flight.r_en.eq(self.done),
            self.posts.eq(in_flight.r_data[:COUNTERS] & (self.done & in_flight.r_rdy).replicate(COUNTERS)),
            self.idle.eq(~(queue.r_rdy | head_valid | in_flight.r_rdy)),
        ]
        self._report(m, counters, in_flight, head, head_valid)
        return m

    def _report(self, m, counters, in_flight, head, head_valid):
        busy = in_flight.r_rdy
        lacking = counters.lacking & head_valid.replicate(COUNTERS)
        m.d.comb += [
            self.status.busy.eq(busy),
            self.status.stalled.eq(busy & self.stalled),
            self.status.waiting.eq(lacking.any() & ~busy),
            self.status.lacking.eq(lacking),
        ]
        with m.If(busy):
            m.d.comb += self.status.tag.eq(in_flight.r_data[COUNTERS:])
        with m.Elif(head_valid):
            m.d.comb += self.status.tag.eq(head.header.tag)
        with m.If(counters.overflow.any() & ~self.error.valid):
            units = lowest_bit(counters.overflow) | int(self.unit) << 8
            m.d.sync += error_is(self.error, UnitError.COUNTER, units)
