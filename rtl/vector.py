"""The VECTOR unit: bias, requantization, activation, pooling and element-wise operations."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import Out

from . import vector_model
from .isa import Opcode, VectorOp
from .parameters import Component, check_config
from .ports import READ_LATENCY, ReadPort, UnitError, UnitInterface, WritePort
from .vector_address import STEP, VectorSetup, VectorSteps
from .vector_datapath import VectorDatapath
from .vector_output import PLACE, ResultQueue
from .vector_table import VectorLoader

__all__ = ["Vector"]


class Vector(Component):
    """Executes VECTOR instructions (``VectorOp``, and the VECTOR format in ``isa``), in order.

    ::

        instr -> setup -> steps -> reads ..> lanes -> requantize -> table -> results -> write
                   |                           |                     |
                   +-> loader: parameters and table of an instruction +

    Throughput: one source pixel a cycle, padding included; so one word a cycle in REQUANTIZE, one every two
    cycles in ADD and MUL. DEPTHWISE reads each pixel that any of its windows sees once: (rows - 1) * stride_y + 3 times
    (cols - 1) * stride_x + 3 cycles. Instructions of at least ``setup.latency`` + 1 steps follow each other without a
    gap; shorter ones start every ``setup.latency`` + 1 cycles. One that loads parameters or a table first waits
    until the results before it have been written, then for PARAM_WORDS cycles, for DEPTHWISE_WORDS more with weights,
    for 64 more with a table, and some ten for the way. A result is written ``latency`` cycles after its last read was
    accepted, if the write port is ready.

    An instruction may read before the one before it has written: a program in which one reads what
    another wrote lets the second wait for the first one's post. Within an instruction, a result may replace the
    pixels that only it was made of.

    Errors are precise: all results before the mistake are written, none after it. OPERAND: op unknown, zero
    groups, rows, cols, kh or kw, lane_last outside [lane_first, tm), a window other than 1x1 in ADD or
    MUL, and other than 3x3 in DEPTHWISE, strides there other than 1 and 2, rows (or cols) that see more rows of the
    source than config.depthwise_rows (columns than 4,095); the syndrome is the value. ADDRESS: beyond the activation
    buffer or (source of REQUANTIZE) the accumulators; of a pixel that is not padding, the second operand, the
    destination, the parameters or the table.

    Reset drops instructions and results under way and clears the error; parameters and table mean nothing after it.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    unit : Out(UnitInterface(Opcode.VECTOR))
    act_read : Out(ReadPort(config.word_bits))
    acc_read : Out(ReadPort(32 * tm))
    write : Out(WritePort(config.word_bits))
        Into the activation buffer.
    trace_tag : Out(16)
        ``header.tag`` of the instruction whose word is on ``write``.

    Raises
    ------
    ValueError
        If ``tm`` and ``tn`` differ.
    """

    model = staticmethod(vector_model.model)
    """The numpy twin: see ``vector_model.model``."""

    def __init__(self, config):
        check_config(config)
        if config.tm != config.tn:
            raise ValueError(f"a node needs tm equal to tn, not tm={config.tm}, tn={config.tn}")
        self.config = config
        self.setup, self.steps, self.loader = VectorSetup(config), VectorSteps(config), VectorLoader(config)
        self.datapath = VectorDatapath(config)
        # Two more than what is in flight at full speed: a place is free in the cycle after its word was taken.
        depth = 1 << (self.latency + 1).bit_length()
        self.results = ResultQueue(config.word_bits, depth)
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.VECTOR)),
                "act_read": Out(ReadPort(config.word_bits)),
                "acc_read": Out(ReadPort(32 * config.tm)),
                "write": Out(WritePort(config.word_bits)),
                "trace_tag": Out(16),
            }
        )

    @property
    def latency(self):
        """Cycles from an accepted last read of a result to the cycle in which the result is on ``write``."""
        queue = 2
        return READ_LATENCY + self.datapath.latency + queue

    def elaborate(self, platform):
        m = Module()
        for name in ("setup", "steps", "loader", "datapath", "results"):
            m.submodules[name] = getattr(self, name)
        stop = Signal()
        self._start_jobs(m, stop)
        issue = self._issue(m)
        self._connect_pipeline(m, issue)
        self._write(m)
        self._stop(m, stop)
        self._report(m, issue)
        return m

    def _start_jobs(self, m, stop):
        """Jobs go from setup to steps, through the loader where they bring parameters or a table."""
        job, loaded = self.setup.jobs.payload, Signal()
        needs_load = (job.body.load_params | job.body.load_table) & ~loaded
        usable = self.setup.jobs.valid & ~job.bad & ~stop
        instr = self.setup.instr
        m.d.comb += [
            instr.payload.eq(self.unit.instr.payload),
            instr.valid.eq(self.unit.instr.valid & ~stop),
            self.unit.instr.ready.eq(instr.ready & ~stop),
            self.loader.start.eq(usable & needs_load & ~self.loader.busy & ~self.steps.active & self.results.empty),
            self.loader.address.eq(job.body.params),
            self.loader.load_params.eq(job.body.load_params),
            self.loader.load_weights.eq(job.body.op == VectorOp.DEPTHWISE),
            self.loader.load_table.eq(job.body.load_table),
            self.steps.jobs.payload.eq(job),
            self.steps.jobs.valid.eq(usable & ~needs_load & ~self.loader.busy),
            self.setup.jobs.ready.eq(self.steps.jobs.valid & self.steps.jobs.ready),
        ]
        with m.If(self.loader.start):
            m.d.sync += loaded.eq(1)
        with m.Elif(self.setup.jobs.ready):
            m.d.sync += loaded.eq(0)

    def _issue(self, m):
        """A step goes when its read is accepted and its result has a place. Returns that event."""
        steps, loader = self.steps.steps, self.loader
        step = steps.payload
        go = Signal()
        free = steps.valid & ~step.bad & ~(step.last & self.results.full)
        is_acc = step.op == VectorOp.REQUANTIZE
        granted = Mux(is_acc, self.acc_read.ready, self.act_read.ready)
        m.d.comb += [
            self.acc_read.valid.eq(free & step.present & is_acc),
            self.acc_read.addr.eq(step.addr),
            self.act_read.valid.eq((free & step.present & ~is_acc) | loader.read.valid),
            self.act_read.addr.eq(Mux(loader.busy, loader.read.addr, step.addr)),
            loader.read.ready.eq(self.act_read.ready),
            loader.read.data.eq(self.act_read.data),
            loader.read.data_valid.eq(self.act_read.data_valid),
            go.eq(free & (~step.present | granted)),
            steps.ready.eq(go),
            self.results.place_valid.eq(go & step.last),
            self.results.place.dest.eq(step.dest),
        ]
        m.d.comb += [self.results.place[name].eq(step[name]) for name in PLACE.members if name != "dest"]
        return go

    def _connect_pipeline(self, m, issue):
        """No handshake from here to the results: all latencies are fixed."""
        valid, step = issue, self.steps.steps.payload
        for k in range(1, READ_LATENCY + 1):
            next_valid, next_step = Signal(name=f"read_valid_{k}"), Signal(STEP, name=f"read_step_{k}", reset_less=True)
            m.d.sync += next_valid.eq(valid)
            with m.If(valid):
                m.d.sync += next_step.eq(step)
            valid, step = next_valid, next_step
        datapath, results = self.datapath, self.results
        m.d.comb += [
            datapath.valid.eq(valid),
            datapath.step.eq(step),
            datapath.act.eq(self.act_read.data),
            datapath.acc.eq(self.acc_read.data),
            datapath.params.eq(self.loader.params),
            datapath.row_valid.eq(self.loader.row_valid),
            datapath.row_index.eq(self.loader.row_index),
            datapath.row.eq(self.loader.row),
            results.word_valid.eq(datapath.o_valid),
            results.word.eq(datapath.o),
        ]

    def _write(self, m):
        lanes, place = self.config.tn, self.results.o.payload.place
        ones = Const((1 << lanes) - 1, lanes)
        up_to_last = Signal(lanes)
        bits = Cat(lane.replicate(8) for lane in up_to_last)
        m.d.comb += [
            self.write.valid.eq(self.results.o.valid & ~self.unit.halt),
            self.write.addr.eq(place.dest),
            up_to_last.eq(ones >> (lanes - 1 - place.lane_last)[:8]),
            self.write.data.eq(self.results.o.payload.word & bits),
            self.write.mask.eq((ones << place.lane_first) & (up_to_last | place.zero_above.replicate(lanes))),
            self.results.o.ready.eq(self.write.ready & ~self.unit.halt),
            self.trace_tag.eq(place.tag),
        ]

    def _stop(self, m, stop):
        """The first mistake: nothing is started any more, and it is reported when all results before it are written."""
        error, step, job = self.unit.error, self.steps.steps.payload, self.setup.jobs.payload
        with m.If(~stop):
            with m.If(self.steps.steps.valid & step.bad):
                m.d.sync += [stop.eq(1), error.code.eq(UnitError.ADDRESS), error.syndrome.eq(step.syndrome)]
            with m.Elif(self.loader.bad):
                m.d.sync += [stop.eq(1), error.code.eq(UnitError.ADDRESS), error.syndrome.eq(self.loader.addr)]
            with m.Elif(self.setup.jobs.valid & job.bad & ~self.steps.active & ~self.loader.busy):
                m.d.sync += [stop.eq(1), error.code.eq(UnitError.OPERAND), error.syndrome.eq(job.syndrome)]
        with m.Elif(self.results.empty):
            m.d.sync += error.valid.eq(1)

    def _report(self, m, issue):
        written, steps = Signal(), self.steps.steps
        m.d.comb += written.eq(self.write.valid & self.write.ready)
        m.d.sync += self.unit.done.eq(written & self.results.o.payload.place.final)
        waits = (steps.valid & ~issue) | self.loader.refused
        works = issue | self.loader.busy | self.setup.jobs.valid
        m.d.comb += [
            self.unit.busy.eq(
                ~self.setup.instr.ready | self.steps.active | self.loader.busy | ~self.results.empty | self.unit.done
            ),
            self.unit.stalled.eq(waits | (~works & self.write.valid & ~self.write.ready)),
        ]
