"""AXI4 helpers: legal bursts, one burst to several striped ports, regions on them, two read managers on one port."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .config import BUS_ADDRESS_BITS, LIMITS, PAGE, Limit
from .parameters import BEAT_BYTES, Component
from .ports import AXI4Read, regions_layout

__all__ = [
    "ADDRESS_SPACE_BITS", "BurstSplitter", "ReadMux", "StripedAddress", "StripedRegions", "burst_layout", "run_layout",
]  # fmt: skip

ADDRESS_SPACE_BITS = BUS_ADDRESS_BITS + 1
"""Width of a byte address before it is checked: base, strides and counts of a copy add up to less than 2**50."""


def run_layout(address_bits, count_bits, **options):
    """Consecutive words: from ``start``, ``count`` of them; ``last`` marks the end of an instruction.

    ``options`` are fields that go along with the words.
    """
    return data.StructLayout({"start": address_bits, "count": count_bits, "last": 1, **options})


def burst_layout(address_bits):
    """One burst: from word ``start``, ``beats`` of them (1 to 256); ``last`` as in ``run_layout``."""
    return data.StructLayout({"start": address_bits, "beats": 9, "last": 1})


class BurstSplitter(Component):
    """Cuts runs of words into bursts that AXI4 allows: no 4 KiB boundary crossed, at most ``burst_beats`` long.

    One burst a cycle, runs without a gap between them; the first burst comes two cycles after its run.

    Reset drops the run in work and its burst.

    Parameters
    ----------
    beat_bytes : int
        Bytes of a word, a power of two.
    burst_beats : int
        Longest burst.
    count_bits : int
        Width of a run's count (at least 1 word).

    Members
    -------
    i : In(stream of run_layout)
    o : Out(stream of burst_layout)
    """

    def __init__(self, beat_bytes, burst_beats, *, count_bits):
        BEAT_BYTES.check("beat_bytes", beat_bytes)
        LIMITS["axi_burst_beats"].check("burst_beats", burst_beats)
        Limit(1, 64, power_of_two=False).check("count_bits", count_bits)
        self.beat_bytes, self.burst_beats, self.count_bits = beat_bytes, burst_beats, count_bits
        self.address_bits = ADDRESS_SPACE_BITS - exact_log2(beat_bytes)
        super().__init__(
            {
                "i": In(stream.Signature(run_layout(self.address_bits, count_bits))),
                "o": Out(stream.Signature(burst_layout(self.address_bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run = Signal(run_layout(self.address_bits, self.count_bits), reset_less=True)
        active = Signal()
        page = PAGE // self.beat_bytes
        to_page, limit, beats = Signal(range(page + 1)), Signal(9), Signal(9)
        final, advance = Signal(), Signal()
        m.d.comb += [
            to_page.eq(page - run.start[: exact_log2(page)]),
            limit.eq(Mux(to_page > self.burst_beats, self.burst_beats, to_page)),
            final.eq(run.count <= limit),
            beats.eq(Mux(final, run.count, limit)),
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~active | (advance & final)),
        ]
        with m.If(advance):
            m.d.sync += [
                self.o.valid.eq(active),
                self.o.payload.start.eq(run.start),
                self.o.payload.beats.eq(beats),
                self.o.payload.last.eq(run.last & final),
                run.start.eq(run.start + beats),
                run.count.eq(run.count - beats),
                active.eq(active & ~final),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [run.eq(self.i.payload), active.eq(1)]
        return m


class StripedAddress(Component):
    """Announces one burst on all ports: port p at byte ``p * stripe + start * beat_bytes``.

    Each port holds its address until it is taken; the next burst waits for the slowest port. One burst a
    cycle where all ports are ready.

    Reset takes back addresses that have not been taken.

    Parameters
    ----------
    ports : int
    beat_bytes : int

    Members
    -------
    i : In(stream of burst_layout)
    stripe : In(49)
        Bytes from port to port; a multiple of 4096 (the low 12 bits count as zero), so that all ports have
        their 4 KiB boundaries at the same words.
    o : Out(stream of addr and len).array(ports)
        ``len`` is the beats minus one, as on the bus.
    """

    def __init__(self, ports, beat_bytes):
        LIMITS["axi_ports"].check("ports", ports)
        BEAT_BYTES.check("beat_bytes", beat_bytes)
        self.ports, self.shift = ports, exact_log2(beat_bytes)
        address = data.StructLayout({"addr": BUS_ADDRESS_BITS, "len": 8})
        super().__init__(
            {
                "i": In(stream.Signature(burst_layout(ADDRESS_SPACE_BITS - self.shift))),
                "stripe": In(BUS_ADDRESS_BITS),
                "o": Out(stream.Signature(address)).array(ports),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(Cat(~o.valid | o.ready for o in self.o).all())
        for index, o in enumerate(self.o):
            base = Signal(BUS_ADDRESS_BITS, name=f"base{index}", reset_less=True)
            m.d.sync += base.eq((self.stripe & -PAGE) * index)
            with m.If(o.ready):
                m.d.sync += o.valid.eq(0)
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [
                    o.valid.eq(1),
                    o.payload.addr.eq(base + (self.i.payload.start << self.shift)),
                    o.payload.len.eq(self.i.payload.beats - 1),
                ]
        return m


class StripedRegions(Component):
    """Regions of DRAM as far as the bus reaches on all ports: on port p all of a region lies ``p * stripe`` further on.

    Latency: two cycles from ``stripe``, one from ``regions``; none at all with one port. As long after a reset ``o`` is
    right again.

    Parameters
    ----------
    ports : int

    Members
    -------
    regions : In(regions_layout())
        Which end on the bus, on port 0.
    stripe : In(49)
        As of StripedAddress.
    o : Out(regions_layout())
        What would be beyond the bus on the last port is behind the end.
    """

    def __init__(self, ports):
        LIMITS["axi_ports"].check("ports", ports)
        self.ports = ports
        super().__init__({"regions": In(regions_layout()), "stripe": In(BUS_ADDRESS_BITS), "o": Out(regions_layout())})

    def elaborate(self, platform):
        m = Module()
        if self.ports == 1:
            m.d.comb += self.o.eq(self.regions)
            return m
        pages = 1 << (BUS_ADDRESS_BITS - exact_log2(PAGE))
        behind = self.stripe[exact_log2(PAGE) :] * (self.ports - 1)
        reach = Signal(range(pages + 1), reset_less=True)
        m.d.sync += reach.eq(Mux(behind > pages, 0, pages - behind))
        for region, o in zip(self.regions, self.o, strict=True):
            m.d.sync += [o.base.eq(region.base), o.end.eq(Mux(region.end > reach, reach, region.end))]
        return m


class ReadMux(Component):
    """Joins the DMA and the instruction fetch on one AXI4 read port.

    The DMA's bursts carry ID 0, the fetch's ID 1, and each beat goes to whom its ``rid`` names, in whatever
    order the memory answers. Fetch wins a tie for the address channel: it is rare, and the node idles
    without it. An address that the memory was shown stays until it is taken. Addresses pass with one cycle of
    latency, data with none; one address and one beat a cycle.

    A manager that does not take its beats blocks the other one's: a manager should ask only for what
    it has room for.

    Reset takes back an address that has not been taken.

    Parameters
    ----------
    data_bytes : int
        Bytes of a beat.

    Members
    -------
    dma, fetch : In(AXI4Read(data_bytes))
    dram : Out(AXI4Read(data_bytes))
    """

    def __init__(self, data_bytes):
        BEAT_BYTES.check("data_bytes", data_bytes)
        bus = AXI4Read(data_bytes)
        super().__init__({"dma": In(bus), "fetch": In(bus), "dram": Out(bus)})

    def elaborate(self, platform):
        m = Module()
        dma, fetch, dram = self.dma, self.fetch, self.dram
        free = ~dram.arvalid | dram.arready
        m.d.comb += [fetch.arready.eq(free), dma.arready.eq(free & ~fetch.arvalid)]
        with m.If(free):
            m.d.sync += [
                dram.arvalid.eq(dma.arvalid | fetch.arvalid),
                dram.arid.eq(fetch.arvalid),
                dram.araddr.eq(Mux(fetch.arvalid, fetch.araddr, dma.araddr)),
                dram.arlen.eq(Mux(fetch.arvalid, fetch.arlen, dma.arlen)),
                dram.arsize.eq(Mux(fetch.arvalid, fetch.arsize, dma.arsize)),
                dram.arburst.eq(Mux(fetch.arvalid, fetch.arburst, dma.arburst)),
            ]
        for number, manager in enumerate((dma, fetch)):
            m.d.comb += [
                manager.rvalid.eq(dram.rvalid & (dram.rid == number)),
                manager.rdata.eq(dram.rdata),
                manager.rresp.eq(dram.rresp),
                manager.rlast.eq(dram.rlast),
            ]
        m.d.comb += dram.rready.eq(Mux(dram.rid == 1, fetch.rready, dma.rready))
        return m
