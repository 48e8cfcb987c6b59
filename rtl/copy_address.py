"""Addresses of strided 3-D copies: rows and words on chip, bursts in DRAM, shared by LOAD and STORE."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect
from amaranth.utils import exact_log2

from .axi import ADDRESS_SPACE_BITS, BurstSplitter, burst_layout, run_layout
from .config import ADDRESS_BITS, DRAM_ADDRESS_BITS, PAGE, Limit
from .isa import FORMATS, REGION_BITS, Opcode
from .parameters import Component, check_config, check_kind
from .ports import instruction_layout, region_layout, regions_layout

__all__ = [
    "LOCAL_BITS", "CopyInstructions", "CopyRows", "CopyWords", "DramBursts", "MergeRows", "copy_layout",
    "copy_options", "dram_copy_layout", "local_copy_layout", "local_run_layout", "placed_copy_layout",
]  # fmt: skip

LOCAL_BITS = ADDRESS_BITS + 1
"""Width of an on-chip address before it is checked: one bit more than an address, because the sum of a valid
address and a stride must not come out as another valid address."""

_COPY_FIELDS = ("start", "count0", "count1", "count2", "stride1", "stride2")
_COUNT_BITS = 16
_DRAM_STRIDE_BITS = 24
_MERGED_BITS = _DRAM_STRIDE_BITS + _COUNT_BITS


def copy_layout(*, address_bits, stride_bits, count0_bits, **options):
    """A strided 3-D copy, one side: ``count0`` words, ``count1`` rows of them, ``count2`` planes of rows.

    ``options`` are fields that go along with the words.
    """
    return data.StructLayout(
        {
            "start": address_bits,
            "count0": count0_bits,
            "count1": _COUNT_BITS,
            "count2": _COUNT_BITS,
            "stride1": stride_bits,
            "stride2": stride_bits,
            **options,
        }
    )


def copy_options(opcode):
    """Fields and widths that an opcode's words carry on chip: ``memory``, and for LOAD ``fill`` and ``fill_value``."""
    wanted = ("memory", "fill", "fill_value")
    return {f.name: f.width for f in FORMATS[opcode].fields if f.name in wanted}


def local_copy_layout(opcode):
    """The on-chip side of a copy."""
    return copy_layout(
        address_bits=LOCAL_BITS,
        stride_bits=ADDRESS_BITS,
        count0_bits=_COUNT_BITS,
        **copy_options(opcode),
    )


def local_run_layout(opcode):
    """A row of the on-chip side."""
    return run_layout(LOCAL_BITS, _COUNT_BITS, **copy_options(opcode))


def dram_copy_layout(*, merged=False):
    """The DRAM side of a copy, in words, with ``dram`` of the instruction as its start; ``merged``: after MergeRows."""
    return copy_layout(
        address_bits=DRAM_ADDRESS_BITS + REGION_BITS,
        stride_bits=_DRAM_STRIDE_BITS,
        count0_bits=_MERGED_BITS if merged else _COUNT_BITS,
    )


def placed_copy_layout(beat_bytes):
    """A merged copy in words of the bus, and the ``end`` of its region in pages."""
    return copy_layout(
        address_bits=ADDRESS_SPACE_BITS - exact_log2(beat_bytes),
        stride_bits=_DRAM_STRIDE_BITS,
        count0_bits=_MERGED_BITS,
        end=region_layout()["end"].shape,
    )


class CopyRows(Component):
    """Turns a copy into its rows, one a cycle, without a gap between copies.

    Reset drops the copy in work.

    Parameters
    ----------
    layout : StructLayout
        A ``copy_layout``. Counts are at least 1. Addresses are computed in the width of ``start``.

    Members
    -------
    i : In(stream of layout)
    o : Out(stream of run_layout)
        ``last`` with the last row of the copy.
    """

    def __init__(self, layout):
        check_kind("layout", layout, data.StructLayout)
        if lacking := [name for name in _COPY_FIELDS if name not in layout.members]:
            raise ValueError(f"layout must have the fields of a copy; it has no {', '.join(lacking)}: {layout!r}")
        self.layout = layout
        self.options = [n for n in layout.members if n not in _COPY_FIELDS]
        options = {name: layout[name].shape for name in self.options}
        row = run_layout(layout["start"].shape, layout["count0"].shape, **options)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(row))})

    def elaborate(self, platform):
        m = Module()
        copy = Signal(self.layout, reset_less=True)  # start: of this row; count2: planes left
        plane = Signal(self.layout["start"].shape, reset_less=True)
        rows_left = Signal(_COUNT_BITS, reset_less=True)
        last_row = rows_left == 1
        next_plane = plane + copy.stride2
        m.d.comb += [
            self.o.payload.start.eq(copy.start),
            self.o.payload.count.eq(copy.count0),
            self.o.payload.last.eq(last_row & (copy.count2 == 1)),
            *(self.o.payload[name].eq(copy[name]) for name in self.options),
            self.i.ready.eq(~self.o.valid | (self.o.ready & self.o.payload.last)),
        ]
        with m.If(self.o.ready):
            m.d.sync += [rows_left.eq(rows_left - 1), copy.start.eq(copy.start + copy.stride1)]
            with m.If(last_row):
                m.d.sync += [
                    rows_left.eq(copy.count1),
                    copy.count2.eq(copy.count2 - 1),
                    copy.start.eq(next_plane),
                    plane.eq(next_plane),
                ]
            with m.If(self.o.payload.last):
                m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                copy.eq(self.i.payload),
                plane.eq(self.i.payload.start),
                rows_left.eq(self.i.payload.count1),
                self.o.valid.eq(1),
            ]
        return m


class CopyWords(Component):
    """Turns rows into on-chip word addresses, one a cycle, without a gap between rows.

    Reset drops the row in work.

    Parameters
    ----------
    opcode : Opcode
        LOAD or STORE.

    Members
    -------
    i : In(stream of local_run_layout(opcode))
    o : Out(stream of addr, last and options)
        ``last`` with the last word of the copy.
    """

    def __init__(self, opcode):
        check_kind("opcode", opcode, Opcode)
        self.opcode = opcode
        word = data.StructLayout({"addr": LOCAL_BITS, "last": 1, **copy_options(opcode)})
        super().__init__({"i": In(stream.Signature(local_run_layout(opcode))), "o": Out(stream.Signature(word))})

    def elaborate(self, platform):
        m = Module()
        run = Signal(local_run_layout(self.opcode), reset_less=True)
        row_end = run.count == 1
        m.d.comb += [
            self.o.payload.addr.eq(run.start),
            self.o.payload.last.eq(row_end & run.last),
            *(self.o.payload[name].eq(run[name]) for name in copy_options(self.opcode)),
            self.i.ready.eq(~self.o.valid | (self.o.ready & row_end)),
        ]
        with m.If(self.o.ready):
            m.d.sync += [run.start.eq(run.start + 1), run.count.eq(run.count - 1)]
            with m.If(row_end):
                m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [run.eq(self.i.payload), self.o.valid.eq(1)]
        return m


class MergeRows(Component):
    """Makes one long row of DRAM rows that follow each other without a gap.

    A tile as wide as its feature map has short rows on chip (padding between them) but is one run in
    DRAM: bursts need not end where rows end. A copy of one row passes in one cycle, others take 3 to 5.

    Reset drops the copies in work.

    Members
    -------
    i : In(stream of dram_copy_layout())
    o : Out(stream of dram_copy_layout(merged=True))
    """

    def __init__(self):
        self.layout = dram_copy_layout(merged=True)
        super().__init__(
            {
                "i": In(stream.Signature(dram_copy_layout())),
                "o": Out(stream.Signature(self.layout)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        copy = Signal(self.layout, reset_less=True)
        # Only rows of less than 2**24 words are merged (a stride has 24 bits): 24 x 16 bits fit one DSP.
        product = Signal(_MERGED_BITS, reset_less=True)
        single = copy.count1 == 1
        joins = Signal()
        m.d.comb += [joins.eq(single | (copy.count0 == copy.stride1)), self.o.payload.eq(copy)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [copy[name].eq(self.i.payload[name]) for name in self.layout.members]
                with m.If(self.i.valid):
                    m.next = "MULTIPLY"
                    with m.If((self.i.payload.count1 == 1) & (self.i.payload.count2 == 1)):
                        m.next = "DONE"
            with m.State("MULTIPLY"):
                m.d.sync += product.eq(copy.count0[:_DRAM_STRIDE_BITS] * copy.count1)
                m.next = "MERGE"
            with m.State("MERGE"):
                m.next = "DONE"
                with m.If(joins):
                    m.d.sync += [copy.count1.eq(copy.count2), copy.stride1.eq(copy.stride2), copy.count2.eq(1)]
                    with m.If(~single):
                        m.d.sync += copy.count0.eq(product)
                    with m.If(copy.count2 != 1):
                        m.next = "MULTIPLY"
            with m.State("DONE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m


class DramBursts(Component):
    """The DRAM side of a copy as AXI4 bursts, as long as its addresses allow, in the region that it names.

    One burst a cycle; the first comes 5 to 9 cycles after its copy. What is contiguous in DRAM (the whole copy, planes
    or rows of it) is checked against the end of its region as one: none of its bursts may be taken where it is
    ``outside``. No address wraps: neither 2**32 words of a region nor the address space of the bus.

    Reset drops the copies in work and their bursts.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    i : In(stream of dram_copy_layout())
    regions : In(regions_layout())
    o : Out(stream of burst_layout)
        ``last`` with the last burst of the copy.
    outside : Out(1)
        The burst on ``o`` belongs to words that don't all lie in their region.
    page : Out(32)
        With ``outside``: the syndrome of ``UnitError.REGION``.
    """

    def __init__(self, config):
        check_config(config)
        self.config = config
        self.address_bits = ADDRESS_SPACE_BITS - exact_log2(config.axi_bytes)
        super().__init__(
            {
                "i": In(stream.Signature(dram_copy_layout())),
                "regions": In(regions_layout()),
                "o": Out(stream.Signature(burst_layout(self.address_bits))),
                "outside": Out(1),
                "page": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beat_bytes, burst_beats = self.config.axi_bytes, self.config.axi_burst_beats
        m.submodules.merge = merge = MergeRows()
        m.submodules.rows = rows = CopyRows(placed_copy_layout(beat_bytes))
        m.submodules.split = split = BurstSplitter(beat_bytes, burst_beats, count_bits=_MERGED_BITS)
        connect(m, wiring.flipped(self.i), merge.i)
        self._place(m, merge, rows.i)
        m.d.comb += [
            split.i.valid.eq(rows.o.valid),
            rows.o.ready.eq(split.i.ready),
            *(split.i.payload[name].eq(rows.o.payload[name]) for name in ("start", "count", "last")),
        ]
        connect(m, split.o, wiring.flipped(self.o))
        self._check(m, rows.o, split)
        return m

    def _place(self, m, merge, rows):
        """Merged copies to their place on the bus: the region's base is chosen while they merge, and added here."""
        words = exact_log2(PAGE // self.config.axi_bytes)
        region = Signal(region_layout(), reset_less=True)
        with m.If(merge.i.ready):
            m.d.sync += region.eq(self.regions[self.i.payload.start[DRAM_ADDRESS_BITS:]])
        start = merge.o.payload.start[:DRAM_ADDRESS_BITS]
        m.d.comb += [
            *(rows.payload[name].eq(merge.o.payload[name]) for name in _COPY_FIELDS if name != "start"),
            rows.payload.start.eq((region.base << words) + start),
            rows.payload.end.eq(region.end),
            rows.valid.eq(merge.o.valid),
            merge.o.ready.eq(rows.ready),
        ]

    def _check(self, m, run, split):
        """Ends of runs against that of their region, one register behind the splitter's at each step."""
        words = exact_log2(PAGE // self.config.axi_bytes)
        end, limit = Signal(self.address_bits, reset_less=True), Signal(region_layout()["end"].shape, reset_less=True)
        with m.If(run.valid & run.ready):
            m.d.sync += [end.eq(run.payload.start + run.payload.count), limit.eq(run.payload.end)]
        with m.If(~split.o.valid | split.o.ready):
            m.d.sync += [self.outside.eq(end > (limit << words)), self.page.eq(end[words:])]


class CopyInstructions(Component):
    """Takes LOAD or STORE instructions and hands the DRAM side and the on-chip side to two generators.

    The two sides run apart: the on-chip side waits in a queue of ``depth`` copies. An instruction with a zero
    count goes to neither, and is the last one taken.

    A copy is on its way to a side one or two cycles after its instruction was taken. Reset drops all of them.

    Parameters
    ----------
    opcode : Opcode
        LOAD or STORE.
    depth : int
        Instructions in flight at most.

    Members
    -------
    instr : In(stream of instruction_layout(opcode))
    stop : In(1)
        Take no more.
    done : In(1)
        The oldest instruction is complete.
    dram : Out(stream of dram_copy_layout())
        Copies that touch DRAM: all but fills.
    local : Out(stream of local_copy_layout(opcode))
    busy : Out(1)
        An instruction has been taken and is not done.
    operand : Out(1)
        All instructions but the last are done, and the last one has a zero count.
    """

    def __init__(self, opcode, *, depth):
        check_kind("opcode", opcode, Opcode)
        Limit(1, 1 << 16, power_of_two=False).check("depth", depth)
        self.opcode, self.depth = opcode, depth
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(opcode))),
                "stop": In(1),
                "done": In(1),
                "dram": Out(stream.Signature(dram_copy_layout())),
                "local": Out(stream.Signature(local_copy_layout(opcode))),
                "busy": Out(1),
                "operand": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        body, local = self.instr.payload.body, local_copy_layout(self.opcode)
        m.submodules.queue = queue = SyncFIFO(width=local.size, depth=self.depth)
        entry = Signal(local)
        m.d.comb += [
            *_side(entry, body, "local"),
            *_side(self.dram.payload, body, "dram"),
            *(entry[name].eq(body[name]) for name in copy_options(self.opcode)),
            queue.w_data.eq(entry),
            self.local.payload.eq(data.View(local, queue.r_data)),
            self.local.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.local.ready),
        ]
        fill = body.fill if self.opcode == Opcode.LOAD else 0
        zero = ~(body.count0.any() & body.count1.any() & body.count2.any())
        in_flight, bad = Signal(range(self.depth + 1)), Signal()
        room, taken = Signal(), Signal()
        m.d.comb += [
            room.eq((in_flight != self.depth) & ~self.stop & ~bad),  # room in the count is room in the queue
            self.instr.ready.eq(room & (self.dram.ready | fill | zero)),
            taken.eq(self.instr.valid & self.instr.ready),
            self.dram.valid.eq(self.instr.valid & room & ~fill & ~zero),
            queue.w_en.eq(taken & ~zero),
            self.busy.eq(in_flight.any()),
            self.operand.eq(bad & (in_flight == 1)),
        ]
        m.d.sync += [in_flight.eq(in_flight + taken - self.done), bad.eq(bad | (taken & zero))]
        return m


def _side(copy, body, side):
    """Assignments of one side of a copy from the fields of an instruction."""
    yield copy.start.eq(body[side])
    for name in ("count0", "count1", "count2"):
        yield copy[name].eq(body[name])
    for name in ("stride1", "stride2"):
        yield copy[name].eq(body[f"{side}_{name}"])
