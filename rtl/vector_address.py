"""The loops of a VECTOR instruction: from its fields to one source pixel (a step) a cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from .config import ADDRESS_BITS
from .isa import DEPTHWISE_COLUMNS, DEPTHWISE_KERNEL, FORMATS, MAX_LANE_MAX, Opcode, VectorOp
from .parameters import Component, check_config
from .ports import instruction_layout
from .requantize import ELEMENT

__all__ = ["JOB", "STEP", "VectorSetup", "VectorSteps"]

# A valid pixel's address is below 2**20 + 2**12 * 2**20 + 2**12 * 2**12 + 2**12 < 2**33. Sums are exact modulo
# 2**33, so they are right for every valid pixel, whatever they were for the padding before it.
_SOURCE_BITS = 33
# Second operand and destination: every word of the loops is checked, so the next is at most one stride further.
_WORD_BITS = ADDRESS_BITS + 1
# A row or column is above -2**12 and at most 2**12 + 2**12 * 2**8 + 2**8 < 2**21.
_COORDINATE = signed(22)

_BODY = FORMATS[Opcode.VECTOR].layout
_BINARY = (VectorOp.ADD, VectorOp.MUL)

JOB = data.StructLayout(
    {
        "body": _BODY, "tag": 16, "start": _SOURCE_BITS, "row_step": ADDRESS_BITS, "bad": 1, "syndrome": 12,
        "skip_y": 1, "skip_x": 1,
    }
)  # fmt: skip
"""An instruction with what was computed from it.

In DEPTHWISE, ``cols`` and ``kh`` are the source columns and rows to go through, ``rows``, ``kw`` and ``stride_x``
are 1, and of the rows and columns in which a window ends each second one counts where ``skip_y``, ``skip_x``.

``start``: address of kernel position (0, 0) of output (0, 0); ``row_step``: words from output row to output row in the
source; ``bad``: it can't run (OPERAND), ``syndrome`` is the value.
"""

STEP = data.StructLayout(
    {
        "present": 1, "second": 1, "first": 1, "last": 1, "final": 1, "bad": 1, "syndrome": 32,
        "addr": ADDRESS_BITS, "dest": ADDRESS_BITS, "tag": 16, "lane_first": 8, "lane_last": 8, "zero_above": 1,
        "op": 3, "row": 6, "zp": ELEMENT, "zp_out": ELEMENT, "low": ELEMENT, "high": ELEMENT, "shift": 6,
        "use_table": 1, "lane_max": 2,
    }
)  # fmt: skip
"""One source pixel.

``present``: it must be read, at ``addr``; else it is padding. ``second``: it is of the second operand. ``first``,
``last``: of its result, which goes to ``dest``; ``final``: of the instruction. ``bad``: an address, ``syndrome``, is
outside its memory. ``zp``: the zero point of this operand. ``row``: of DEPTHWISE, counted from the first that is read
of the column. The rest as in the instruction.
"""


class VectorSetup(Component):
    """Takes VECTOR instructions, checks their operands, multiplies once what the loops then only add.

    Latency ``latency`` cycles; the next instruction is taken when the job before it has been.

    Reset drops the instruction and its job.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    instr : In(stream of instruction_layout(VECTOR))
    jobs : Out(stream of JOB)
    """

    def __init__(self, config):
        check_config(config)
        self.tm, self.depthwise_rows = config.tm, config.depthwise_rows
        super().__init__(
            {"instr": In(stream.Signature(instruction_layout(Opcode.VECTOR))), "jobs": Out(stream.Signature(JOB))}
        )

    @property
    def latency(self):
        """Cycles from an instruction to its job."""
        return 3

    def elaborate(self, platform):
        m = Module()
        job = Signal(JOB, reset_less=True)
        offset = Signal(signed(27), reset_less=True)
        empty, multiply, add, ready = range(4)
        state = Signal(range(4), init=empty)
        m.d.comb += [
            self.instr.ready.eq(state == empty),
            self.jobs.valid.eq(state == ready),
            self.jobs.payload.eq(job),
        ]
        body = job.body
        with m.Switch(state):
            with m.Case(empty), m.If(self.instr.valid):
                m.d.sync += [job.body.eq(self.instr.payload.body), job.tag.eq(self.instr.payload.header.tag)]
                m.d.sync += state.eq(multiply)
            with m.Case(multiply):
                m.d.sync += [offset.eq(body.y0 * body.pitch + body.x0), job.row_step.eq(body.stride_y * body.pitch)]
                m.d.sync += state.eq(add)
            with m.Case(add):
                self._check(m, body, job)
                m.d.sync += [job.start.eq(body.source + offset), state.eq(ready)]
                if self.depthwise_rows:
                    self._walk(m, body, job)
            with m.Case(ready), m.If(self.jobs.ready):
                m.d.sync += state.eq(empty)
        return m

    def _check(self, m, body, job):
        """OPERAND errors, in the order of ``vector_model.operand_error``."""
        zero = Cat(~body[name].any() for name in ("groups", "rows", "cols", "kh", "kw")).any()
        window = (body.op != VectorOp.ADD) & (body.op != VectorOp.MUL)
        last = VectorOp.DEPTHWISE if self.depthwise_rows else VectorOp.MUL
        m.d.sync += job.bad.eq(1)
        with m.If(body.op > last):
            m.d.sync += job.syndrome.eq(body.op)
        with m.Elif(zero):
            m.d.sync += job.syndrome.eq(0)
        with m.Elif((body.lane_last >= self.tm) | (body.lane_last < body.lane_first)):
            m.d.sync += job.syndrome.eq(body.lane_last)
        with m.Elif(body.lane_max > MAX_LANE_MAX):
            m.d.sync += job.syndrome.eq(body.lane_max)
        with m.Elif(~window & (body.kh != 1)):
            m.d.sync += job.syndrome.eq(body.kh)
        with m.Elif(~window & (body.kw != 1)):
            m.d.sync += job.syndrome.eq(body.kw)
        if self.depthwise_rows:
            depthwise = body.op == VectorOp.DEPTHWISE
            for name in ("kh", "kw"):
                with m.Elif(depthwise & (body[name] != DEPTHWISE_KERNEL)):
                    m.d.sync += job.syndrome.eq(body[name])
            for name in ("stride_y", "stride_x"):
                with m.Elif(depthwise & (body[name] != 1) & (body[name] != 2)):
                    m.d.sync += job.syndrome.eq(body[name])
            for name, stride, most in (
                ("rows", "stride_y", self.depthwise_rows),
                ("cols", "stride_x", DEPTHWISE_COLUMNS),
            ):
                with m.Elif(depthwise & (_walked(body[name], body[stride]) > most)):
                    m.d.sync += job.syndrome.eq(body[name])
        with m.Else():
            m.d.sync += job.bad.eq(0)

    def _walk(self, m, body, job):
        """DEPTHWISE: the loops are those of the pixels that are read."""
        with m.If(body.op == VectorOp.DEPTHWISE):
            m.d.sync += [
                job.body.kh.eq(_walked(body.rows, body.stride_y)),
                job.body.cols.eq(_walked(body.cols, body.stride_x)),
                job.body.rows.eq(1),
                job.body.kw.eq(1),
                job.body.stride_x.eq(1),
                job.skip_y.eq(body.stride_y[1]),
                job.skip_x.eq(body.stride_x[1]),
            ]


def _walked(results, stride):
    """Rows, or columns, that windows of three see for so many results: (results - 1) * stride + 3; stride 1 or 2."""
    return Mux(stride[1], Cat(Const(1, 1), results), results + 2)


class VectorSteps(Component):
    """Runs the loops ``g, r, c, kh, kw`` of jobs, one step a cycle, jobs without a gap between them.

    ADD and MUL make two steps a result: the first operand, then the second. DEPTHWISE makes a step of each pixel that
    any window sees, column by column; those with which a window is complete are ``last``. Latency ``latency`` cycles
    from a job to its first step. A step that is ``bad`` must not be taken: nothing comes after it. For each pixel there
    are only adders.

    Reset drops the job.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    jobs : In(stream of JOB)
        None that is ``bad``.
    steps : Out(stream of STEP)
    active : Out(1)
        There are steps to come.
    """

    def __init__(self, config):
        check_config(config)
        self.act_words, self.acc_words = config.act_words, config.acc_words
        self.has_depthwise = config.depthwise_rows > 0
        super().__init__({"jobs": In(stream.Signature(JOB)), "steps": Out(stream.Signature(STEP)), "active": Out(1)})

    @property
    def latency(self):
        """Cycles from a job to its first step."""
        return 2

    def elaborate(self, platform):
        m = Module()
        job, step = Signal(JOB, reset_less=True), Signal(STEP)
        body = job.body
        running, second = Signal(), Signal()
        advance, turn, load = Signal(), Signal(), Signal()
        binary = (body.op == _BINARY[0]) | (body.op == _BINARY[1])
        loops = _Loops(m, load=load, turn=turn, new=self.jobs.payload.body, old=body)
        m.d.comb += [
            advance.eq(running & (~self.steps.valid | self.steps.ready)),
            turn.eq(advance & (~binary | second)),
            self.jobs.ready.eq(~running | (turn & loops.finished)),
            load.eq(self.jobs.valid & self.jobs.ready),
            self.active.eq(running | self.steps.valid),
        ]
        with m.If(load):
            m.d.sync += [job.eq(self.jobs.payload), running.eq(1), second.eq(0)]
        with m.Else():
            with m.If(turn & loops.finished):
                m.d.sync += running.eq(0)
            with m.If(advance):
                m.d.sync += second.eq(binary & ~second)

        depthwise, row_ends, column_ends = self._windows(m, loops, job, step)
        self._place(m, loops, job, second, step, depthwise & row_ends, ~depthwise | column_ends)
        m.d.comb += [
            step.second.eq(second),
            # MUL has its product only with the second operand: what the first one gives is overwritten.
            step.first.eq((~loops.in_window | depthwise) & (second == (body.op == VectorOp.MUL))),
            step.last.eq(Mux(depthwise, row_ends & column_ends, loops.at_end(loops.WINDOW)) & (second == binary)),
            step.final.eq(loops.finished & (second == binary)),
            step.zp.eq(Mux(body.op == VectorOp.MAX, 0, Mux(second, body.zp_b, body.zp_a))),
            step.tag.eq(job.tag),
        ]
        names = "lane_first lane_last zero_above op zp_out low high shift use_table lane_max"
        m.d.comb += [step[name].eq(body[name]) for name in names.split()]
        with m.If(advance):
            m.d.sync += [self.steps.payload.eq(step), self.steps.valid.eq(1)]
        with m.Elif(self.steps.ready):
            m.d.sync += self.steps.valid.eq(0)
        return m

    def _windows(self, m, loops, job, step):
        """Whether it is DEPTHWISE, and whether windows end in this row, and in this column, of what is read."""
        if not self.has_depthwise:
            return Const(0), Const(0), Const(0)
        row = loops.counter("row", len(step.row), 0, {"kh": 1}, 0)
        column = loops.counter("column", len(job.body.cols), 0, {"cols": 1}, 0)
        m.d.comb += step.row.eq(row)
        # Before the third one no window is complete.
        ends = [at[1:].any() & ~(skip & at[0]) for at, skip in ((row, job.skip_y), (column, job.skip_x))]
        return job.body.op == VectorOp.DEPTHWISE, *ends

    def _place(self, m, loops, job, second, step, down, right):
        """Addresses, whether there is a pixel, and whether a memory ends before it.

        ``down``, ``right``: results of the next row are in the next one of the destination, those of the next column
        in its next column.
        """
        body, new = job.body, self.jobs.payload
        address = loops.counter(
            "source", _SOURCE_BITS, new.start,
            {"kw": 1, "kh": body.pitch, "cols": body.stride_x, "rows": job.row_step, "groups": body.plane},
        )  # fmt: skip
        y = loops.counter("y", _COORDINATE, new.body.y0, {"kh": 1, "rows": body.stride_y}, body.y0)
        x = loops.counter("x", _COORDINATE, new.body.x0, {"kw": 1, "cols": body.stride_x}, body.x0)
        address_b = loops.counter(
            "source_b", _WORD_BITS, new.body.source_b, {"cols": 1, "rows": body.pitch_b, "groups": body.plane_b}
        )
        steps = {"cols": body.dest_step, "rows": body.dest_pitch, "groups": body.dest_plane}
        if self.has_depthwise:
            steps |= {"kh": Mux(down, body.dest_pitch, 0), "cols": Mux(right, body.dest_step, 0)}
        dest = loops.counter("dest", _WORD_BITS, new.body.dest, steps)
        # As unsigned numbers, so that negative ones are too large.
        inside = (y.as_unsigned() < body.height) & (x.as_unsigned() < body.width)
        read = Signal(_SOURCE_BITS)
        limit = Mux(body.op == VectorOp.REQUANTIZE, self.acc_words, self.act_words)
        bad_read = step.present & (read >= limit)
        m.d.comb += [
            read.eq(Mux(second, address_b, address)),
            step.present.eq(second | inside),
            step.addr.eq(read),
            step.dest.eq(dest),
            step.bad.eq(bad_read | (dest >= self.act_words)),
            step.syndrome.eq(Mux(bad_read, read, dest)),
        ]


class _Loops:
    """The loop counters, and numbers that grow with them.

    ``turn`` goes on to the next pixel of the job ``old``, ``load`` begins the job ``new``.
    """

    NAMES = ("kw", "kh", "cols", "rows", "groups")  # from the inside
    WINDOW = NAMES[:2]

    def __init__(self, m, *, load, turn, new, old):
        self.m, self.load, self.turn = m, load, turn
        left = {name: Signal.like(old[name], name=f"{name}_left", reset_less=True) for name in self.NAMES}
        self.ends = {name: Signal(name=f"{name}_end") for name in self.NAMES}
        self.in_window = Signal(reset_less=True)  # behind the window's first pixel
        self.finished = self.at_end(self.NAMES)
        m.d.comb += [self.ends[name].eq(left[name] == 1) for name in self.NAMES]
        with m.If(load):
            m.d.sync += [left[name].eq(new[name]) for name in self.NAMES]
            m.d.sync += self.in_window.eq(0)
        with m.Elif(turn):
            for level, name in enumerate(self.NAMES):
                with m.If(self.at_end(self.NAMES[:level])):
                    m.d.sync += left[name].eq(Mux(self.ends[name], old[name], left[name] - 1))
            m.d.sync += self.in_window.eq(~self.at_end(self.WINDOW))

    def at_end(self, names):
        """All these loops are in their last turn."""
        return Cat(self.ends[name] for name in names).all()

    def counter(self, name, shape, new, increments, old=None):
        """A number that begins at ``new`` and grows by ``increments[loop]`` with each turn of that loop.

        A register for each such loop keeps the value with which its turn began. A loop that goes on adds to its own
        register and hands the sum to those inside. One without a register begins anew from the next one outside,
        or from ``old``, the value at which the job began.
        """
        registers = {
            level: Signal(shape, name=f"{name}_{loop}", reset_less=True)
            for level, loop in enumerate(self.NAMES)
            if loop in increments
        }
        with self.m.If(self.load):
            self.m.d.sync += [register.eq(new) for register in registers.values()]
        with self.m.Elif(self.turn):
            for level, loop in enumerate(self.NAMES):
                keeper = min((k for k in registers if k >= level), default=None)
                value = old if keeper is None else registers[keeper]
                if keeper == level:
                    value = value + increments[loop]
                changed = [register for k, register in registers.items() if keeper is None or k <= keeper]
                with self.m.If(self.at_end(self.NAMES[:level]) & ~self.ends[loop]):
                    self.m.d.sync += [register.eq(value) for register in changed]
        return registers[min(registers)]
