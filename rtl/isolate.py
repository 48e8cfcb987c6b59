"""Cuts a manager off its AXI4 port without breaking the protocol, so that the manager can be reset at any time."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from .config import LIMITS, Limit
from .parameters import BEAT_BYTES, Component
from .ports import AXI4Read, AXI4Write

__all__ = ["IsolateRead", "IsolateWrite"]

_BURST = ("id", "addr", "len", "size", "burst")
_OUTSTANDING = Limit(1, LIMITS["axi_outstanding"].high, power_of_two=False)
BURSTS_BITS = 6


class IsolateRead(Component):
    """Read channels that finish without their manager.

    While ``isolate`` is high, no new burst is taken, and the beats of those under way are accepted and
    dropped. When ``idle``, nothing is under way on ``o``, and the manager may be reset.

    Latency: one cycle on AR, none on R. Throughput: one burst and one beat a cycle.

    Reset forgets the bursts under way, so the memory must be reset, too.

    Parameters
    ----------
    data_bytes : int

    Members
    -------
    i : In(AXI4Read)
        From the manager.
    o : Out(AXI4Read)
        To memory.
    isolate : In(1)
    idle : Out(1)
    """

    def __init__(self, data_bytes):
        BEAT_BYTES.check("data_bytes", data_bytes)
        super().__init__(
            {
                "i": In(AXI4Read(data_bytes)),
                "o": Out(AXI4Read(data_bytes)),
                "isolate": In(1),
                "idle": Out(1),
            }
        )
        self.bursts = Signal(BURSTS_BITS)  # taken from the manager, last beat not seen

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        bursts = self.bursts
        taken = _register_address(m, i, o, "ar", ~self.isolate & ~bursts.all())
        m.d.comb += [
            i.rvalid.eq(o.rvalid & ~self.isolate),
            o.rready.eq(i.rready | self.isolate),
            i.rid.eq(o.rid),
            i.rdata.eq(o.rdata),
            i.rresp.eq(o.rresp),
            i.rlast.eq(o.rlast),
            self.idle.eq(bursts == 0),
        ]
        m.d.sync += bursts.eq(bursts + taken - (o.rvalid & o.rready & o.rlast))
        return m


class IsolateWrite(Component):
    """Write channels that finish without their manager.

    While ``isolate`` is high, no new burst is taken; those under way are completed with beats that write
    nothing (no strobe), and their responses are dropped. When ``idle``, nothing is under way on ``o``.

    Data of a burst is taken from the cycle after its address on.

    Latency: one cycle on AW and W, none on B. Throughput: one beat a cycle.

    Reset forgets the bursts under way, so the memory must be reset, too.

    Parameters
    ----------
    data_bytes : int
    outstanding : int
        Bursts under way, at most.

    Members
    -------
    i : In(AXI4Write)
        From the manager.
    o : Out(AXI4Write)
        To memory.
    isolate : In(1)
    idle : Out(1)
    """

    def __init__(self, data_bytes, *, outstanding):
        BEAT_BYTES.check("data_bytes", data_bytes)
        _OUTSTANDING.check("outstanding", outstanding)
        self.outstanding = outstanding
        super().__init__(
            {
                "i": In(AXI4Write(data_bytes)),
                "o": Out(AXI4Write(data_bytes)),
                "isolate": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        places = max(2, self.outstanding)  # one would have an address of no bits
        m.submodules.lengths = lengths = SyncFIFO(width=8, depth=places)
        bursts = Signal(range(self.outstanding + 1))  # taken from the manager, not answered
        room = lengths.w_rdy & (bursts != self.outstanding)
        taken = _register_address(m, i, o, "aw", ~self.isolate & room)
        m.d.comb += [lengths.w_en.eq(taken), lengths.w_data.eq(i.awlen)]

        beat = Signal(8)
        last = beat == lengths.r_data
        free = ~o.wvalid | o.wready
        put = lengths.r_rdy & free & (i.wvalid | self.isolate)
        m.d.comb += [i.wready.eq(lengths.r_rdy & free & ~self.isolate), lengths.r_en.eq(put & last)]
        with m.If(put):
            strobe = i.wstrb & ~self.isolate.replicate(len(i.wstrb))
            m.d.sync += [
                beat.eq((beat + 1) & ~last.replicate(8)),
                Cat(o.wvalid, o.wdata, o.wstrb, o.wlast).eq(Cat(1, i.wdata, strobe, last)),
            ]
        with m.Elif(o.wready):
            m.d.sync += o.wvalid.eq(0)

        m.d.comb += [
            i.bvalid.eq(o.bvalid & ~self.isolate),
            o.bready.eq(i.bready | self.isolate),
            i.bid.eq(o.bid),
            i.bresp.eq(o.bresp),
            self.idle.eq(bursts == 0),
        ]
        m.d.sync += bursts.eq(bursts + taken - (o.bvalid & o.bready))
        return m


def _register_address(m, i, o, channel, allow):
    """A register in the AR or AW channel: what it once offers stays, whatever becomes of the manager."""

    def member(side, name):
        return getattr(side, channel + name)

    free = ~member(o, "valid") | member(o, "ready")
    taken = member(i, "valid") & member(i, "ready")
    m.d.comb += member(i, "ready").eq(allow & free)
    with m.If(taken):
        m.d.sync += member(o, "valid").eq(1)
        m.d.sync += [member(o, name).eq(member(i, name)) for name in _BURST]
    with m.Elif(member(o, "ready")):
        m.d.sync += member(o, "valid").eq(0)
    return taken
