"""Units, buffers, link and fetch of a node, joined: all that a soft reset resets."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .axi import ADDRESS_SPACE_BITS, ReadMux, StripedRegions
from .config import BUS_ADDRESS_BITS, FEED_WORDS, PAGE
from .counters import COUNTER_BITS
from .fetch import Fetch
from .isa import COUNTERS, LINK_SOURCES, Region, Unit
from .issue import Issue
from .link.port import LinkPort
from .load import Load
from .matrix import MatrixUnit
from .memory import BankedMemory
from .parameters import Component, check_config
from .ports import AXI4Read, AXI4Write, error_layout, flit_layout, regions_layout, status_layout
from .registers import ERROR_UNIT_FETCH, ERROR_UNIT_LINK
from .send import Send
from .store import Store
from .supervisor import PARTS, events_layout
from .trace import Trace
from .vector import Vector
from .wide_memory import WideMemory

__all__ = ["Core"]


class Core(Component):
    """The six units between the buffers, each behind its Issue, with fetch and link.

    Requesters of the activation buffer, the most urgent first: SEND, MATMUL, VECTOR, STORE to read; VECTOR,
    the link, LOAD to write. Of the weight buffer: SEND, FEED (FEED_WORDS words at once), STORE; the link, LOAD.

    Latency: what its units, Issue, Fetch and ReadMux say of theirs. Reset drops instructions, frames and bursts
    under way; words of the buffers stay.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    begin : In(1)
        Run the program at ``program``.
    program, stripe : In(49)
        Byte address in the region of programs; byte distance of the ports' stripes.
    regions : In(regions_layout())
    node : In(8)
        Number of this node.
    halt : In(1)
    idle : Out(1)
        Nothing is fetched, queued or executed.
    errors : Out(error_layout()).array(PARTS)
        The units', then fetch's and the link's.
    status : Out(status_layout()).array(6)
    done, taken : Out(6)
        Bit u: unit u completes, takes an instruction.
    events : Out(events_layout())
    lost_frames : Out(16)
    counters : Out(10).array(6, 8)
        Of unit u, from source s.
    dram_read, dram_write, link_tx, link_rx
        To the outside.
    trace : Out(Trace)
        What VECTOR writes.
    """

    def __init__(self, config):
        check_config(config)
        config.require_node()
        self.config = config
        flit = flit_layout(config.link_bytes)
        super().__init__(
            {
                "begin": In(1),
                "program": In(BUS_ADDRESS_BITS),
                "stripe": In(BUS_ADDRESS_BITS),
                "regions": In(regions_layout()),
                "node": In(8),
                "halt": In(1),
                "idle": Out(1),
                "errors": Out(error_layout()).array(PARTS),
                "status": Out(status_layout()).array(len(Unit)),
                "done": Out(len(Unit)),
                "taken": Out(len(Unit)),
                "events": Out(events_layout()),
                "lost_frames": Out(16),
                "counters": Out(COUNTER_BITS).array(len(Unit), COUNTERS),
                "dram_read": Out(AXI4Read(config.axi_bytes)).array(config.axi_ports),
                "dram_write": Out(AXI4Write(config.axi_bytes)).array(config.axi_ports),
                "link_tx": Out(stream.Signature(flit)),
                "link_rx": In(stream.Signature(flit, always_ready=True)),
                "trace": Out(Trace(config.tn)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.fetch = self.fetch = Fetch(config)
        m.submodules.load = self.load = Load(config)
        m.submodules.matrix = self.matrix = MatrixUnit(config)
        m.submodules.vector = self.vector = Vector(config)
        m.submodules.store = self.store = Store(config)
        m.submodules.send = self.send = Send(config)
        m.submodules.link = self.link = LinkPort(config)
        units = {
            Unit.LOAD: self.load.unit,
            Unit.FEED: self.matrix.feed,
            Unit.MATMUL: self.matrix.matmul,
            Unit.VECTOR: self.vector.unit,
            Unit.STORE: self.store.unit,
            Unit.SEND: self.send.unit,
        }
        issues = self._issue(m, units)
        self._post(m, issues)
        self._buffers(m)
        self._outside(m)
        self._report(m, units, issues)
        return m

    def _issue(self, m, units):
        """An Issue in front of each unit."""
        issues = [Issue(self.config, unit) for unit in Unit]
        for unit, issue, queue in zip(Unit, issues, self.fetch.queues, strict=True):
            m.submodules[f"issue_{unit.name.lower()}"] = issue
            connect(m, queue, issue.i)
            connect(m, issue.instr, units[unit].instr)
            m.d.comb += [
                issue.done.eq(units[unit].done),
                issue.stalled.eq(units[unit].stalled),
                issue.halt.eq(self.halt),
                units[unit].halt.eq(self.halt),
            ]
        return issues

    def _post(self, m, issues):
        """Posts of each unit to each, and of the link: sources 6 and 7."""
        remote = self.link.post
        for unit, issue in zip(Unit, issues, strict=True):
            local = Cat(source.posts[unit] for source in issues)
            here = remote.valid & (remote.unit == unit)
            m.d.comb += issue.post.eq(Cat(local, (here & (remote.counter == s) for s in LINK_SOURCES)))

    def _buffers(self, m):
        config, link = self.config, self.link
        # SEND first: what it reads another board may wait for, and it reads no more than the link takes.
        act_reads = [self.send.read_act, self.matrix.act_read, self.vector.act_read, self.store.read_act]
        act_writes = [self.vector.write, link.write_act, self.load.write_act]
        weight_reads = [self.send.read_weight, self.store.read_weight]
        weight_writes = [link.write_weight, self.load.write_weight]
        m.submodules.act_buffer = act = BankedMemory(
            config.act_words, config.act_banks, config.tn, len(act_reads), len(act_writes)
        )
        m.submodules.weight_buffer = weight = WideMemory(
            config.weight_words, config.weight_banks, config.tn, len(weight_reads), len(weight_writes),
            rank=2, ways=FEED_WORDS,
        )  # fmt: skip
        connect(m, self.matrix.weight_read, weight.wide)
        for buffer, reads, writes in ((act, act_reads, act_writes), (weight, weight_reads, weight_writes)):
            for port, requester in [*zip(buffer.read, reads, strict=True), *zip(buffer.write, writes, strict=True)]:
                connect(m, requester, port)
        connect(m, self.matrix.acc_read, self.vector.acc_read)

    def _outside(self, m):
        """DRAM, with fetch beside LOAD on port 0, and the link."""
        m.submodules.read_mux = mux = ReadMux(self.config.axi_bytes)
        connect(m, self.fetch.dram, mux.fetch)
        connect(m, self.load.dram[0], mux.dma)
        managers = [mux.dram, *(self.load.dram[p] for p in range(1, self.config.axi_ports))]
        for manager, port in zip(managers, self.dram_read, strict=True):
            connect(m, manager, flipped(port))
        for manager, port in zip(self.store.dram, self.dram_write, strict=True):
            connect(m, manager, flipped(port))
        programs, program = self.regions[Region.PROGRAMS], Signal(ADDRESS_SPACE_BITS, reset_less=True)
        m.d.sync += program.eq((programs.base << exact_log2(PAGE)) + self.program)
        m.submodules.striped = striped = StripedRegions(self.config.axi_ports)
        connect(m, self.send.frames, self.link.frames)
        connect(m, self.link.tx, flipped(self.link_tx))
        connect(m, flipped(self.link_rx), self.link.rx)
        m.d.comb += [
            self.fetch.start.eq(self.begin),
            self.fetch.address.eq(program),
            self.fetch.limit.eq(programs.end),
            self.fetch.halt.eq(self.halt),
            self.load.stripe.eq(self.stripe),
            self.store.stripe.eq(self.stripe),
            striped.regions.eq(self.regions),
            striped.stripe.eq(self.stripe),
            self.load.regions.eq(striped.o),
            self.store.regions.eq(striped.o),
            self.link.node.eq(self.node),
            self.link.halt.eq(self.halt),
        ]

    def _report(self, m, units, issues):
        for unit, issue in zip(Unit, issues, strict=True):
            error = self.errors[unit]
            m.d.comb += error.eq(units[unit].error)
            with m.If(issue.error.valid):
                m.d.comb += error.eq(issue.error)
            m.d.comb += self.status[unit].eq(issue.status)
            m.d.comb += [out.eq(count) for out, count in zip(self.counters[unit], issue.counters, strict=True)]
        link, write = self.link, self.vector.write
        idle = [issue.idle & ~units[unit].busy for unit, issue in zip(Unit, issues, strict=True)]
        m.d.comb += [
            self.errors[ERROR_UNIT_FETCH].eq(self.fetch.error),
            self.errors[ERROR_UNIT_LINK].eq(link.error),
            self.idle.eq(~self.fetch.busy & Cat(idle).all()),
            self.done.eq(Cat(units[unit].done for unit in Unit)),
            self.taken.eq(Cat(issue.taken for issue in issues)),
            self.lost_frames.eq(link.crc_errors),
            self.events.read.eq(self.load.beat),
            self.events.write.eq(self.store.beat),
            self.events.tx_flit.eq(link.tx_flits),
            self.events.rx_flit.eq(link.rx_flits),
            self.events.progress.eq(self._progress(issues)),
            self.trace.write.valid.eq(write.valid & write.ready),
            self.trace.write.addr.eq(write.addr),
            self.trace.write.tag.eq(self.vector.trace_tag),
            self.trace.data.eq(write.data),
            self.trace.mask.eq(write.mask),
        ]

    def _progress(self, issues):
        """Something moves. Flits don't count: a link repeats itself for ever."""
        link = self.link
        moving = [issue.status.busy & ~issue.status.stalled for issue in issues]
        remote = [link.write_act.valid & link.write_act.ready, link.write_weight.valid & link.write_weight.ready]
        beats = [port.rvalid & port.rready for port in self.dram_read]
        beats += [port.bvalid & port.bready for port in self.dram_write]
        return Cat(moving, remote, beats, link.post.valid, self.taken, self.done).any()
