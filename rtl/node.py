"""One node: registers, supervision and isolation around the core."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .config import PAGE
from .control import Control
from .core import Core
from .isa import Region, Unit
from .isolate import IsolateRead, IsolateWrite
from .parameters import Component, check_config
from .ports import AXI4Lite, AXI4Read, AXI4Write, flit_layout, status_layout
from .registers import registers
from .supervisor import Supervisor
from .trace import trace_write_layout
from .verilog import to_verilog

__all__ = ["Node", "node_verilog"]


class Node(Component):
    """A whole node, as it is put on an FPGA.

    Software writes bases and sizes of the regions, PROGRAM, STRIPE and NODE, then START; the node fetches instructions
    until END and raises
    ``irq`` when all of them are complete, or at the first error. After an error, RESET brings back a node
    that works, whatever was under way: bursts on the AXI ports are completed first. What is in the buffers is
    then undefined.

    Reset (of domain ``sync``, synchronous) puts registers back to their first values and forgets AXI bursts, unlike
    RESET.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    regs : In(AXI4Lite)
        Map: ``registers.py``.
    dram_read, dram_write : Out(AXI4Read), Out(AXI4Write), .array(axi_ports)
    link_tx : Out(stream of flits)
    link_rx : In(stream of flits, always ready)
    irq : Out(1)
    trace_write, trace_data, trace_mask : Out
        Every word that VECTOR writes, in the cycle in which it is written.
    trace_status : Out(status_layout()).array(6)
    trace_done, trace_taken : Out(6)
        Bit u: unit u has completed, takes an instruction.

    Raises
    ------
    ValueError
        If the sizes make no node (``NodeConfig.require_node``).
    """

    def __init__(self, config):
        check_config(config)
        config.require_node()
        self.config = config
        flit = flit_layout(config.link_bytes)
        super().__init__(
            {
                "regs": In(AXI4Lite()),
                "dram_read": Out(AXI4Read(config.axi_bytes, id_bits=1)).array(config.axi_ports),
                "dram_write": Out(AXI4Write(config.axi_bytes, id_bits=1)).array(config.axi_ports),
                "link_tx": Out(stream.Signature(flit)),
                "link_rx": In(stream.Signature(flit, always_ready=True)),
                "irq": Out(1),
                "trace_write": Out(trace_write_layout()),
                "trace_data": Out(config.word_bits),
                "trace_mask": Out(config.tn),
                "trace_status": Out(status_layout()).array(len(Unit)),
                "trace_done": Out(len(Unit)),
                "trace_taken": Out(len(Unit)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = control = Control(registers(self.config))
        m.submodules.supervisor = supervisor = Supervisor()
        core = Core(self.config)
        m.submodules.core = ResetInserter(supervisor.reset)(core)
        connect(m, flipped(self.regs), control.bus)
        connect(m, core.link_tx, flipped(self.link_tx))
        connect(m, flipped(self.link_rx), core.link_rx)
        self._isolate(m, core, supervisor)
        self._supervise(m, control, core, supervisor)
        self._read_back(m, control.values, core, supervisor.report)
        m.d.comb += [
            self.irq.eq(supervisor.irq),
            self.trace_write.eq(core.trace.write),
            self.trace_data.eq(core.trace.data),
            self.trace_mask.eq(core.trace.mask),
            *(trace.eq(status) for trace, status in zip(self.trace_status, core.status, strict=True)),
            self.trace_done.eq(core.done),
            self.trace_taken.eq(core.taken),
        ]
        return m

    def _isolate(self, m, core, supervisor):
        config = self.config
        guards: list[IsolateRead | IsolateWrite] = []
        for p in range(config.axi_ports):
            m.submodules[f"isolate_read_{p}"] = read = IsolateRead(config.axi_bytes)
            write = IsolateWrite(config.axi_bytes, outstanding=config.axi_outstanding)
            m.submodules[f"isolate_write_{p}"] = write
            connect(m, core.dram_read[p], read.i)
            connect(m, read.o, flipped(self.dram_read[p]))
            connect(m, core.dram_write[p], write.i)
            connect(m, write.o, flipped(self.dram_write[p]))
            guards += [read, write]
        m.d.comb += [guard.isolate.eq(supervisor.isolate) for guard in guards]
        m.d.comb += supervisor.quiet.eq(Cat(guard.idle for guard in guards).all())

    def _supervise(self, m, control, core, supervisor):
        settings, command = control.settings, control.commands.CONTROL
        reset_request = Signal()
        with m.If(command.write):
            m.d.sync += reset_request.eq(command.bits[1])
        m.d.comb += [
            supervisor.start.eq(command.write & command.bits[0]),
            supervisor.reset_request.eq(reset_request),
            supervisor.watchdog.eq(settings.WATCHDOG),
            supervisor.idle.eq(core.idle),
            supervisor.events.eq(core.events),
            *(here.eq(there) for here, there in zip(supervisor.errors, core.errors, strict=True)),
            *(here.eq(there) for here, there in zip(supervisor.status, core.status, strict=True)),
            core.begin.eq(supervisor.begin),
            core.halt.eq(supervisor.halt),
            core.node.eq(settings.NODE),
            core.program.eq(Cat(settings.PROGRAM_LO, settings.PROGRAM_HI)),
            core.stripe.eq(Cat(settings.STRIPE_LO, settings.STRIPE_HI)),
        ]
        for region in Region:
            base, size = (
                Cat(getattr(settings, f"{region.name}_{what}_{part}") for part in ("LO", "HI"))[exact_log2(PAGE) :]
                for what in ("BASE", "SIZE")
            )
            m.d.comb += core.regions[region].base.eq(base)
            end, bus = base + size, 1 << len(base)
            m.d.sync += core.regions[region].end.eq(Mux(end[-1], bus, end))

    def _read_back(self, m, values, core, report):
        m.d.comb += [
            values.STATUS.eq(Cat(report.running, report.done, report.error.valid, report.resetting)),
            values.ERROR.eq(Cat(report.error.code, Signal(4), report.part)),
            values.SYNDROME.eq(report.error.syndrome),
            Cat(values.CYCLES_LO, values.CYCLES_HI).eq(report.cycles),
            values.DRAM_READ_WORDS.eq(report.read),
            values.DRAM_WRITE_WORDS.eq(report.write),
            values.LINK_TX_FLITS.eq(report.tx_flit),
            values.LINK_RX_FLITS.eq(report.rx_flit),
            values.LINK_ERRORS.eq(core.lost_frames),
        ]
        for unit in Unit:
            status, cycles = core.status[unit], report.units[unit]
            state = Cat(status.tag, status.lacking, status.busy, status.stalled, status.waiting)
            m.d.comb += [
                getattr(values, f"{unit.name}_BUSY").eq(cycles.busy),
                getattr(values, f"{unit.name}_STALLED").eq(cycles.stalled),
                getattr(values, f"{unit.name}_WAITING").eq(cycles.waiting),
                getattr(values, f"{unit.name}_STATE").eq(state),
            ]
            for s, count in enumerate(core.counters[unit]):
                m.d.comb += getattr(values, f"{unit.name}_COUNTER_{s}").eq(count)


def node_verilog(config, name="superlip_node", *, platform=None):
    """Verilog of a node, the same text for the same sizes.

    Parameters
    ----------
    config : NodeConfig
    name : str
        Of the top module.
    platform : object, optional
        What may build data paths its own way, for instance from the primitives of a vendor, or for a fast simulation.
    """
    return to_verilog(Node(config), name, platform=platform)
